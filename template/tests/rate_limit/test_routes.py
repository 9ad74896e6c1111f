"""A route can have a limit of its own, by name."""

import pytest
from fastapi import FastAPI, WebSocket
from httpx2 import AsyncClient

from app.main import create_app
from app.rate_limit import limit
from tests.fixtures.http import connect, shake_hands
from tests.rate_limit.conftest import router
from tests.rate_limit.test_addresses import OK, REFUSED, ask


async def test_a_route_has_a_lower_limit(client: AsyncClient) -> None:
    response = await client.get("/tests/prints")
    statuses = await ask(client, 2, "/tests/prints")

    assert statuses == [OK, REFUSED]
    assert response.headers["ratelimit-policy"] == '"tests-prints";q=2;w=60'
    assert response.headers["ratelimit"].startswith('"tests-prints";r=1;')


async def test_routes_with_the_same_name_share_their_limit(client: AsyncClient) -> None:
    await ask(client, 2, "/tests/prints")

    assert await ask(client, 1, "/tests/late-prints") == [REFUSED]


async def test_settings_replace_the_number(counted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_ROUTES", "tests-prints=1/hour")
    app = create_app()
    app.include_router(router)

    async with connect(app) as client:
        response = await client.get("/tests/prints")
        statuses = await ask(client, 1, "/tests/prints")

    assert response.headers["ratelimit-policy"] == '"tests-prints";q=1;w=3600'
    assert statuses == [REFUSED]


async def test_a_route_is_limited_although_nothing_else_is(counted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_DEFAULT", "off")
    app = create_app()
    app.include_router(router)

    async with connect(app) as client:
        elsewhere = await client.get("/tests/orders")
        statuses = await ask(client, 3, "/tests/prints")

    assert "ratelimit" not in elsewhere.headers
    assert statuses == [OK, OK, REFUSED]


def test_a_name_has_one_number() -> None:
    limit("tests-prints", "2/minute")

    with pytest.raises(ValueError, match="the limit tests-prints is 2/minute elsewhere"):
        limit("tests-prints", "3/minute")


@pytest.mark.parametrize("name", ["default", "", "Prints", 'a"b', "a=b"])
def test_a_name_can_be_written_into_settings_and_headers(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a limit"):
        limit(name, "2/minute")


@pytest.mark.parametrize("rate", ["", "2", "0/minute", "-1/minute", "2/fortnight", "2 / minute", "1e3/minute", "off"])
def test_a_number_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="like 100/minute"):
        limit("tests-other", rate)


async def test_a_socket_has_a_limit_too(app: FastAPI, client: AsyncClient) -> None:
    @app.websocket("/tests/feed", dependencies=[limit("tests-prints", "2/minute")])
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()

    accepted = [*await shake_hands(app, "/tests/feed"), *await shake_hands(app, "/tests/feed")]
    start, body = await shake_hands(app, "/tests/feed", denial=True)

    assert [message["type"] for message in accepted] == ["websocket.accept"] * 2
    assert start["status"] == REFUSED
    assert dict(start["headers"]).keys() >= {b"retry-after", b"ratelimit", b"ratelimit-policy"}
    assert b'"/problems/rate_limit_exceeded"' in body["body"]
