"""The engine, which lives as long as the application."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TypedDict

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from app.database import postgresql, sqlite
from app.database.session import Sessions
from app.database.settings import DatabaseSettings

CLOSE_SECONDS = 2


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    url = settings.parsed_url()
    pool = {
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_overflow,
        "pool_timeout": settings.pool_timeout,
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        return sqlite.create_engine(url, pool)
    return postgresql.create_engine(url, pool, settings)


class DatabaseState(TypedDict):
    sessions: Sessions


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[DatabaseState]:
    engine: AsyncEngine = app.state.database_engine
    try:
        yield {"sessions": async_sessionmaker(engine, expire_on_commit=False)}
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await engine.dispose()
