"""A 2xx means stored, and anything else means that nothing was."""

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncGenerator
from contextlib import suppress
from http import HTTPStatus
from uuid import uuid4

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from httpx2 import AsyncClient
from sqlalchemy import Connection, event, insert, literal, select
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import QueuePool

from app.context import after_commit, after_rollback
from app.database import ReadSessionDep, SessionDep, SessionsDep
from app.errors import ServiceError
from tests.database.conftest import Labels
from tests.database.shelves import Shelf


class ShelfFull(ServiceError):
    status = HTTPStatus.CONFLICT


def pool(app: FastAPI) -> QueuePool:
    pool = app.state.database_engine.pool
    assert isinstance(pool, QueuePool)
    return pool


async def test_it_is_stored_before_the_answer_leaves(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    seen: list[list[str]] = []

    @service.post("/tests/shelves", status_code=HTTPStatus.CREATED)
    async def create_shelf(session: SessionDep) -> StreamingResponse:
        session.add(Shelf(label="a"))

        async def look() -> AsyncGenerator[str]:
            seen.append(await labels())
            yield "done"

        return StreamingResponse(look())

    response = await caller.post("/tests/shelves")

    assert response.is_success
    assert seen == [["a"]]


@pytest.mark.parametrize(
    "error",
    [
        ShelfFull("There is no room."),
        HTTPException(HTTPStatus.CONFLICT),
        HTTPException(HTTPStatus.NOT_MODIFIED),
        RuntimeError(),
        OperationalError("", None, Exception()),
    ],
    ids=repr,
)
async def test_an_exception_leaves_nothing(
    service: FastAPI, caller: AsyncClient, labels: Labels, error: Exception
) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        session.add(Shelf(label="b"))
        raise error

    response = await caller.post("/tests/shelves")

    assert pool(service).checkedout() == 0
    assert not response.is_success
    assert await labels() == []


async def test_a_failure_that_was_caught_does_not_make_half_a_transaction(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        with suppress(IntegrityError):
            await session.execute(insert(Shelf).values(label="a", version=1))

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert await labels() == []


async def test_a_flush_that_failed_and_was_caught_stores_nothing(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    announced: list[str] = []

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        async def announce() -> None:
            announced.append("a")

        after_commit(announce)
        session.add_all([Shelf(label="a"), Shelf(label="a")])
        with suppress(IntegrityError):
            await session.flush()

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert await labels() == []
    assert announced == []


async def test_a_savepoint_does_not_hide_what_failed_before_it(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        with suppress(IntegrityError):
            await session.execute(insert(Shelf).values(label="a", version=1))
        with suppress(RuntimeError):
            async with session.begin_nested():
                await session.execute(select(1))
                raise RuntimeError

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert await labels() == []


async def test_a_savepoint_that_is_refused_is_taken_back(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        with suppress(InvalidRequestError):
            async with session.begin_nested():
                await session.execute(insert(Shelf).values(label="b", version=1))
                with suppress(IntegrityError):
                    await session.execute(insert(Shelf).values(label="a", version=1))

    response = await caller.post("/tests/shelves")

    assert response.is_success
    assert await labels() == ["a"]


async def test_neither_does_it_in_the_transaction_of_a_test(
    app: FastAPI, client: AsyncClient, session: AsyncSession, tables: None
) -> None:
    @app.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        with suppress(IntegrityError):
            await session.execute(insert(Shelf).values(label="a", version=1))

    response = await client.post("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert (await session.scalars(select(Shelf))).all() == []


async def test_what_may_fail_can_be_tried_in_a_savepoint(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        with suppress(IntegrityError):
            async with session.begin_nested():
                await session.execute(insert(Shelf).values(label="a", version=1))

    first = await caller.post("/tests/shelves")
    again = await caller.post("/tests/shelves")

    assert first.is_success
    assert again.status_code == HTTPStatus.CONFLICT
    assert await labels() == ["a"]


async def test_the_session_ends_with_the_request(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    refused: list[str] = []

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep, background: BackgroundTasks) -> None:
        async def add_later() -> None:
            try:
                await session.execute(select(Shelf))
            except InvalidRequestError as error:
                refused.append(str(error))

        background.add_task(add_later)

    await caller.post("/tests/shelves")

    assert pool(service).checkedout() == 0
    assert len(refused) == 1


async def test_a_request_that_is_broken_off_leaves_nothing(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.flush()
        raise CancelledError

    with pytest.raises(CancelledError):
        await caller.post("/tests/shelves")

    assert pool(service).checkedout() == 0
    assert await labels() == []


async def test_a_commit_that_is_refused_is_no_success(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a", planned_room_id=uuid4()))
        await session.flush()

    response = await caller.post("/tests/shelves")

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["type"] == "/problems/reference_unknown"
    assert await labels() == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError(), HTTPStatus.INTERNAL_SERVER_ERROR),
        (OperationalError("", None, Exception(), connection_invalidated=True), HTTPStatus.SERVICE_UNAVAILABLE),
    ],
    ids=repr,
)
async def test_a_commit_that_fails_is_no_success(
    service: FastAPI, caller: AsyncClient, labels: Labels, error: Exception, status: HTTPStatus
) -> None:
    def fail(connection: Connection) -> None:
        raise error

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))

    event.listen(service.state.database_engine.sync_engine, "commit", fail)
    response = await caller.post("/tests/shelves")

    assert pool(service).checkedout() == 0
    assert response.status_code == status
    assert await labels() == []


@pytest.mark.parametrize(
    ("label", "status", "expected"),
    [
        ("a", HTTPStatus.OK, "committed ['a']"),
        ("returned", HTTPStatus.CONFLICT, "committed ['returned']"),
        ("raised", HTTPStatus.NOT_MODIFIED, "rolled back []"),
    ],
)
async def test_what_waits_for_the_outcome_of_the_transaction_hears_of_it_when_it_has_ended(
    service: FastAPI, caller: AsyncClient, labels: Labels, label: str, status: HTTPStatus, expected: str
) -> None:
    heard: list[str] = []

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> StreamingResponse:
        async def tell_commit() -> None:
            assert pool(service).checkedout() == 0
            heard.append(f"committed {await labels()}")

        async def tell_rollback() -> None:
            assert pool(service).checkedout() == 0
            heard.append(f"rolled back {await labels()}")

        after_commit(tell_commit)
        after_rollback(tell_rollback)
        session.add(Shelf(label=label))
        await session.flush()
        if label == "raised":
            raise HTTPException(status)
        return StreamingResponse(iter(()), status)

    response = await caller.post("/tests/shelves")

    assert response.status_code == status
    assert heard == [expected]


async def test_what_waits_for_the_commit_still_has_the_objects(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    announced: list[str] = []

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        shelf = Shelf(label="a")
        session.add(shelf)

        async def announce() -> None:
            announced.append(shelf.label)

        after_commit(announce)

    await caller.post("/tests/shelves")

    assert announced == ["a"]


async def test_what_waits_for_a_rollback_can_write(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep, sessions: SessionsDep) -> None:
        async def record() -> None:
            async with sessions.begin() as second:
                second.add(Shelf(label="failure"))

        after_rollback(record)
        session.add(Shelf(label="a"))
        await session.flush()
        raise ShelfFull("There is no room.")

    await caller.post("/tests/shelves")

    assert await labels() == ["failure"]


async def test_who_reads_before_writing_does_not_collide_with_others(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep, label: str) -> None:
        await session.scalars(select(Shelf))
        await asyncio.sleep(0.01)
        session.add(Shelf(label=label))

    responses = await asyncio.gather(*(caller.post("/tests/shelves", params={"label": label}) for label in "abcd"))

    assert all(response.is_success for response in responses)
    assert await labels() == ["a", "b", "c", "d"]


async def test_failing_requests_keep_no_connection(service: FastAPI, caller: AsyncClient) -> None:
    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        await session.execute(select(1))
        raise ShelfFull("There is no room.")

    for _ in range(3):
        await asyncio.gather(*(caller.post("/tests/shelves") for _ in range(10)))

    assert pool(service).checkedout() == 0


async def test_a_read_only_session_cannot_write(service: FastAPI, caller: AsyncClient, labels: Labels) -> None:
    @service.get("/tests/shelves/export")
    async def export_shelves(session: ReadSessionDep) -> None:
        session.add(Shelf(label="a"))
        await session.commit()

    response = await caller.get("/tests/shelves/export")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert await labels() == []


async def test_after_a_read_only_session_the_connection_can_write_again(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.get("/tests/shelves")
    async def list_shelves(session: ReadSessionDep) -> int:
        return len((await session.scalars(select(Shelf))).all())

    @service.post("/tests/shelves")
    async def create_shelf(session: SessionDep) -> None:
        session.add(Shelf(label="a"))

    before = await caller.get("/tests/shelves")
    created = await caller.post("/tests/shelves")
    after = await caller.get("/tests/shelves")

    assert pool(service).checkedin() == 1
    assert created.is_success
    assert (before.json(), after.json()) == (0, 1)


async def test_a_read_only_session_lives_as_long_as_the_stream(
    service: FastAPI, caller: AsyncClient, labels: Labels
) -> None:
    @service.get("/tests/shelves/export")
    async def export_shelves(session: ReadSessionDep) -> StreamingResponse:
        async def lines() -> AsyncGenerator[str]:
            for number in range(3):
                yield f"{await session.scalar(select(literal(number)))}\n"

        return StreamingResponse(lines())

    response = await caller.get("/tests/shelves/export")

    assert pool(service).checkedout() == 0
    assert response.text == "0\n1\n2\n"
