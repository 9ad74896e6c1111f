"""Whoever does not read what is sent harms themselves and nobody else."""

import asyncio

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

from app.websockets import schemas
from tests.fixtures.logs import Logged
from tests.fixtures.websockets import URL, hear, subscribe, until, until_left
from tests.websockets.conftest import SlowClient
from tests.websockets.rooms import LOBBY


async def publish(app: FastAPI, data: str, times: int) -> None:
    """Tell everybody in the lobby, each time with the opportunity to read it."""
    for _ in range(times):
        await app.state.websockets.publish(LOBBY, schemas.Message(room=LOBBY, data=data))
        await asyncio.sleep(0)


async def heard(slow: SlowClient, number: int) -> list[str]:
    """Return the types of what the client has read, once it is so much."""
    await until(lambda: len(slow.read) >= number)
    return [message["type"] for message in slow.read]


async def test_what_is_not_read_waits(app: FastAPI, slow: SlowClient) -> None:
    await publish(app, "hi", 100)

    slow.reads.set()

    assert await heard(slow, 102) == ["websocket.accept", *["websocket.send"] * 101]


async def test_what_has_been_read_makes_room(app: FastAPI, slow: SlowClient) -> None:
    await publish(app, "x" * 100_000, 9)
    slow.reads.set()
    await heard(slow, 11)
    await publish(app, "x" * 100_000, 9)

    assert await heard(slow, 20) == ["websocket.accept", *["websocket.send"] * 19]


@pytest.mark.parametrize(("data", "times"), [("hi", 101), ("x" * 100_000, 11), ("ü" * 60_000, 9)])
async def test_when_too_much_waits_it_ends(
    app: FastAPI, slow: SlowClient, logged: Logged, data: str, times: int
) -> None:
    await publish(app, data, times)
    await until_left(app)

    assert await heard(slow, 2) == ["websocket.accept", "websocket.close"]
    assert slow.read[-1]["code"] == WS_1013_TRY_AGAIN_LATER
    assert app.state.websockets.rooms == {}
    assert {line["level"] for line in logged()} == {"info"}


async def test_the_others_hear_everything(app: FastAPI, slow: SlowClient, sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)

        await publish(app, "hi", 150)

        heard = [(await hear(socket))["type"] for _ in range(151)]
        assert sorted(heard) == ["left", *["message"] * 150]


async def test_an_end_does_not_wait_for_what_is_not_read(
    app: FastAPI, slow: SlowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.websockets.connection.FLUSH_SECONDS", 3600)
    await publish(app, "hi", 50)

    slow.member.end(4401, "It is over.", at_once=True)

    assert await heard(slow, 2) == ["websocket.accept", "websocket.close"]
    assert slow.read[-1]["code"] == 4401


async def test_another_end_waits_for_it_and_not_for_long(
    app: FastAPI, slow: SlowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.websockets.connection.FLUSH_SECONDS", 0.01)
    await publish(app, "hi", 50)

    slow.member.end(WS_1008_POLICY_VIOLATION, "It is over.")

    assert await heard(slow, 2) == ["websocket.accept", "websocket.close"]
    assert slow.read[-1]["code"] == WS_1008_POLICY_VIOLATION


async def test_what_is_being_sent_is_not_lost_by_another_end(app: FastAPI, slow: SlowClient, logged: Logged) -> None:
    await publish(app, "hi", 1)

    slow.member.end(WS_1008_POLICY_VIOLATION, "It is over.")
    await until(lambda: "websockets.closed" in [line["event"] for line in logged()])
    slow.reads.set()

    assert await heard(slow, 4) == ["websocket.accept", "websocket.send", "websocket.send", "websocket.close"]


async def test_what_waits_comes_before_another_end(app: FastAPI, slow: SlowClient) -> None:
    slow.reads.set()
    await heard(slow, 2)

    slow.member.put("{}", 2)
    slow.member.end(WS_1008_POLICY_VIOLATION, "It is over.")

    assert await heard(slow, 4) == ["websocket.accept", "websocket.send", "websocket.send", "websocket.close"]
