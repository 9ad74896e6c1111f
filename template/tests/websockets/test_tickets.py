"""A browser can send no header with a WebSocket: it shows a ticket, which is good once and not for long."""

import asyncio
from http import HTTPStatus
from time import monotonic, time

import pytest
from fakeredis import FakeServer
from fastapi import FastAPI
from httpx2 import AsyncClient
from httpx2.websockets import WebSocketUpgradeError

from app.auth import User
from app.auth.identity import get_current_user
from app.redis.connection import connect as connect_to
from app.websockets.tickets import MemoryStore, Tickets
from tests.fixtures.auth import SignIn
from tests.fixtures.websockets import URL, hear_nothing, refused, say, subscribe
from tests.websockets.rooms import LOBBY

TICKETS = "/v1/ws/tickets"


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tickets kept in either."""
    if request.param == "redis":
        monkeypatch.setenv("WEBSOCKETS_URL", redis_url)


@pytest.fixture
def app(store: None, app: FastAPI) -> FastAPI:
    """Nobody is let in who does not show who they are."""
    del app.dependency_overrides[get_current_user]
    return app


@pytest.fixture
async def ada(sockets: AsyncClient, sign_in: SignIn) -> User:
    """The client is hers."""
    return await sign_in(sockets)


in_memory = pytest.mark.parametrize("store", ["memory"], indirect=True)
in_redis = pytest.mark.parametrize("store", ["redis"], indirect=True)


async def get_ticket(client: AsyncClient) -> str:
    """Return what the client has to show from now on, which is nothing else."""
    response = await client.post(TICKETS)
    assert response.status_code == HTTPStatus.CREATED, response.text
    del client.headers["Authorization"]
    return f"ticket.{response.json()['ticket']}"


async def refusal(client: AsyncClient, ticket: str) -> int:
    return (await refused(client, **{"Sec-WebSocket-Protocol": f"rooms.v1,{ticket}"})).status_code


async def test_a_ticket_lets_a_browser_in(sockets: AsyncClient, ada: User) -> None:
    ticket = await get_ticket(sockets)

    async with sockets.websocket(URL, subprotocols=["rooms.v1", ticket]) as socket:
        await subscribe(socket, LOBBY)
        message = await say(socket, "publish", room=LOBBY, data="hi")

        assert socket.subprotocol == "rooms.v1"
        assert message["principal_id"] == str(ada.id)


async def test_a_ticket_is_good_once(sockets: AsyncClient, ada: User) -> None:
    ticket = await get_ticket(sockets)
    async with sockets.websocket(URL, subprotocols=["rooms.v1", ticket]) as socket:
        await hear_nothing(socket)

    assert await refusal(sockets, ticket) == HTTPStatus.UNAUTHORIZED


async def test_of_many_who_show_a_ticket_one_gets_in(app: FastAPI, sockets: AsyncClient, ada: User) -> None:
    tickets: Tickets = app.state.opened["tickets"]
    ticket = (await get_ticket(sockets)).removeprefix("ticket.")

    shown = await asyncio.gather(*[tickets.redeem(ticket) for _ in range(5)], return_exceptions=True)

    assert sorted(type(each).__name__ for each in shown) == ["AccessToken", *["TokenInvalid"] * 4]


@in_memory
async def test_a_ticket_is_not_good_for_long(sockets: AsyncClient, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = await get_ticket(sockets)

    monkeypatch.setattr("app.websockets.tickets.monotonic", lambda: monotonic() + 30)

    assert await refusal(sockets, ticket) == HTTPStatus.UNAUTHORIZED


async def test_a_ticket_ends_with_the_token_that_it_was_issued_for(
    sockets: AsyncClient, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await get_ticket(sockets)

    monkeypatch.setattr("app.websockets.tickets.time", lambda: time() + 900)

    assert await refusal(sockets, ticket) == HTTPStatus.UNAUTHORIZED


async def test_tickets_that_nobody_has_used_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    await store.put("a", "ada")
    monkeypatch.setattr("app.websockets.tickets.monotonic", lambda: monotonic() + 31)

    await store.put("b", "bob")

    assert [*store.kept] == ["b"]


@in_redis
async def test_redis_forgets_a_ticket_by_itself_and_never_knows_it(
    sockets: AsyncClient, ada: User, redis_url: str
) -> None:
    ticket = (await get_ticket(sockets)).removeprefix("ticket.")

    async with connect_to(redis_url) as redis:
        (key,) = await redis.send("KEYS", "*")
        kept, seconds = await redis.send("GET", key), await redis.send("TTL", key)

    assert 25 <= seconds <= 30
    assert ticket.encode() not in key + kept


@in_redis
@pytest.mark.parametrize("value", [b"", b"\xff", b"  ", b"ada session inf", b"{user} {session} inf {seal}"])
async def test_whoever_writes_to_redis_makes_no_ticket(
    sockets: AsyncClient, ada: User, redis_url: str, value: bytes
) -> None:
    ticket = await get_ticket(sockets)
    async with connect_to(redis_url) as redis:
        (key,) = await redis.send("KEYS", "*")
        user, session, _, seal = (await redis.send("GET", key)).split(b" ")
        forged = value.replace(b"{user}", user).replace(b"{session}", session).replace(b"{seal}", seal)
        await redis.send("SET", key, forged)

    assert await refusal(sockets, ticket) == HTTPStatus.UNAUTHORIZED


@in_redis
async def test_without_redis_there_are_no_tickets_and_other_ways_in(
    sockets: AsyncClient, ada: User, fake_redis: FakeServer
) -> None:
    fake_redis.connected = False

    response = await sockets.post(TICKETS)
    async with sockets.websocket(URL) as socket:
        await hear_nothing(socket)
    del sockets.headers["Authorization"]

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert response.json()["type"] == "/problems/tickets_unavailable"
    assert response.headers["retry-after"] == "1"
    assert await refusal(sockets, "ticket.abc") == HTTPStatus.SERVICE_UNAVAILABLE


@in_memory
async def test_nobody_gets_in_with_nothing_to_show(sockets: AsyncClient) -> None:
    response = await refused(sockets)
    ticket = await sockets.post(TICKETS)

    assert (response.status_code, ticket.status_code) == (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED)
    assert response.headers["www-authenticate"] == "Bearer"


@in_memory
@pytest.mark.parametrize("name", ["ticket", "access_token", "token"])
async def test_what_stands_in_the_query_is_not_looked_at(sockets: AsyncClient, ada: User, name: str) -> None:
    token = sockets.headers["Authorization"].removeprefix("Bearer ")
    ticket = (await get_ticket(sockets)).removeprefix("ticket.")

    with pytest.raises(WebSocketUpgradeError) as refusal:
        async with sockets.websocket(URL, params={name: ticket if name == "ticket" else token}):
            pass

    assert refusal.value.response.status_code == HTTPStatus.UNAUTHORIZED


@in_memory
async def test_a_header_comes_first_and_leaves_the_ticket_as_it_is(
    sockets: AsyncClient, ada: User, sign_in: SignIn
) -> None:
    ticket = await get_ticket(sockets)
    bob = await sign_in(sockets, "bob@example.org")

    async with sockets.websocket(URL, subprotocols=[ticket]) as first:
        await subscribe(first, LOBBY)
        theirs = await say(first, "publish", room=LOBBY, data="hi")
    del sockets.headers["Authorization"]
    async with sockets.websocket(URL, subprotocols=[ticket]) as second:
        await hear_nothing(second)

    assert theirs["principal_id"] == str(bob.id)


@in_memory
async def test_a_bad_header_is_not_made_good_by_a_ticket(sockets: AsyncClient, ada: User) -> None:
    ticket = await get_ticket(sockets)
    sockets.headers["Authorization"] = "Bearer junk"

    assert await refusal(sockets, ticket) == HTTPStatus.UNAUTHORIZED


@in_memory
async def test_a_ticket_ends_with_the_session(sockets: AsyncClient, ada: User) -> None:
    mine = sockets.headers["Authorization"]
    ticket = await get_ticket(sockets)
    await sockets.post("/v1/auth/logout", headers={"Authorization": mine})

    assert await refusal(sockets, ticket) == HTTPStatus.UNAUTHORIZED


@in_memory
async def test_a_ticket_is_for_sockets_alone(sockets: AsyncClient, ada: User) -> None:
    ticket = await get_ticket(sockets)

    response = await sockets.get("/v1/users/me", headers={"Sec-WebSocket-Protocol": ticket})

    assert response.status_code == HTTPStatus.UNAUTHORIZED
