"""How the database is spoken to."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


async def test_every_connection_keeps_time_and_references(engine: AsyncEngine) -> None:
    promised: dict[str, dict[str, object]] = {
        "sqlite": {"PRAGMA journal_mode": "wal", "PRAGMA busy_timeout": 5000, "PRAGMA foreign_keys": 1},
        "postgresql": {
            "SHOW statement_timeout": "2500ms",
            "SHOW lock_timeout": "2s",
            "SHOW idle_in_transaction_session_timeout": "30s",
        },
    }
    expected = promised[engine.dialect.name]

    async with engine.connect() as connection:
        found = {statement: await connection.scalar(text(statement)) for statement in expected}

    assert found == expected
