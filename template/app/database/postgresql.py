"""PostgreSQL through asyncpg: no wait without end, and every failure an error of SQLAlchemy's."""

from time import monotonic
from typing import Any

from sqlalchemy import URL, Connection, Dialect, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.database.settings import DatabaseSettings
from app.settings import project

FRESH_SECONDS = 1  # so long a connection that was good counts as good


def create_engine(url: URL, options: dict[str, Any], settings: DatabaseSettings) -> AsyncEngine:  # of many types
    seconds = {
        "statement_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout,
    }
    engine = create_async_engine(
        url,
        **options,
        connect_args={
            "timeout": settings.connect_timeout,
            "command_timeout": settings.command_timeout or None,
            "server_settings": {
                "application_name": project().name,
                **{name: f"{value * 1000:.0f}ms" for name, value in seconds.items()},
            },
        },
    )
    event.listen(engine.sync_engine, "do_connect", connect)
    event.listen(engine.sync_engine, "checkin", note_return)
    event.listen(engine.sync_engine, "checkout", ping)
    event.listen(engine.sync_engine, "begin", begin)
    event.listen(engine.sync_engine, "handle_error", translate, retval=True)
    event.listen(engine.sync_engine, "invalidate", hang_up)
    return engine


def connect(dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> Any:  # the driver's
    """Make a refused connection an error of the database: asyncpg passes on what the operating system says."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise OperationalError(None, None, error, connection_invalidated=True) from error


def note_return(connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned_at"] = monotonic()


def ping(connection: Any, record: ConnectionPoolEntry, proxy: object) -> None:  # the adapter of asyncpg has no types
    """Find out in time that a connection is lost; `pool_pre_ping` takes three round trips, and silence for a bug.

    A server that stops says so on every connection; only one that vanishes has to be asked, and not all the time.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError
    if monotonic() < record.info.get("returned_at", 0) + FRESH_SECONDS:
        return
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1"))
    except TimeoutError as error:
        raise OperationalError(None, None, error, connection_invalidated=True) from error
    except Exception as error:  # whatever it is, the pool shall try another connection
        raise DisconnectionError from error


def begin(connection: Connection) -> None:
    if connection.get_execution_options().get("read_only", False):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def translate(context: ExceptionContext) -> BaseException | None:
    """Return an error of SQLAlchemy's for what it would pass on as it is.

    A server that has not answered in time is gone; one that lives has reached its own time limit before.
    """
    error = context.original_exception
    if isinstance(error, OSError):
        context.is_disconnect = True
        return OperationalError(context.statement, None, error, hide_parameters=True, connection_invalidated=True)
    if context.sqlalchemy_exception is None and hasattr(error, "sqlstate"):  # while a stream is read
        return DBAPIError(context.statement, None, error, hide_parameters=True)
    return None


def hang_up(connection: Any, record: object, error: BaseException | None) -> None:
    """Do not say goodbye to a server that does not listen: that would take two seconds more."""
    connection.driver_connection.terminate()
