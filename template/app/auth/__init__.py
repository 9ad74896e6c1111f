"""Who is calling, and what they may do: users, sessions, roles."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.auth import audit
from app.auth.audit import Audit, AuditDep
from app.auth.identity import CurrentUser, OwnerId, SignedIn, current_user, own
from app.auth.models import User
from app.auth.policies import (
    PUBLIC_PATHS,
    check_policies,
    describe_policies,
    make_public,
    public,
    requires,
    signed_in,
)
from app.auth.sessions.router import router as sessions
from app.auth.state import create_auth
from app.auth.users.router import account
from app.auth.users.router import router as users
from app.database import Conditions
from app.feature import State, add_lifespan

__all__ = [
    "Audit",
    "AuditDep",
    "Conditions",
    "CurrentUser",
    "OwnerId",
    "SignedIn",
    "User",
    "current_user",
    "install",
    "make_public",
    "own",
    "public",
    "requires",
    "signed_in",
]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
    check_policies(app)  # now that all routes are there
    yield {}


def install(app: FastAPI) -> None:
    app.state.auth = create_auth()
    app.state.public_paths = set(PUBLIC_PATHS)
    add_lifespan(app, lifespan)
    describe_policies(app)
    for router in (sessions, account, users):
        app.include_router(router, prefix="/v1")
    app.include_router(audit.router, prefix="/v1", dependencies=[requires("audit")])
