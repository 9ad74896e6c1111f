"""A WebSocket asks who is calling before it is there, as every other route does."""

import orjson
import pytest
from fastapi import FastAPI, WebSocket
from httpx2 import AsyncClient

from app.auth import CurrentUser, requires
from tests.fixtures.auth import SignIn
from tests.fixtures.http import shake_hands


@pytest.fixture
def app(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """`/tests/me` says who is calling, and `/tests/orders` is for clerks."""
    monkeypatch.setattr("app.auth.roles.ROLES", {"clerk": ["orders:read"]})

    @app.websocket("/tests/me")
    async def tell_who(socket: WebSocket, user: CurrentUser) -> None:
        await socket.accept()
        await socket.send_text(user.email)

    @app.websocket("/tests/orders", dependencies=[requires("orders")])
    async def list_orders(socket: WebSocket) -> None:
        await socket.accept()

    return app


async def sign_in_as(client: AsyncClient, sign_in: SignIn, *roles: str) -> dict[str, str]:
    """Return what shows who they are."""
    await sign_in(client, "ada@example.org", *roles)
    return {"authorization": client.headers["Authorization"]}


async def test_whoever_is_signed_in_is_who_they_are(app: FastAPI, client: AsyncClient, sign_in: SignIn) -> None:
    ada = await sign_in_as(client, sign_in, "user")

    accepted, said = await shake_hands(app, "/tests/me", headers=ada)

    assert (accepted["type"], said["text"]) == ("websocket.accept", "ada@example.org")


@pytest.mark.parametrize(
    ("headers", "type"),
    [
        ({}, "/problems/not_authenticated"),
        ({"authorization": "Bearer junk"}, "/problems/token_invalid"),
        ({"cookie": "session=junk"}, "/problems/not_authenticated"),
    ],
)
async def test_nobody_else_gets_in(app: FastAPI, client: AsyncClient, headers: dict[str, str], type: str) -> None:
    start, body = await shake_hands(app, "/tests/me", headers=headers, denial=True)

    assert start["status"] == 401
    assert dict(start["headers"])[b"www-authenticate"].startswith(b"Bearer")
    assert orjson.loads(body["body"])["type"] == type


async def test_to_listen_is_to_read(app: FastAPI, client: AsyncClient, sign_in: SignIn) -> None:
    clerk = await sign_in_as(client, sign_in, "clerk")

    (accepted,) = await shake_hands(app, "/tests/orders", headers=clerk)

    assert accepted["type"] == "websocket.accept"


async def test_it_takes_the_permission(app: FastAPI, client: AsyncClient, sign_in: SignIn) -> None:
    user = await sign_in_as(client, sign_in, "user")

    start, body = await shake_hands(app, "/tests/orders", headers=user, denial=True)

    assert start["status"] == 403
    assert orjson.loads(body["body"])["detail"] == "It takes the permission orders:read."
