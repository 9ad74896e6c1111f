"""Alembic's entry: brings the tables to the state of the models; `poe migrate` and `poe migration` run it."""

import asyncio
from typing import Any, Literal

from alembic import context
from alembic.operations.ops import CreateTableOp, DropTableOp, MigrationScript
from sqlalchemy import Connection, event, text

from app import features, resources  # noqa: F401  # with them all models are imported
from app.database import Base, DatabaseSettings, UTCDateTime, create_engine

# Nobody waits here for an answer, but others wait for the tables.
settings = DatabaseSettings(command_timeout=0, statement_timeout=0, lock_timeout=0, idle_in_transaction_timeout=0)
LOCK_TIMEOUT = "5s"


def run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # One migrator at a time; the number is nobody else's.
        connection.execute(text("SELECT pg_advisory_lock(4611686018427)"))
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render,
        process_revision_directives=order,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def render(kind: str, item: object, _: object) -> str | Literal[False]:
    """Write our type as what it is in the database: a migration outlives the code of its day."""
    return f"sa.{item.impl_instance!r}" if isinstance(item, UTCDateTime) else False


def order(migration: object, revision: object, scripts: list[MigrationScript]) -> None:
    """Drop tables last, and on the way back create them first: until then columns of others may refer to them."""
    for script in scripts:
        for upgrade in script.upgrade_ops_list:
            upgrade.ops.sort(key=lambda step: isinstance(step, DropTableOp))
        for downgrade in script.downgrade_ops_list:
            downgrade.ops.sort(key=lambda step: not isinstance(step, CreateTableOp))


async def main() -> None:
    engine = create_engine(settings, pooled=False)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", suspend_references)
    async with engine.connect() as connection:
        await connection.run_sync(run)


def suspend_references(connection: Any, record: object) -> None:  # the adapter of aiosqlite has no types
    """SQLite alters a table by making it anew; dropping the old one would delete the rows that refer to it."""
    connection.execute("PRAGMA foreign_keys = OFF").close()


asyncio.run(main())
