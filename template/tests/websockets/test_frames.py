"""What a client says is read frame by frame, and what cannot be read harms nobody else."""

import json

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from httpx2.websockets import AsyncWebSocketSession
from starlette.status import (
    WS_1003_UNSUPPORTED_DATA,
    WS_1007_INVALID_FRAME_PAYLOAD_DATA,
    WS_1009_MESSAGE_TOO_BIG,
)

from tests.fixtures.logs import Logged
from tests.fixtures.websockets import URL, hear, hear_nothing, say, subscribe, until_closed, until_left
from tests.websockets.rooms import LOBBY


async def answer(socket: AsyncWebSocketSession, text: str) -> dict[str, object]:
    await socket.send_text(text)
    return await hear(socket)


async def test_a_ping_is_answered_with_its_id(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        assert await say(socket, "ping", id="7") == {"type": "pong", "id": "7"}
        assert await say(socket, "ping") == {"type": "pong", "id": None}


async def test_a_type_that_there_is_not_is_an_error_with_the_id(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        error = await say(socket, "shout", id="7")

        assert (error["type"], error["code"], error["id"]) == ("error", "validation_failed", "7")
        assert "'subscribe'" in error["errors"][0]["message"]
        assert "shout" not in str(error)


@pytest.mark.parametrize(
    ("frame", "pointer"),
    [
        ({"type": "subscribe"}, "/room"),
        ({"type": "subscribe", "room": "a\nb"}, "/room"),
        ({"type": "subscribe", "room": "a", "more": 1}, "/more"),
        ({"type": "ping", "id": "x" * 65}, "/id"),
    ],
)
async def test_what_does_not_fit_is_pointed_at(sockets: AsyncClient, frame: dict[str, str], pointer: str) -> None:
    async with sockets.websocket(URL) as socket:
        error = await say(socket, **frame)

        assert (error["type"], error["code"]) == ("error", "validation_failed")
        assert [each["pointer"] for each in error["errors"]] == [pointer]


async def test_of_very_much_that_does_not_fit_only_some_is_pointed_at(sockets: AsyncClient) -> None:
    wrong = {f"wrong{number}": number for number in range(200)}
    async with sockets.websocket(URL) as socket:
        error = await say(socket, "ping", id="7", **wrong)

        assert (error["type"], error["code"], error["id"]) == ("error", "validation_failed", "7")
        assert [each["pointer"] for each in error["errors"]] == [f"/wrong{number}" for number in range(10)]


@pytest.mark.parametrize("text", ["[]", "1", '{"type": ["ping"]}'])
async def test_what_is_no_frame_is_an_error(sockets: AsyncClient, text: str) -> None:
    async with sockets.websocket(URL) as socket:
        error = await answer(socket, text)

        assert (error["type"], error["code"], error["id"]) == ("error", "validation_failed", None)
        assert (await say(socket, "ping"))["type"] == "pong"


@pytest.mark.parametrize("id", [7, {"a": 1}, "a\nb", "x" * 65])
async def test_an_id_that_is_no_text_is_an_error_all_the_same(sockets: AsyncClient, id: object) -> None:
    async with sockets.websocket(URL) as socket:
        error = await say(socket, "ping", id=id)

        assert (error["type"], error["code"], error["id"]) == ("error", "validation_failed", None)


@pytest.mark.parametrize(
    "text",
    ["", '{"type": "ping"} x', '{"type": "publish", "data": NaN}', "[" * 5000, '"\\ud800"'],
    ids=lambda text: text[:20],
)
async def test_what_is_no_json_is_an_error(sockets: AsyncClient, text: str) -> None:
    async with sockets.websocket(URL) as socket:
        error = await answer(socket, text)

        assert (error["type"], error["code"], error["id"]) == ("error", "malformed_json", None)
        assert (await say(socket, "ping"))["type"] == "pong"


async def test_the_third_in_a_row_that_is_no_json_is_the_last(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        errors = [await answer(socket, "{"), await answer(socket, "{"), await answer(socket, "{")]

        assert [error["code"] for error in errors] == ["malformed_json"] * 3
        assert await until_closed(socket) == WS_1007_INVALID_FRAME_PAYLOAD_DATA


async def test_json_in_between_is_a_new_beginning(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await answer(socket, "{")
        await answer(socket, "{")
        await answer(socket, "[]")
        await answer(socket, "{")
        await answer(socket, "{")

        assert (await say(socket, "ping"))["type"] == "pong"


async def test_bytes_are_no_message(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await socket.send_bytes(b'{"type": "ping"}')

        assert await until_closed(socket) == WS_1003_UNSUPPORTED_DATA


async def test_a_message_may_be_so_long_and_no_longer(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        frame = '{"type": "publish", "room": "tests-letterbox", "data": "%s"}'
        await socket.send_text(frame % ("x" * (65_536 - len(frame % ""))))
        longest = await say(socket, "ping")

        await socket.send_text(frame % ("ü" * 32_768))

        assert longest["type"] == "pong"
        assert await until_closed(socket) == WS_1009_MESSAGE_TOO_BIG


async def test_a_message_arrives_as_it_was_sent(sockets: AsyncClient) -> None:
    data = [None, 1.5, "\x00", {"a": [True]}, 2**63, -(2**63), 1e308]
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)

        assert (await say(socket, "publish", room=LOBBY, data=data))["data"] == data


def lists(depth: int) -> str:
    """Return a list of as many of them, one in another, as a message has room for."""
    return f"[{','.join(['[' * depth + ']' * depth] * (60_000 // (2 * depth)))}]"


DEEP = '{"type": "publish", "room": "%s", "data": %s, "id": "7"%s}'


async def test_what_is_nested_deep_arrives(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)

        message = await answer(socket, DEEP % (LOBBY, lists(250), ""))

        assert (message["type"], message["data"]) == ("message", json.loads(lists(250)))


async def test_what_is_nested_deeper_than_can_be_written_is_an_error(
    app: FastAPI, sockets: AsyncClient, logged: Logged
) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)

        error = await answer(socket, DEEP % (LOBBY, lists(300), ""))

        assert (error["type"], error["code"], error["id"]) == ("error", "too_deep", "7")
        await hear_nothing(socket)
    await until_left(app)
    assert {line["level"] for line in logged()} == {"info"}


async def test_what_is_nested_deep_is_not_what_does_not_fit(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        error = await answer(socket, DEEP % (LOBBY, lists(250), ', "more": 1'))

        assert error["code"] == "validation_failed"
        assert error["errors"] == [
            {"pointer": "/more", "code": "extra_forbidden", "message": "Extra inputs are not permitted"}
        ]


async def test_nothing_of_this_is_an_error_of_the_service(app: FastAPI, sockets: AsyncClient, logged: Logged) -> None:
    async with sockets.websocket(URL) as first:
        await answer(first, "{")
        await answer(first, "[]")
        await first.send_bytes(b"")
        await until_closed(first)
    await until_left(app)

    assert {line["level"] for line in logged()} == {"info"}
