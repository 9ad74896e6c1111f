"""Nobody has more connections than are their share, and every connection that has ended leaves its place."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from fastapi import FastAPI, WebSocket
from httpx2 import AsyncClient
from starlette.status import WS_1011_INTERNAL_ERROR

from app.websockets.hub import Hub, TooManyConnections
from app.websockets.settings import WebSocketsSettings
from tests.fixtures.http import shake_hands
from tests.fixtures.websockets import URL, connect, hear_nothing, refused, subscribe, until, until_closed, until_left
from tests.websockets.conftest import SlowClient, make_app
from tests.websockets.rooms import LOBBY, Listener

HERE, THERE = "203.0.113.1", "203.0.113.2"


@pytest.fixture
def hub() -> Hub:
    return Hub(WebSocketsSettings(connections_per_principal=2, connections_per_address=3, max_connections=4))


def count(hub: Hub) -> tuple[int, dict[str, int], dict[str, int]]:
    return len(hub.members), dict(hub.by_address), dict(hub.by_principal)


def test_somebody_has_so_many_connections_wherever_they_are(hub: Hub) -> None:
    with hub.admit(Listener("ada"), HERE), hub.admit(Listener("ada"), THERE):
        with pytest.raises(TooManyConnections), hub.admit(Listener("ada"), HERE):
            pass

        with hub.admit(Listener("bob"), HERE):
            assert count(hub) == (3, {HERE: 2, THERE: 1}, {"ada": 2, "bob": 1})


def test_an_address_has_so_many_whoever_is_there(hub: Hub) -> None:
    with hub.admit(Listener("ada"), HERE), hub.admit(Listener("bob"), HERE), hub.admit(Listener(), HERE):
        with pytest.raises(TooManyConnections), hub.admit(Listener(), f"::ffff:{HERE}"):
            pass

        with hub.admit(Listener(), THERE):
            assert count(hub) == (4, {HERE: 3, THERE: 1}, {"ada": 1, "bob": 1})


def test_a_network_of_ipv6_is_one_address(hub: Hub) -> None:
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"]

    with hub.admit(Listener(), addresses[0]), hub.admit(Listener(), addresses[1]), hub.admit(Listener(), addresses[2]):
        with pytest.raises(TooManyConnections), hub.admit(Listener(), "2001:db8::3"):
            pass
        with hub.admit(Listener(), "2001:db8:0:1::1"):
            pass


def test_a_process_has_so_many(hub: Hub) -> None:
    with (
        hub.admit(Listener(), "a"),
        hub.admit(Listener(), "b"),
        hub.admit(Listener(), "c"),
        hub.admit(Listener(), None),
        pytest.raises(TooManyConnections),
        hub.admit(Listener(), "d"),
    ):
        pass


def test_whoever_is_refused_takes_no_place(hub: Hub) -> None:
    with hub.admit(Listener("ada"), HERE), hub.admit(Listener("ada"), HERE):
        with pytest.raises(TooManyConnections), hub.admit(Listener("ada"), HERE):
            pass

        assert count(hub) == (2, {HERE: 2}, {"ada": 2})


def test_whoever_has_left_leaves_their_place_whatever_it_ended_with(hub: Hub) -> None:
    with pytest.raises(ZeroDivisionError), hub.admit(Listener("ada"), HERE):
        raise ZeroDivisionError

    assert count(hub) == (0, {}, {})


@pytest.mark.parametrize("setting", ["WEBSOCKETS_CONNECTIONS_PER_ADDRESS", "WEBSOCKETS_MAX_CONNECTIONS"])
async def test_one_too_many_is_refused_with_an_answer(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(setting, "1")
    async with connect(make_app()) as client, client.websocket(URL) as socket:
        response = await refused(client)

        assert response.status_code == HTTPStatus.TOO_MANY_REQUESTS
        assert response.json()["type"] == "/problems/too_many_connections"
        assert response.headers["retry-after"] == "5"
        await hear_nothing(socket)


async def test_the_place_of_who_has_hung_up_is_free_again(app: FastAPI, sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)
    await until_left(app)

    assert count(app.state.websockets) == (0, {}, {})
    assert app.state.websockets.rooms == {}


async def test_the_place_of_who_was_closed_is_free_again(app: FastAPI, sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, LOBBY)
        await socket.send_bytes(b"")
        await until_closed(socket)
        await until_left(app)

        assert count(app.state.websockets) == (0, {}, {})
        assert app.state.websockets.rooms == {}


class StuckBackplane:
    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def publish(self, room: str, frame: str) -> None:
        await self.answers.wait()


@pytest.fixture
def stuck(app: FastAPI, slow: SlowClient) -> Iterator[None]:
    """From now on the other processes do not answer."""
    backplane = StuckBackplane()
    app.state.websockets.backplane = backplane
    yield
    backplane.answers.set()


async def test_who_hangs_up_leaves_all_rooms_although_nobody_can_be_told(
    app: FastAPI, slow: SlowClient, request: pytest.FixtureRequest
) -> None:
    await slow.subscribe("demo")
    request.getfixturevalue("stuck")

    slow.hang_up()

    await until(lambda: not app.state.websockets.rooms)


@pytest.mark.usefixtures("stuck")
async def test_who_is_closed_leaves_the_room_that_has_yet_to_hear_of_them(app: FastAPI, slow: SlowClient) -> None:
    await slow.subscribe("demo")

    slow.member.end(WS_1011_INTERNAL_ERROR, "It is over.")

    await until(lambda: not app.state.websockets.rooms)


@pytest.mark.usefixtures("stuck")
async def test_who_is_cut_off_leaves_the_room_that_has_yet_to_hear_of_them(app: FastAPI, slow: SlowClient) -> None:
    await slow.subscribe("demo")

    slow.connection.cancel()

    await until(lambda: not app.state.websockets.rooms)


async def test_the_place_of_who_vanishes_during_the_handshake_is_free_again(
    app: FastAPI, sockets: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def vanish(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(WebSocket, "accept", vanish)

    await shake_hands(app, "/v1/ws")

    assert count(app.state.websockets) == (0, {}, {})
