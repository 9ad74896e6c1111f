"""The engine, which lives as long as the application."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypedDict

from fastapi import FastAPI
from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.pool import NullPool

from app.database import postgresql, sqlite
from app.database.session import HALF, Connect, Sessions
from app.database.settings import DatabaseSettings

CLOSE_SECONDS = 2


def create_engine(settings: DatabaseSettings, *, pooled: bool = True) -> AsyncEngine:
    """Without a pool each connection is a new one, which nobody has to wait for or to close."""
    url = settings.parsed_url()
    options: dict[str, Any] = {"hide_parameters": True}  # values of many types
    if pooled:
        options["pool_size"] = settings.pool_size
        options["max_overflow"] = settings.pool_overflow
        options["pool_timeout"] = settings.pool_timeout
    else:
        options["poolclass"] = NullPool
    if url.get_backend_name() == "sqlite":
        engine = sqlite.create_engine(url, options)
    else:
        engine = postgresql.create_engine(url, options, settings)
    event.listen(engine.sync_engine, "handle_error", note_failure)
    event.listen(engine.sync_engine, "begin", forget_failure)
    event.listen(engine.sync_engine, "savepoint", refuse_half)
    event.listen(engine.sync_engine, "rollback_savepoint", forget_failure)
    event.listen(engine.sync_engine, "release_savepoint", undo_half)
    event.listen(engine.sync_engine, "commit", refuse_half)
    return engine


def note_failure(context: ExceptionContext) -> None:
    if context.connection is not None and not context.connection.invalidated:
        context.connection.info["failed"] = True


def forget_failure(connection: Connection, *savepoint: object) -> None:
    connection.info.pop("failed", None)


def refuse_half(connection: Connection, *savepoint: object) -> None:
    """Refuse the commit of what was caught and not undone: PostgreSQL would roll all of it back, and say nothing."""
    if connection.info.get("failed", False):
        raise InvalidRequestError(HALF)


def undo_half(connection: Connection, name: str, context: object) -> None:
    """Take back a savepoint that is refused, which SQLAlchemy itself leaves as it is."""
    if connection.info.pop("failed", False):
        connection.dialect.do_rollback_to_savepoint(connection, name)
        raise InvalidRequestError(HALF)


def single_reads(engine: AsyncEngine) -> AsyncEngine:
    """Return an engine with the same pool, whose statements are each on their own; SQLite's do not wait to write."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(read_only=True)
    return engine.execution_options(isolation_level="AUTOCOMMIT")


class DatabaseState(TypedDict):
    connect: Connect
    sessions: Sessions


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[DatabaseState]:
    engine: AsyncEngine = app.state.database_engine
    try:
        # Closed for good: a session that is used after the answer would lose its work, and keep its connection.
        yield {
            "connect": single_reads(engine).connect,
            "sessions": async_sessionmaker(engine, expire_on_commit=False, close_resets_only=False),
        }
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await engine.dispose()
