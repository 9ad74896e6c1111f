"""What the database refuses, and what it cannot do just now."""

import asyncio
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.requests import HTTPConnection
from httpx2 import AsyncClient
from sqlalchemy import event, insert, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import SessionDep
from app.database.errors import on_database_error
from app.main import create_app
from tests.database.conftest import Labels
from tests.database.shelves import Room, Shelf
from tests.fixtures.http import Upstream, connect
from tests.fixtures.logs import Logged


async def test_what_must_be_unique_conflicts(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))

    await caller.post("/tests/shelves")
    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.CONFLICT
    assert response.json()["type"] == "/problems/conflict"
    assert await labels() == ["a"]


async def test_of_many_at_once_one_wins(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))

    responses = await asyncio.gather(*(caller.post("/tests/shelves") for _ in range(8)))

    assert sorted(response.status_code for response in responses) == [HTTPStatus.OK, *[HTTPStatus.CONFLICT] * 7]
    assert await labels() == ["a"]


async def test_a_reference_to_nothing_is_wrong_input(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a", room_id=uuid4()))

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["type"] == "/problems/reference_unknown"


async def test_what_has_no_method_may_refer_to_nothing_too(service: FastAPI) -> None:
    class Refused(Exception):
        sqlstate = "23503"

    connection: Any = HTTPConnection({"type": "websocket", "path": "/", "headers": [], "app": service})

    response = await on_database_error(connection, IntegrityError(None, None, Refused()))

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


async def test_a_value_that_is_missing_is_a_fault_of_the_service(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf())

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR


async def test_what_breaks_a_rule_of_the_table_conflicts(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label=""))

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.CONFLICT


async def test_two_statements_at_once_are_a_fault_of_the_service(
    logged: Logged, service: FastAPI, caller: AsyncClient
) -> None:
    @service.get("/tests/shelves")
    async def list_shelves(session: SessionDep) -> None:
        await session.execute(text("SELECT 1; SELECT 2"))

    response = await caller.get("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    (failure,) = [line["exception"] for line in logged() if line["event"] == "http.unhandled_error"]
    assert "AttributeError" not in {error["exc_type"] for error in failure}


async def test_what_is_referred_to_cannot_be_deleted(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/rooms")
    async def create_room(session: SessionDep) -> None:
        room = Room()
        session.add(room)
        await session.flush()
        session.add(Shelf(label="a", room_id=room.id))

    @service.delete("/tests/rooms")
    async def delete_rooms(session: SessionDep) -> None:
        await session.execute(text("DELETE FROM test_rooms"))

    created = await caller.post("/tests/rooms")
    response = await caller.delete("/tests/rooms")

    assert created.is_success
    assert response.status_code == HTTPStatus.CONFLICT
    assert response.json()["type"] == "/problems/conflict"


async def test_who_changes_what_has_changed_is_told(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        shelf = Shelf(label="a")
        session.add(shelf)
        await session.flush()
        # as somebody else would have
        await session.execute(update(Shelf).values(version=2).execution_options(synchronize_session=False))
        shelf.label = "b"

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.PRECONDITION_FAILED
    assert response.json()["type"] == "/problems/stale"
    assert await labels() == []


class DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "status", "problem"),
    [
        ("40P01", HTTPStatus.CONFLICT, "/problems/conflict"),  # deadlock
        ("40001", HTTPStatus.CONFLICT, "/problems/conflict"),  # serialization failure
        ("57014", HTTPStatus.SERVICE_UNAVAILABLE, "/problems/database_unavailable"),  # statement_timeout
        ("55000", HTTPStatus.SERVICE_UNAVAILABLE, "/problems/database_unavailable"),  # ALLOW_CONNECTIONS false
        ("25P03", HTTPStatus.SERVICE_UNAVAILABLE, "/problems/database_unavailable"),  # idle_in_transaction
        ("53300", HTTPStatus.SERVICE_UNAVAILABLE, "/problems/database_unavailable"),  # too many connections
        ("42P01", HTTPStatus.INTERNAL_SERVER_ERROR, "about:blank"),  # no such table
    ],
)
async def test_what_postgresql_says_decides(
    service: FastAPI, caller: AsyncClient, sqlstate: str, status: HTTPStatus, problem: str
) -> None:
    @service.get("/tests/shelves")
    async def list_shelves() -> None:
        raise DBAPIError("", None, DriverError(sqlstate))

    response = await caller.get("/tests/shelves")

    assert response.status_code == status
    assert response.json()["type"] == problem


async def test_a_wrong_use_of_the_session_is_a_fault_of_the_service(service: FastAPI, caller: AsyncClient) -> None:
    @service.get("/tests/shelves")
    async def list_shelves(session: SessionDep) -> None:
        (await session.execute(text("SELECT 1 WHERE 1 = 0"))).one()

    response = await caller.get("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR


async def test_any_other_error_is_a_fault_of_the_service(logged: Logged, service: FastAPI, caller: AsyncClient) -> None:
    @service.get("/tests/shelves")
    async def list_shelves(session: SessionDep) -> None:
        await session.execute(text("SELECT :secret FROM nowhere"), {"secret": "hunter2"})

    response = await caller.get("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert "nowhere" not in response.text
    lines = logged()
    assert "http.unhandled_error" in [line["event"] for line in lines]
    assert "hunter2" not in str(lines)


async def test_a_lock_is_not_waited_for_without_end(
    engine: AsyncEngine, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_impatient(connection: Any, record: object) -> None:  # the driver's own
        if engine.dialect.name == "sqlite":
            connection.execute("PRAGMA busy_timeout = 100").close()

    monkeypatch.setenv("DATABASE_LOCK_TIMEOUT", "0.1")
    service = create_app()
    event.listen(service.state.database_engine.sync_engine, "connect", be_impatient)

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))

    async with connect(service) as client:
        async with engine.begin() as connection:
            await connection.execute(insert(Shelf).values(label="a", version=1))
            locked = await client.post("/tests/shelves")
            await connection.rollback()
        free = await client.post("/tests/shelves")

    assert locked.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert locked.headers["Retry-After"] == "1"
    assert locked.json()["type"] == "/problems/database_unavailable"
    assert free.is_success


async def test_a_free_connection_is_not_waited_for_without_end(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOL_SIZE", "1")
    monkeypatch.setenv("DATABASE_POOL_OVERFLOW", "0")
    monkeypatch.setenv("DATABASE_POOL_TIMEOUT", "0.1")
    service = create_app()
    taken, turned_away = asyncio.Event(), asyncio.Event()

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep, label: str) -> None:
        session.add(Shelf(label=label))
        await session.flush()
        taken.set()
        await turned_away.wait()

    async with connect(service) as client:
        first = asyncio.create_task(client.post("/tests/shelves", params={"label": "a"}))
        await asyncio.wait_for(taken.wait(), 5)
        second = await client.post("/tests/shelves", params={"label": "b"})
        turned_away.set()
        await first
        third = await client.post("/tests/shelves", params={"label": "c"})

    assert second.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert second.headers["Retry-After"] == "1"
    assert second.elapsed.total_seconds() < 1
    assert third.is_success
    assert await labels() == ["a", "c"]


@pytest.fixture
async def silent(upstream: Upstream) -> str:
    """The URL of a server that takes connections and says nothing."""
    return await upstream.start(silent=True)


@pytest.mark.parametrize("server", ["gone", "silent"])
async def test_a_database_that_is_not_there_is_not_waited_for(
    logged: Logged, monkeypatch: pytest.MonkeyPatch, gone: str, silent: str, server: str
) -> None:
    url = {"gone": gone, "silent": silent}[server]
    monkeypatch.setenv("DATABASE_URL", f"{url.replace('http', 'postgresql')}/test")
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("DATABASE_CONNECT_TIMEOUT", "0.2")
    service = create_app()

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))

    async with connect(service) as client:
        response = await client.post("/tests/shelves")
        ready = await client.get("/readyz")
        alive = await client.get("/livez")

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert response.headers["Retry-After"] == "1"
    assert response.json()["type"] == "/problems/database_unavailable"
    assert response.elapsed.total_seconds() < 1
    assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert ready.json()["checks"]["database"] == "fail"
    assert alive.is_success
    assert "hunter2" not in str(logged())
