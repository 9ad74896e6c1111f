"""What the service itself tells a room is told once it is true, and never where it is not."""

import asyncio
from http import HTTPStatus
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI, HTTPException
from httpx2 import AsyncClient
from pydantic import BaseModel

from app.context import RequestContext, after_rollback, current
from app.websockets import announce, unit_of_work
from app.websockets.hub import Hub
from app.websockets.schemas import Message
from app.websockets.settings import WebSocketsSettings
from tests.fixtures.websockets import URL, hear, hear_nothing, subscribe
from tests.websockets.rooms import LOBBY, Listener, lobby, orders

ORDER = uuid4()


class Shipped(BaseModel):
    id: UUID


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    """It ships orders at `/tests/orders`, unless `?fails=true`."""

    @app.post("/tests/orders")
    async def ship(fails: bool = False) -> None:
        announce(orders, Shipped(id=ORDER), ORDER)
        if fails:
            raise HTTPException(HTTPStatus.CONFLICT)

    return app


@pytest.fixture
async def listener() -> Listener:
    """In the room of the order, of a service whose request is the test."""
    hub, listener = Hub(WebSocketsSettings()), Listener()
    hub.join(orders.address(ORDER), listener)
    current.set(RequestContext("tests", opened={"websockets": hub}))
    return listener


async def test_a_request_tells_whoever_listens(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, orders.address(ORDER))

        await sockets.post("/tests/orders")

        assert await hear(socket) == {
            "type": "message",
            "room": f"tests-orders:{ORDER}",
            "data": {"id": str(ORDER)},
            "sender": None,
            "principal_id": None,
        }


async def test_a_request_that_fails_tells_nobody(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, orders.address(ORDER))

        await sockets.post("/tests/orders", params={"fails": True})

        await hear_nothing(socket)


async def test_nobody_hears_it_before_it_is_stored(listener: Listener) -> None:
    announce(orders, Shipped(id=ORDER), ORDER)

    before = [*listener.heard]
    await current.get().settle(committed=True)

    assert (before, listener.heard) == ([], [{"id": str(ORDER)}])


async def test_nobody_ever_hears_what_is_not_stored(listener: Listener) -> None:
    announce(orders, Shipped(id=ORDER), ORDER)

    await current.get().settle(committed=False)
    await current.get().settle(committed=True)

    assert listener.heard == []


async def test_it_is_told_in_its_room_alone(listener: Listener) -> None:
    announce(orders, Shipped(id=ORDER), uuid4())
    announce(lobby, Shipped(id=ORDER))

    await current.get().settle(committed=True)

    assert listener.heard == []


async def test_a_room_that_cannot_be_is_a_mistake_at_once(listener: Listener) -> None:
    with pytest.raises(ValueError, match="is no tests-orders:"):
        announce(orders, Shipped(id=ORDER), "a:b")  # type: ignore[arg-type]  # which is the point


async def test_what_nobody_could_read_is_told_to_nobody() -> None:
    hub, listener = Hub(WebSocketsSettings()), Listener()
    hub.join(LOBBY, listener)

    with pytest.raises(ValueError, match="1048576 bytes"):
        await hub.publish(LOBBY, Message(room=LOBBY, data="x" * 1_048_576))

    assert listener.heard == []


async def test_a_command_tells_nobody_and_does_not_fail() -> None:
    current.set(RequestContext("tests"))

    announce(orders, Shipped(id=ORDER), ORDER)

    assert current.get().on_commit == []


async def test_a_socket_has_no_outcome_but_each_piece_of_its_work_has(listener: Listener) -> None:
    current.get().status = HTTPStatus.SWITCHING_PROTOCOLS
    with pytest.raises(RuntimeError, match="too late"):
        announce(orders, Shipped(id=ORDER), ORDER)

    async with unit_of_work():
        announce(orders, Shipped(id=ORDER), ORDER)

    assert listener.heard == [{"id": str(ORDER)}]
    assert current.get().status == HTTPStatus.SWITCHING_PROTOCOLS


async def test_work_that_fails_is_undone(listener: Listener) -> None:
    done: list[str] = []

    async def undo() -> None:
        done.append("undone")

    async def work() -> None:
        async with unit_of_work():
            announce(orders, Shipped(id=ORDER), ORDER)
            after_rollback(undo)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()

    assert (listener.heard, done) == ([], ["undone"])


async def test_pieces_of_work_at_the_same_time_have_each_its_own_outcome(listener: Listener) -> None:
    current.get().status = HTTPStatus.SWITCHING_PROTOCOLS
    together = asyncio.Barrier(2)

    async def work(id: UUID) -> None:
        async with unit_of_work():
            announce(orders, Shipped(id=id), ORDER)
            await together.wait()
            assert id == stored

    failed, stored = uuid4(), uuid4()

    outcomes = await asyncio.gather(work(failed), work(stored), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [AssertionError, type(None)]
    assert listener.heard == [{"id": str(stored)}]
    assert current.get().status == HTTPStatus.SWITCHING_PROTOCOLS
