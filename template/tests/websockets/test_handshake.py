"""Who may connect is settled before a WebSocket is there."""

from http import HTTPStatus
from typing import NoReturn

import pytest
from fastapi import FastAPI, WebSocket
from httpx2 import AsyncClient
from httpx2.websockets import WebSocketUpgradeError
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import Message

from app.websockets.handshake import own_origin
from tests.fixtures.http import shake_hands
from tests.fixtures.logs import Logged
from tests.fixtures.websockets import URL, hear_nothing, refused, until_left
from tests.websockets.conftest import make_app


@pytest.fixture
def app(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("WEBSOCKETS_ORIGINS", "https://shop.example,http://localhost:5173")
    return make_app()


@pytest.mark.parametrize("origin", ["https://shop.example", "http://localhost:5173", "http://test"])
async def test_pages_that_are_named_and_the_services_own_may_connect(sockets: AsyncClient, origin: str) -> None:
    async with sockets.websocket(URL, headers={"Origin": origin}) as socket:
        await hear_nothing(socket)


async def test_what_is_no_browser_may_connect(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await hear_nothing(socket)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://test",
        "http://test:8000",
        "null",
        "",
    ],
)
async def test_other_pages_may_not(sockets: AsyncClient, origin: str) -> None:
    response = await refused(sockets, Origin=origin)

    assert response.status_code == HTTPStatus.FORBIDDEN
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/origin_not_allowed"
    assert response.json()["instance"] == "/v1/ws"
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_of_two_origins_both_have_to_be_allowed(app: FastAPI, sockets: AsyncClient) -> None:
    headers = [("Origin", "https://shop.example"), ("Origin", "https://evil.example")]

    with pytest.raises(WebSocketUpgradeError):
        async with sockets.websocket(URL, headers=headers):
            pass


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("ws", "api.example", "http://api.example"),
        ("ws", "API.example:80", "http://api.example"),
        ("ws", "api.example:8000", "http://api.example:8000"),
        ("wss", "api.example:443", "https://api.example"),
        ("wss", "[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_the_services_own_origin_is_the_one_that_browsers_name(scheme: str, host: str, origin: str) -> None:
    scope = {"type": "websocket", "scheme": scheme, "headers": [(b"host", host.encode())]}

    assert own_origin(WebSocket(scope, never, never)) == origin


async def never(*message: Message) -> NoReturn:
    raise NotImplementedError


async def test_where_the_server_knows_no_answer_the_handshake_is_closed(app: FastAPI, sockets: AsyncClient) -> None:
    (closed,) = await shake_hands(app, "/v1/ws", headers={"origin": "https://evil.example"})

    assert (closed["type"], closed["code"]) == ("websocket.close", WS_1008_POLICY_VIOLATION)


async def test_a_service_that_is_about_to_stop_takes_nobody_on(app: FastAPI, sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        app.state.readiness.draining = True

        response = await refused(sockets)

        assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert response.json()["type"] == "/problems/service_stopping"
        assert response.headers["retry-after"] == "1"
        await hear_nothing(socket)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], None), (["rooms.v1"], "rooms.v1"), (["other", "rooms.v1"], "rooms.v1"), (["other"], None)],
)
async def test_the_protocol_is_chosen_where_it_is_offered(
    sockets: AsyncClient, offered: list[str], chosen: str | None
) -> None:
    async with sockets.websocket(URL, subprotocols=offered or None) as socket:
        assert socket.subprotocol == chosen


async def test_a_handshake_is_one_line_of_the_log(app: FastAPI, sockets: AsyncClient, logged: Logged) -> None:
    async with sockets.websocket(f"{URL}?key=hunter2") as socket:
        await hear_nothing(socket)
    await until_left(app)
    await refused(sockets, Origin="null")

    accepted, refusal = logged()
    assert (accepted["event"], accepted["route"], accepted["status"]) == ("http.request", "/v1/ws", 101)
    assert (refusal["event"], refusal["route"], refusal["status"]) == ("http.request", "/v1/ws", 403)
    assert "hunter2" not in str(accepted)
