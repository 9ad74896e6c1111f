"""What the database refuses or cannot do, as problem documents."""

import sqlite3
from http import HTTPMethod, HTTPStatus

from fastapi import Request, Response
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.orm.exc import StaleDataError
from structlog.stdlib import get_logger

from app.errors import problem

logger = get_logger()

# Classes of SQLSTATE (PostgreSQL, appendix A), and single states.
UNAVAILABLE = (
    "08",  # connection
    "28",  # a password that is refused
    "3D000",  # no such database
    "53",  # resources
    "57",  # stopped by an operator, or by statement_timeout
    "55000",  # a database that takes no connections, for maintenance
    "25P03",  # idle_in_transaction_session_timeout
    "55P03",  # lock_timeout
)
CONCURRENT = "40"  # serialization failures and deadlocks
FOREIGN_KEY = "23503"
CONFLICT = (FOREIGN_KEY, "23505", "23514", "23P01")  # and unique, check, exclusion; not null is a fault of the service

# What SQLite says, in the words of PostgreSQL.
SQLSTATES = {
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: FOREIGN_KEY,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "23505",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "23505",
    sqlite3.SQLITE_CONSTRAINT_CHECK: "23514",
    sqlite3.SQLITE_BUSY: "55P03",
    sqlite3.SQLITE_BUSY_SNAPSHOT: "55P03",
    sqlite3.SQLITE_LOCKED: "55P03",
}


async def on_database_error(request: Request, error: Exception) -> Response:
    """Answer what the caller can mend or try again; everything else is a fault of this service, and a 500."""
    if isinstance(error, StaleDataError):
        return problem(
            request, HTTPStatus.PRECONDITION_FAILED, "Somebody else was faster: it has changed since.", code="stale"
        )
    if isinstance(error, DBAPIError) and sqlstate(error).startswith(CONCURRENT):
        return problem(request, HTTPStatus.CONFLICT, "It collided with another request: try again.", code="conflict")
    if is_passing(error):
        return unavailable(request, error)
    if isinstance(error, DBAPIError):
        state = sqlstate(error)
        if state == FOREIGN_KEY and request.scope.get("method") != HTTPMethod.DELETE:
            return problem(
                request,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "It refers to something that does not exist.",
                code="reference_unknown",
            )
        if state.startswith(CONFLICT):
            return problem(request, HTTPStatus.CONFLICT, "It conflicts with what is stored already.", code="conflict")
    raise error


def is_passing(error: Exception) -> bool:
    """Tell whether the same may well work some time later."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or sqlstate(error).startswith((*UNAVAILABLE, CONCURRENT))
    return isinstance(error, TimeoutError)


def sqlstate(error: DBAPIError) -> str:
    """Return PostgreSQL's code, or for SQLite the one that PostgreSQL would have given, or nothing."""
    if isinstance(error.orig, sqlite3.Error):
        return SQLSTATES.get(getattr(error.orig, "sqlite_errorcode", 0), "")
    if type(error.orig).__name__ == "InvalidCachedStatementError":  # a migration has changed the type of a column
        return "57"
    return getattr(error.orig, "sqlstate", None) or ""


def unavailable(request: Request, error: Exception) -> Response:
    logger.warning("database.unavailable", error=repr(error.__cause__ or error))
    return problem(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database did not answer in time: try again.",
        code="database_unavailable",
        headers={"Retry-After": "1"},
    )
