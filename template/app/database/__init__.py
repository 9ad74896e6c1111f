"""The database: one transaction for each request, and what every table has in common."""

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import create_engine, lifespan
from app.database.errors import is_passing, on_database_error
from app.database.models import Base, Entity, UTCDateTime
from app.database.pages import Page, PageQuery
from app.database.readiness import Readiness
from app.database.repository import Conditions, Repository
from app.database.session import (
    Connect,
    ConnectDep,
    ReadSessionDep,
    SessionDep,
    Sessions,
    SessionsDep,
    get_connect,
    get_sessions,
)
from app.database.settings import DatabaseSettings
from app.feature import add_lifespan
from app.health import add_check

__all__ = [
    "Base",
    "Conditions",
    "Connect",
    "ConnectDep",
    "DatabaseSettings",
    "Entity",
    "Page",
    "PageQuery",
    "ReadSessionDep",
    "Repository",
    "SessionDep",
    "Sessions",
    "SessionsDep",
    "UTCDateTime",
    "create_engine",
    "get_connect",
    "get_sessions",
    "install",
    "is_passing",
]


def install(app: FastAPI) -> None:
    settings = DatabaseSettings()
    app.state.database_engine = create_engine(settings)
    add_lifespan(app, lifespan)
    app.add_exception_handler(SQLAlchemyError, on_database_error)
    readiness = Readiness(settings)
    add_check(app, "database", readiness.ping)
    add_check(app, "migrations", readiness.compare)
