"""SQLite, for development and quick tests: it keeps references, and has one writer at a time."""

from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def create_engine(url: URL, options: dict[str, Any]) -> AsyncEngine:  # values of many types
    engine = create_async_engine(url, **options)
    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def configure(connection: Any, record: object) -> None:  # the adapter of aiosqlite has no types
    connection.isolation_level = None  # else the driver decides when a transaction begins
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def begin(connection: Connection) -> None:
    """Take the write lock at once: who reads first and writes later is refused if another has written in between."""
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {read_only:d}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
