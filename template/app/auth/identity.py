"""Who is calling: read with each request, so that whatever ends a session is felt at once."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import ColumnElement, ForeignKey, bindparam, select
from sqlalchemy.orm import mapped_column

from app.auth.models import User, UserSession
from app.auth.roles import grants, permissions
from app.auth.tokens import TokenInvalid
from app.context import READING, RequestContext, current
from app.database import Conditions, ConnectDep
from app.errors import ServiceError


class NotAuthenticated(ServiceError):
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__("Log in first.", headers={"WWW-Authenticate": "Bearer"})


def needed(permission: str, method: str) -> str:
    """Return `orders:read` or, for what is not only reading, `orders:write`, unless the permission is exact already."""
    if ":" in permission:
        return permission
    return f"{permission}:{'read' if method in READING else 'write'}"


class Bearer(OAuth2PasswordBearer):
    """FastAPI's takes the first of several headers."""

    async def __call__(self, request: HTTPConnection) -> str:
        values = request.headers.getlist("authorization")
        if len(values) > 1:
            raise TokenInvalid
        scheme, _, token = values[0].partition(" ") if values else ("", "", "")
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticated
        return token


bearer = Bearer(tokenUrl="v1/auth/token")  # relative, for whoever reads it behind a proxy's prefix


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who is signed in, and the method of the request that they make."""

    id: UUID
    email: str
    name: str
    roles: list[str]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    session_id: UUID
    method: str

    def may(self, permission: str) -> bool:
        return grants(permissions(self.roles), permission)


# In one statement; without the password's hash, which nobody else needs.
FIND = (
    select(
        User.id,
        User.email,
        User.name,
        User.roles,
        User.is_active,
        User.created_at,
        User.updated_at,
        UserSession.id.label("session_id"),
    )
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        UserSession.id == bindparam("session_id"),
        UserSession.ended_at.is_(None),
        UserSession.expires_at > bindparam("now"),
    )
)

# With the request that they make: a server may begin the next one where this one has ended.
signed_in: ContextVar[tuple[RequestContext, SignedIn]] = ContextVar("signed_in")


def remember(user: SignedIn) -> None:
    signed_in.set((current.get(), user))


async def get_current_user(request: Request, text: Annotated[str, Depends(bearer)], connect: ConnectDep) -> SignedIn:
    token = request.app.state.auth.tokens.read(text)
    async with connect() as connection:  # given back before the endpoint begins, which may take its time
        found = await connection.execute(FIND, {**token._asdict(), "now": datetime.now(UTC)})
        row = found.one_or_none()
    if row is None:
        raise TokenInvalid
    user = SignedIn(*row, request.method)
    remember(user)
    await current.get().identify(str(user.id), permissions(user.roles))
    return user


CurrentUser = Annotated[SignedIn, Depends(get_current_user)]


def current_user() -> SignedIn:
    """Return who is calling, where no parameter can; raise `LookupError` where nobody is signed in."""
    context, user = signed_in.get()
    if context is not current.get():
        raise LookupError("Nobody is signed in.")
    return user


# A column that says whose a row is: whoever makes it.
OwnerId = Annotated[UUID, mapped_column(ForeignKey(User.id), default=lambda: current_user().id)]


def own(resource: str, owner_id: ColumnElement[UUID]) -> Conditions:
    """Return the conditions for what is the caller's, or none for who may `orders:read-all` or `orders:write-all`."""
    user = current_user()
    return () if user.may(f"{needed(resource, user.method)}-all") else (owner_id == user.id,)
