"""Who is not signed in any more is not connected any more, and who may do less does less."""

import asyncio
from collections.abc import AsyncGenerator
from itertools import cycle
from time import time
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.status import WS_1011_INTERNAL_ERROR

from app.auth import User, current_user
from app.websockets import Action, revocation
from app.websockets.revocation import SESSION_ENDED
from app.websockets.rooms import Room, Rule, declared
from tests.fixtures.auth import log_in
from tests.fixtures.logs import Logged
from tests.fixtures.websockets import SECONDS, URL, connect, hear, hear_nothing, say, subscribe, until, until_closed

OFFICE, FORGE = "tests-office", "tests-forge"


async def office(action: Action) -> bool:
    return current_user().may("users:read")


async def failing(action: Action) -> bool:
    return current_user().may("users:read") or bool(1 / 0)


async def hanging(action: Action) -> bool:
    return current_user().may("users:read") or await asyncio.Event().wait()


@pytest.fixture
async def ada(
    live_app: FastAPI, live_user: User, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[AsyncClient]:
    """Her client; she is a user and an auditor, and who is still signed in is looked for all the time."""
    monkeypatch.setattr("app.websockets.revocation.PAUSE", 0.01)
    monkeypatch.setitem(declared, OFFICE, Room(OFFICE, office, presence=True))
    await change(engine, roles=["user", "auditor"])
    async with connect(live_app) as client:
        await log_in(client)
        yield client


async def change(engine: AsyncEngine, **fields: object) -> None:
    """Change all users."""
    async with engine.begin() as connection:
        await connection.execute(update(User).values(**fields))


async def test_whoever_is_signed_out_is_closed(ada: AsyncClient) -> None:
    async with ada.websocket(URL) as socket:
        await hear_nothing(socket)

        await ada.post("/v1/auth/logout")

        assert await until_closed(socket) == SESSION_ENDED == 4401


async def test_another_session_goes_on(ada: AsyncClient) -> None:
    async with ada.websocket(URL) as first:
        await log_in(ada)
        async with ada.websocket(URL) as second:
            await ada.post("/v1/auth/logout")

            assert await until_closed(second) == SESSION_ENDED
            await hear_nothing(first)


async def test_whoever_is_shut_out_is_closed(ada: AsyncClient, engine: AsyncEngine) -> None:
    async with ada.websocket(URL) as socket:
        await change(engine, is_active=False)

        assert await until_closed(socket) == SESSION_ENDED


async def test_a_connection_ends_with_its_token(ada: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ada.websocket(URL) as socket:
        await hear_nothing(socket)

        monkeypatch.setattr("app.websockets.revocation.time", lambda: time() + 86_400)

        assert await until_closed(socket) == SESSION_ENDED


async def test_whoever_may_do_less_leaves_the_rooms_that_it_took(ada: AsyncClient, engine: AsyncEngine) -> None:
    async with ada.websocket(URL) as socket:
        await subscribe(socket, OFFICE)
        await subscribe(socket, "demo")

        await change(engine, roles=["user"])

        assert await hear(socket) == {"type": "unsubscribed", "room": OFFICE, "id": None}
        assert (await say(socket, "publish", room="demo", data="hi"))["type"] == "message"
        assert (await say(socket, "publish", room=OFFICE, data="hi"))["code"] == "forbidden"
        assert (await say(socket, "subscribe", room=OFFICE))["code"] == "forbidden"


@pytest.mark.parametrize("rule", [failing, hanging])
async def test_whom_a_room_cannot_judge_does_not_stay_and_the_others_are_looked_at(
    ada: AsyncClient, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, logged: Logged, rule: Rule[[]]
) -> None:
    monkeypatch.setattr("app.websockets.revocation.REVIEW_SECONDS", 0.01)
    monkeypatch.setitem(declared, FORGE, Room(FORGE, rule, presence=False))
    async with ada.websocket(URL) as first, ada.websocket(URL) as second, ada.websocket(URL) as third:
        await subscribe(first, FORGE)
        await subscribe(second, OFFICE)
        await subscribe(third, FORGE)

        await change(engine, roles=["user"])

        assert await until_closed(first) == WS_1011_INTERNAL_ERROR
        assert await hear(second) == {"type": "unsubscribed", "room": OFFICE, "id": None}
        assert await until_closed(third) == WS_1011_INTERNAL_ERROR
        await hear_nothing(second)
    assert [line["event"] for line in logged() if line["level"] != "info"] == ["websockets.review_failed"] * 2


async def test_rooms_that_think_it_over_do_not_keep_it_from_looking(
    ada: AsyncClient, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    real_look = revocation.look

    async def look(*arguments: Any) -> None:
        happened.append("look")
        await real_look(*arguments)

    async def slow_office(action: Action) -> bool:
        happened.append("review")
        await asyncio.sleep(0.02)
        return await office(action)

    monkeypatch.setitem(declared, OFFICE, Room(OFFICE, slow_office, presence=False))
    async with ada.websocket(URL) as first, ada.websocket(URL) as second:
        await subscribe(first, OFFICE)
        await subscribe(second, OFFICE)
        happened.clear()
        monkeypatch.setattr("app.websockets.revocation.look", look)
        monkeypatch.setattr("app.websockets.revocation.REVIEWS_SECONDS", 0.01)

        await change(engine, roles=["user"])

        assert (await hear(first))["type"] == (await hear(second))["type"] == "unsubscribed"
    assert "".join(happened).count("reviewlookreview") == 1


async def test_what_has_been_found_counts_though_the_database_falls_silent(
    ada: AsyncClient, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = cycle([False, True])
    find_roles = revocation.find_roles

    async def fall_silent(*arguments: Any) -> object:
        if next(turns):
            await asyncio.Event().wait()
        return await find_roles(*arguments)

    monkeypatch.setitem(declared, OFFICE, Room(OFFICE, office, presence=False))
    async with ada.websocket(URL) as first, ada.websocket(URL) as second:
        await subscribe(first, OFFICE)
        await subscribe(second, OFFICE)
        monkeypatch.setattr("app.websockets.revocation.AT_ONCE", 1)
        monkeypatch.setattr("app.websockets.revocation.LOOK_SECONDS", 0.1)
        monkeypatch.setattr("app.websockets.revocation.find_roles", fall_silent)

        await change(engine, roles=["user"])

        assert (await hear(first))["type"] == (await hear(second))["type"] == "unsubscribed"


async def test_whoever_may_do_less_while_a_room_thinks_it_over_does_not_get_in(
    ada: AsyncClient, live_app: FastAPI, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, decides = asyncio.Event(), asyncio.Event()

    async def slow_office(action: Action) -> bool:
        may = await office(action)
        asked.set()
        await decides.wait()
        return may

    monkeypatch.setitem(declared, OFFICE, Room(OFFICE, slow_office, presence=True))
    async with ada.websocket(URL) as socket:
        await socket.send_json({"type": "subscribe", "room": OFFICE})
        await asyncio.wait_for(asked.wait(), SECONDS)
        (member,) = live_app.state.websockets.members
        before = member.context.principal

        await change(engine, roles=["user"])
        await until(lambda: member.context.principal is not before)
        decides.set()

        assert (await hear(socket))["code"] == "forbidden"
    assert live_app.state.websockets.rooms == {}


async def test_while_the_database_is_gone_a_token_expires(
    ada: AsyncClient, live_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OSError("the database is gone")

    async with ada.websocket(URL) as socket:
        await hear_nothing(socket)
        monkeypatch.setitem(live_app.state.opened, "connect", gone)

        monkeypatch.setattr("app.websockets.revocation.time", lambda: time() + 86_400)

        assert await until_closed(socket) == SESSION_ENDED


async def test_while_the_database_is_silent_a_token_expires(ada: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def find_roles(*arguments: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("app.websockets.revocation.LOOK_SECONDS", 0.01)
    async with ada.websocket(URL) as socket:
        monkeypatch.setattr("app.websockets.revocation.find_roles", find_roles)
        await asyncio.wait_for(asked.wait(), SECONDS)

        monkeypatch.setattr("app.websockets.revocation.time", lambda: time() + 86_400)

        assert await until_closed(socket) == SESSION_ENDED


async def test_while_the_database_is_gone_everybody_stays(
    ada: AsyncClient, live_app: FastAPI, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    asked = asyncio.Event()

    def gone() -> None:
        asked.set()
        raise OSError("the database is gone")

    async with ada.websocket(URL) as socket:
        with monkeypatch.context() as patch:
            patch.setitem(live_app.state.opened, "connect", gone)
            await asyncio.wait_for(asked.wait(), SECONDS)
            await hear_nothing(socket)

        lines = [line for line in logged() if line["event"] == "websockets.sessions_unknown"]
        assert lines[0]["level"] == "warning"
        await ada.post("/v1/auth/logout")
        assert await until_closed(socket) == SESSION_ENDED


async def test_whoever_only_waits_holds_no_connection_to_the_database(
    ada: AsyncClient, live_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = live_app.state.database_engine.pool
    monkeypatch.setattr("app.websockets.revocation.PAUSE", 3600)

    async with ada.websocket(URL) as first, ada.websocket(URL) as second:
        await subscribe(first, OFFICE)
        await subscribe(second, OFFICE)

        await until(lambda: pool.checkedout() == 0)  # the last look may not be over
