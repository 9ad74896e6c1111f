"""What the database refuses or cannot do, as problem documents."""

import sqlite3
from http import HTTPMethod, HTTPStatus

from fastapi import Request, Response
from sqlalchemy.exc import DBAPIError, IntegrityError, TimeoutError
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
    "25P03",  # idle_in_transaction_session_timeout
    "55P03",  # lock_timeout
)
CONCURRENT = "40"  # serialization failures and deadlocks
FOREIGN_KEY = "23503"


async def on_database_error(request: Request, error: Exception) -> Response:
    """Answer what the caller can mend or try again; everything else is a fault of this service, and a 500."""
    if isinstance(error, StaleDataError):
        return problem(
            request, HTTPStatus.PRECONDITION_FAILED, "Somebody else was faster: it has changed since.", code="stale"
        )
    if isinstance(error, TimeoutError):
        return unavailable(request, error)
    if isinstance(error, DBAPIError):
        state = sqlstate(error)
        if error.connection_invalidated or state.startswith(UNAVAILABLE):
            return unavailable(request, error)
        if state == FOREIGN_KEY and request.method != HTTPMethod.DELETE:
            return problem(
                request,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "It refers to something that does not exist.",
                code="reference_unknown",
            )
        if isinstance(error, IntegrityError):
            return problem(request, HTTPStatus.CONFLICT, "It conflicts with what is stored already.", code="conflict")
        if state.startswith(CONCURRENT):
            return problem(
                request, HTTPStatus.CONFLICT, "It collided with another request: try again.", code="conflict"
            )
    raise error


def sqlstate(error: DBAPIError) -> str:
    """Return PostgreSQL's code, or for SQLite the one that PostgreSQL would have given, or nothing."""
    if isinstance(error.orig, sqlite3.Error):
        code = error.orig.sqlite_errorcode
        if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return FOREIGN_KEY
        return "55P03" if code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else ""
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
