"""Everybody in a room hears what is said in it, and nobody else."""

from uuid import uuid4

import pytest
from httpx2 import AsyncClient

from tests.fixtures.websockets import URL, hear, hear_nothing, say, subscribe
from tests.websockets.rooms import LOBBY, NEWS

ORDER = "tests-orders:018f5b1e-7c2a-7000-8000-000000000001"


async def test_a_message_reaches_everybody_in_the_room(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second:
        member = await subscribe(first, ORDER)
        await subscribe(second, ORDER)

        echo = await say(first, "publish", room=ORDER, data={"text": "hi"})

        assert (echo["type"], echo["room"], echo["data"]) == ("message", ORDER, {"text": "hi"})
        assert echo["sender"] == member
        assert await hear(second) == echo


async def test_nobody_else_hears_it(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second, sockets.websocket(URL) as third:
        await subscribe(first, ORDER)
        await subscribe(second, f"tests-orders:{uuid4()}")

        await say(first, "publish", room=ORDER, data="hi")

        await hear_nothing(second)
        await hear_nothing(third)


async def test_who_has_left_hears_nothing_more(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second:
        await subscribe(first, ORDER)
        await subscribe(second, ORDER)

        answer = await say(second, "unsubscribe", room=ORDER, id="1")
        await say(first, "publish", room=ORDER, data="hi")

        assert answer == {"type": "unsubscribed", "room": ORDER, "id": "1"}
        await hear_nothing(second)


async def test_one_may_speak_in_a_room_without_being_in_it(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second:
        await subscribe(first, ORDER)

        await second.send_json({"type": "publish", "room": ORDER, "data": None})

        assert (await hear(first))["data"] is None
        await hear_nothing(second)


async def test_to_subscribe_twice_is_to_subscribe_once(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)
        await subscribe(socket, LOBBY)

        await say(socket, "publish", room=LOBBY, data="hi")

        await hear_nothing(socket)


async def test_a_room_that_one_is_not_in_can_be_left(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        answer = await say(socket, "unsubscribe", room=ORDER)

        assert answer == {"type": "unsubscribed", "room": ORDER, "id": None}


async def test_a_room_tells_who_comes_and_who_goes(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first:
        await subscribe(first, LOBBY)
        async with sockets.websocket(URL) as second:
            member = await subscribe(second, LOBBY)
            joined = await hear(first)

        left = await hear(first)

    assert (joined["type"], joined["room"], joined["member"]) == ("joined", LOBBY, member)
    assert (left["type"], left["room"], left["member"]) == ("left", LOBBY, member)


async def test_a_room_without_presence_tells_nothing_of_it(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first:
        await subscribe(first, NEWS)
        async with sockets.websocket(URL) as second:
            await subscribe(second, NEWS)
            await say(second, "unsubscribe", room=NEWS)

        await hear_nothing(first)


SUBSCRIBE, PUBLISH = {"type": "subscribe", "id": "1"}, {"type": "publish", "data": "hi", "id": "1"}


@pytest.mark.parametrize("frame", [{**SUBSCRIBE, "room": "tests-letterbox"}, {**PUBLISH, "room": NEWS}])
async def test_a_room_says_who_may_listen_and_who_may_speak(sockets: AsyncClient, frame: dict[str, str]) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second:
        await subscribe(second, NEWS)

        answer = await say(first, **frame)

        assert (answer["type"], answer["code"], answer["id"]) == ("error", "forbidden", "1")
        await hear_nothing(second)


async def test_who_may_not_listen_does_not(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second:
        await say(first, "subscribe", room="tests-letterbox")

        await second.send_json({"type": "publish", "room": "tests-letterbox", "data": "hi"})

        await hear_nothing(second)
        await hear_nothing(first)


@pytest.mark.parametrize(
    ("frame", "room"),
    [
        (SUBSCRIBE, "tests-nowhere"),
        (PUBLISH, "tests-nowhere"),
        (SUBSCRIBE, f"{LOBBY}:1"),
        (SUBSCRIBE, "tests-orders:1"),
        (PUBLISH, "tests-orders:1"),
        (SUBSCRIBE, f"{ORDER}:1"),
    ],
)
async def test_there_is_no_room_that_is_not_declared(sockets: AsyncClient, frame: dict[str, str], room: str) -> None:
    async with sockets.websocket(URL) as socket:
        answer = await say(socket, **frame, room=room)

        assert (answer["type"], answer["code"], answer["id"]) == ("error", "room_not_found", "1")


async def test_a_room_that_is_not_declared_cannot_be_left(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        answer = await say(socket, "unsubscribe", room="tests-nowhere")

        assert (answer["type"], answer["code"]) == ("error", "room_not_found")
