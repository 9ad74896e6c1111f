"""A service with shelves, whose commits are real."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from tests.database.shelves import Local, Shelf

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
