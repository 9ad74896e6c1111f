"""Who is not known is counted by the address, whatever they say about themselves."""

from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from starlette.types import Receive, Scope, Send

from app.context import RequestContext, current
from tests.fixtures.http import connect, shake_hands

OK, REFUSED = HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS


async def ask(client: AsyncClient, times: int, path: str = "/tests/orders", **headers: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status_code for _ in range(times)]


async def exceed(client: AsyncClient) -> Response:
    """Return the answer to one request too many."""
    await ask(client, 3)
    return await client.get("/tests/orders")


async def test_a_limit_is_not_passed(client: AsyncClient) -> None:
    assert await ask(client, 5) == [OK] * 3 + [REFUSED] * 2


async def test_who_is_refused_learns_when_to_come_back(client: AsyncClient) -> None:
    response = await exceed(client)

    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/rate_limit_exceeded"
    assert response.json()["instance"] == "/tests/orders"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert 1 <= int(response.headers["retry-after"]) <= 80
    assert response.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert response.headers["ratelimit"] == f'"default";r=0;t={response.headers["retry-after"]}'


async def test_every_answer_says_what_is_left(client: AsyncClient) -> None:
    response = await client.get("/tests/orders")

    left, _, seconds = response.headers["ratelimit"].rpartition("=")
    assert response.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert left == '"default";r=2;t'
    assert 1 <= int(seconds) <= 120


async def test_what_is_not_there_counts_too(client: AsyncClient) -> None:
    missing = await ask(client, 2, "/tests/nothing")

    assert await ask(client, 2) == [OK, REFUSED]
    assert missing == [HTTPStatus.NOT_FOUND] * 2


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_never_refused(client: AsyncClient, path: str) -> None:
    refused = await exceed(client)

    response = await client.get(path)

    assert refused.status_code == REFUSED
    assert response.status_code != REFUSED
    assert "ratelimit" not in response.headers


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Real-IP", "True-Client-IP", "Forwarded", "Authorization", "Cookie", "X-API-Key"]
)
async def test_a_header_makes_nobody_else_of_the_caller(client: AsyncClient, name: str) -> None:
    value = {"Forwarded": "for=198.51.100.7", "Authorization": "Bearer junk"}.get(name, "198.51.100.7")

    await exceed(client)

    assert await ask(client, 1, **{name: value}) == [REFUSED]


@pytest.mark.parametrize(
    ("address", "neighbour", "status"),
    [
        ("203.0.113.1", "::ffff:203.0.113.1", REFUSED),
        ("2001:db8::1", "2001:db8::ffff:1", REFUSED),
        ("fe80::1%eth0", "fe80::2%eth0", REFUSED),
        ("203.0.113.1", "203.0.113.2", OK),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.2", OK),
        ("2001:db8::1", "2001:db8:0:1::1", OK),
        ("no:address", "another:one", OK),
    ],
)
async def test_a_network_of_ipv6_is_one_caller(app: FastAPI, address: str, neighbour: str, status: HTTPStatus) -> None:
    async with connect(app, address=address) as client:
        await exceed(client)

    async with connect(app, address=neighbour) as client:
        assert await ask(client, 1) == [status]


async def test_a_handshake_counts_too(app: FastAPI, client: AsyncClient) -> None:
    accepted = await shake_hands(app)

    assert [message["type"] for message in accepted] == ["websocket.accept", "websocket.close"]
    assert await ask(client, 3) == [OK, OK, REFUSED]


async def test_a_handshake_is_not_that_of_whoever_called_before_on_the_connection(
    app: FastAPI, client: AsyncClient
) -> None:
    current.set(RequestContext("a", principal_id="ada"))

    await shake_hands(app)
    await shake_hands(app)

    assert await ask(client, 2) == [OK, REFUSED]


async def test_a_handshake_is_refused_with_an_answer(app: FastAPI, client: AsyncClient) -> None:
    await exceed(client)

    start, body = await shake_hands(app, denial=True)

    headers = dict(start["headers"])
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == REFUSED
    assert headers.keys() >= {b"retry-after", b"ratelimit", b"ratelimit-policy"}
    assert b'"/problems/rate_limit_exceeded"' in body["body"]


async def test_a_handshake_is_refused_where_the_server_knows_no_answer(app: FastAPI, client: AsyncClient) -> None:
    await exceed(client)

    (closed,) = await shake_hands(app)

    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


async def test_somebody_without_an_address_is_limited(app: FastAPI) -> None:
    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": None}, receive, send)

    async with connect(app):
        client = AsyncClient(transport=ASGITransport(without), base_url="http://test")

        assert await ask(client, 4) == [OK] * 3 + [REFUSED]
