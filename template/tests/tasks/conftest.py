"""A service that orders tasks."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

import pytest
from fastapi import Body, FastAPI, HTTPException
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.database import SessionDep
from app.main import create_app
from app.tasks import Task, TaskRead, enqueue
from app.tasks.definitions import TASKS
from tests.database.shelves import Local

Stored = Callable[[], Awaitable[list[Task]]]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  # the database does not say when
            await asyncio.sleep(0.01)


def add_orders(app: FastAPI) -> None:
    """Add `POST /tests/{name}`, which orders the task of that name; `?fails=true` ends it in a 409."""

    @app.post("/tests/{name}")
    async def order(
        name: str, session: SessionDep, arguments: Annotated[dict[str, str | bool], Body()], fails: bool = False
    ) -> TaskRead:
        task = await enqueue(session, TASKS[f"tests.{name}"], **arguments)
        if fails:
            raise HTTPException(HTTPStatus.CONFLICT)
        return TaskRead.model_validate(task, from_attributes=True)


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    add_orders(app)
    return app


@pytest.fixture
async def stored(engine: AsyncEngine, anyio_backend: str) -> AsyncGenerator[Stored]:
    """What everybody else sees of the tasks, where commits are real."""

    async def read() -> list[Task]:
        async with async_sessionmaker(engine)() as session:
            return [*await session.scalars(select(Task).order_by(Task.id))]

    yield read
    async with engine.begin() as connection:
        await connection.execute(delete(Task))


@pytest.fixture
def service(stored: Stored) -> FastAPI:
    """A service whose commits are real."""
    service = create_app()
    add_orders(service)
    return service


@pytest.fixture
async def tables(session: AsyncSession) -> None:
    """The tables of the shelves, in the transaction of the test."""
    await (await session.connection()).run_sync(Local.metadata.create_all)
