"""Who is calling: read with each request, so that whatever ends a session is felt at once."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import ColumnElement, ForeignKey, bindparam, select
from sqlalchemy.orm import mapped_column

from app.auth.models import User, UserSession
from app.auth.roles import grants, permissions
from app.auth.tokens import AccessToken, TokenInvalid
from app.context import READING, RequestContext, current
from app.database import Conditions, Connect, ConnectDep
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

    async def __call__(self, request: HTTPConnection) -> str | None:
        values = request.headers.getlist("authorization")
        if len(values) > 1:
            raise TokenInvalid
        scheme, _, token = values[0].partition(" ") if values else ("", "", "")
        return token if scheme.lower() == "bearer" and token else None


bearer = Bearer(tokenUrl="v1/auth/token")  # relative, for whoever reads it behind a proxy's prefix


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who is signed in, until when, in seconds since 1970, and the method of the request that they make."""

    id: UUID
    email: str
    name: str
    roles: list[str]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    session_id: UUID
    expires_at: float
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


async def sign_in(connect: Connect, token: AccessToken, method: str) -> SignedIn | None:
    """Return who has the token, where neither they nor their session have come to an end."""
    async with connect() as connection:  # given back before the endpoint begins, which may take its time
        found = await connection.execute(
            FIND, {"user_id": token.user_id, "session_id": token.session_id, "now": datetime.now(UTC)}
        )
        row = found.one_or_none()
    return row and SignedIn(*row, token.expires_at, method)


def remember(context: RequestContext, user: SignedIn) -> None:
    context.principal = user
    context.permissions = permissions(user.roles)


async def introduce(user: SignedIn) -> None:
    """Have it be the user who makes this request, and tell whoever waits for that."""
    context = current.get()
    remember(context, user)
    await context.identify(str(user.id), context.permissions)


async def get_current_user(
    request: HTTPConnection, text: Annotated[str | None, Depends(bearer)], connect: ConnectDep
) -> SignedIn:
    auth = request.app.state.auth
    token = auth.tokens.read(text) if text else await auth.find_token(request)
    if token is None:
        raise NotAuthenticated
    user = await sign_in(connect, token, request.scope.get("method", "GET"))
    if user is None:
        raise TokenInvalid
    await introduce(user)
    return user


CurrentUser = Annotated[SignedIn, Depends(get_current_user)]


def current_user() -> SignedIn:
    """Return who is calling, where no parameter can; raise `LookupError` where nobody is signed in."""
    user = current.get().principal
    if not isinstance(user, SignedIn):
        raise LookupError("Nobody is signed in.")
    return user


# A column that says whose a row is: whoever makes it.
OwnerId = Annotated[UUID, mapped_column(ForeignKey(User.id), default=lambda: current_user().id)]


def own(resource: str, owner_id: ColumnElement[UUID]) -> Conditions:
    """Return the conditions for what is the caller's, or none for who may `orders:read-all` or `orders:write-all`."""
    user = current_user()
    return () if user.may(f"{needed(resource, user.method)}-all") else (owner_id == user.id,)
