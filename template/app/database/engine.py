"""The engine: SQLite for development and quick tests, PostgreSQL for everything else, and never a wait without end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self, TypedDict

from fastapi import FastAPI
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL, Connection, Dialect, ExceptionContext, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.database.session import Sessions
from app.settings import ROOT, Environment, Settings, project

CLOSE_SECONDS = 2

DRIVERS = {"postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}


class DatabaseSettings(Settings):
    """Times are in seconds; PostgreSQL itself keeps the last three, for which 0 means for ever."""

    model_config = SettingsConfigDict(env_prefix="DATABASE_")

    url: SecretStr = SecretStr(f"sqlite:///{ROOT / 'service.db'}")
    password: SecretStr | None = None
    pool_size: PositiveInt = 10
    pool_overflow: NonNegativeInt = 5
    pool_timeout: PositiveFloat = 2.0
    connect_timeout: PositiveFloat = 1.0
    command_timeout: PositiveFloat | None = 3.0
    statement_timeout: NonNegativeFloat = 2.5
    lock_timeout: NonNegativeFloat = 2.0
    idle_in_transaction_timeout: NonNegativeFloat = 30.0

    @model_validator(mode="after")
    def check_url(self) -> Self:
        try:
            url = self.parsed_url()
        except (ArgumentError, KeyError):
            raise ValueError("DATABASE_URL is like postgresql://user@host/name or sqlite:///file.db") from None
        if url.get_backend_name() == "sqlite":
            if not url.database:
                raise ValueError("DATABASE_URL names no file: like sqlite:///file.db")
            if self.environment is Environment.PRODUCTION:
                raise ValueError("DATABASE_URL must name a PostgreSQL database in production")
        return self

    def parsed_url(self) -> URL:
        """Return the URL with our driver, and with `password` where it is given by itself."""
        url = make_url(self.url.get_secret_value())
        url = url.set(drivername=DRIVERS[url.get_backend_name()])
        if "sslmode" in url.query:  # the name that libpq gives it, and that providers hand out
            url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
        if self.password is not None and url.host:
            url = url.set(password=self.password.get_secret_value())
        return url


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    url = settings.parsed_url()
    pool: dict[str, Any] = {  # options have values of many types
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_overflow,
        "pool_timeout": settings.pool_timeout,
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, **pool)
        event.listen(engine.sync_engine, "connect", configure_sqlite)
        event.listen(engine.sync_engine, "begin", begin_sqlite)
        return engine

    milliseconds = {
        "statement_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout,
    }
    engine = create_async_engine(
        url,
        **pool,
        connect_args={
            "timeout": settings.connect_timeout,
            "command_timeout": settings.command_timeout,
            "server_settings": {
                "application_name": project().name,
                **{name: str(round(seconds * 1000)) for name, seconds in milliseconds.items()},
            },
        },
    )
    event.listen(engine.sync_engine, "do_connect", connect_postgresql)
    event.listen(engine.sync_engine, "checkout", ping_postgresql)
    event.listen(engine.sync_engine, "begin", begin_postgresql)
    event.listen(engine.sync_engine, "handle_error", on_silence)
    event.listen(engine.sync_engine, "invalidate", hang_up)
    return engine


def configure_sqlite(connection: Any, record: ConnectionPoolEntry) -> None:  # the adapter of aiosqlite has no types
    connection.isolation_level = None  # else the driver decides when a transaction begins
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: who reads first and writes later is refused if another has written in between."""
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {read_only:d}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("read_only", False):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def connect_postgresql(
    dialect: Dialect, record: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
) -> Any:  # the driver's own
    """Make a refused connection an error of the database: asyncpg passes on what the operating system says."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise OperationalError("connect", None, error, connection_invalidated=True) from error


def ping_postgresql(connection: Any, record: ConnectionPoolEntry, proxy: object) -> None:
    """Notice a lost connection before it is used; `pool_pre_ping` takes three round trips, and silence for a bug."""
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1"))
    except TimeoutError as error:
        raise OperationalError("ping", None, error, connection_invalidated=True) from error
    except Exception as error:  # whatever it is, the pool shall try another connection
        raise DisconnectionError from error


def on_silence(context: ExceptionContext) -> None:
    """Take a server for gone that has not answered in time; one that lives has reached its own time limit before."""
    error = context.original_exception
    if isinstance(error, OSError):
        context.is_disconnect = True
        raise OperationalError(context.statement, None, error, hide_parameters=True, connection_invalidated=True)


def hang_up(connection: Any, record: ConnectionPoolEntry, error: BaseException | None) -> None:
    """Do not say goodbye to a server that does not listen: that would take two seconds more."""
    connection.driver_connection.terminate()


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
