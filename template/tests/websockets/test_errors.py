"""What goes wrong with one message is told, and the next one is heard."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, Response
from httpx2 import AsyncClient
from pydantic import TypeAdapter
from starlette.status import WS_1011_INTERNAL_ERROR

from app.websockets import Action
from app.websockets.rooms import Room, declared
from tests.fixtures.logs import Logged
from tests.fixtures.websockets import URL, hear_nothing, say, until_closed, until_left
from tests.websockets.rooms import broken, closed


async def test_an_error_of_the_service_is_told(app: FastAPI, sockets: AsyncClient, logged: Logged) -> None:
    async with sockets.websocket(URL) as socket:
        error = await say(socket, "subscribe", room=closed.name, id="1")

        assert error == {
            "type": "error",
            "code": "room_closed",
            "detail": "It opens at nine.",
            "errors": None,
            "id": "1",
        }
        await hear_nothing(socket)
    await until_left(app)
    assert {line["level"] for line in logged()} == {"info"}


async def test_an_unexpected_error_is_logged_and_not_told(app: FastAPI, sockets: AsyncClient, logged: Logged) -> None:
    async with sockets.websocket(URL) as socket:
        error = await say(socket, "subscribe", room=broken.name, id="1")

        assert (error["type"], error["code"], error["id"]) == ("error", "internal_error", "1")
        assert "hunter2" not in str(error)
        await hear_nothing(socket)
    await until_left(app)
    (line,) = [line for line in logged() if line["level"] == "error"]
    assert line["event"] == "websockets.message_failed"
    assert line["exception"][0]["exc_value"] == "hunter2"
    assert line["request_id"]


async def test_what_does_not_fit_within_a_room_is_no_mistake_of_the_client(
    app: FastAPI, sockets: AsyncClient, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def decide(action: Action, id: int) -> bool:
        return TypeAdapter(bool).validate_python("hunter2")

    monkeypatch.setitem(declared, "tests-odd:{id}", Room("tests-odd:{id}", decide, presence=False))

    async with sockets.websocket(URL) as socket:
        error = await say(socket, "subscribe", room="tests-odd:7", id="1")

        assert (error["code"], error["errors"], error["id"]) == ("internal_error", None, "1")
    await until_left(app)
    (line,) = [line for line in logged() if line["level"] == "error"]
    assert line["event"] == "websockets.message_failed"


async def test_an_error_of_the_framework_is_told_in_its_words(
    sockets: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def decide(action: Action) -> bool:
        raise HTTPException(HTTPStatus.GONE, "It has moved.")

    monkeypatch.setitem(declared, "tests-gone", Room("tests-gone", decide, presence=False))

    async with sockets.websocket(URL) as socket:
        error = await say(socket, "subscribe", room="tests-gone")

        assert (error["code"], error["detail"]) == ("about:blank", "It has moved.")


async def give_up(request: HTTPConnection, error: Exception) -> Response:
    raise error


async def say_little(request: HTTPConnection, error: Exception) -> Response:
    return JSONResponse({"detail": "Something went wrong."})


@pytest.mark.parametrize(("handler", "reason"), [(give_up, "hunter2"), (say_little, "'type'")])
async def test_an_error_that_its_handler_cannot_explain_is_logged_and_not_told(
    app: FastAPI,
    sockets: AsyncClient,
    logged: Logged,
    monkeypatch: pytest.MonkeyPatch,
    handler: Callable[[HTTPConnection, Exception], Awaitable[Response]],
    reason: str,
) -> None:
    monkeypatch.setitem(app.exception_handlers, RuntimeError, handler)

    async with sockets.websocket(URL) as socket:
        error = await say(socket, "subscribe", room=broken.name, id="1")

        assert (error["code"], error["id"]) == ("internal_error", "1")
        await hear_nothing(socket)
    await until_left(app)
    (line,) = [line for line in logged() if line["level"] == "error"]
    assert line["event"] == "websockets.message_failed"
    assert line["exception"][0]["exc_value"] == reason


async def test_where_even_that_fails_the_connection_is_closed(
    app: FastAPI, sockets: AsyncClient, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explain(*arguments: object) -> None:
        raise RuntimeError("hunter3")

    monkeypatch.setattr("app.websockets.dialogue.explain", explain)

    async with sockets.websocket(URL) as socket:
        await socket.send_json({"type": "subscribe", "room": closed.name})

        assert await until_closed(socket) == WS_1011_INTERNAL_ERROR
    await until_left(app)
    (line,) = [line for line in logged() if line["level"] == "error"]
    assert line["exception"][0]["exc_value"] == "hunter3"
