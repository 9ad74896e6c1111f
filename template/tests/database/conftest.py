"""A service with shelves, whose commits are real."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.main import create_app
from tests.database.shelves import Local, Shelf
from tests.fixtures.http import connect

Labels = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def labels(engine: AsyncEngine, anyio_backend: str) -> AsyncGenerator[Labels]:
    """The labels of the shelves that everybody else sees."""
    async with engine.begin() as connection:
        await connection.run_sync(Local.metadata.create_all)

    async def stored() -> list[str]:
        async with engine.connect() as connection:
            return list(await connection.scalars(select(Shelf.label).order_by(Shelf.label)))

    yield stored
    async with engine.begin() as connection:
        await connection.run_sync(Local.metadata.drop_all)


@pytest.fixture
def service(labels: Labels) -> FastAPI:
    return create_app()


@pytest.fixture
async def caller(service: FastAPI) -> AsyncGenerator[AsyncClient]:
    async with connect(service) as client:
        yield client


@pytest.fixture
async def tables(session: AsyncSession) -> None:
    """The tables of the shelves, in the transaction of the test."""
    await (await session.connection()).run_sync(Local.metadata.create_all)
