"""Working on somebody's behalf after their request has been answered."""

from http import HTTPStatus
from math import inf
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.identity import SignedIn, introduce
from app.auth.models import User
from app.auth.policies import PermissionDenied
from app.errors import ServiceError

NO_SESSION = UUID(int=0)


class UserGone(ServiceError):
    status = HTTPStatus.FORBIDDEN


async def act_for(session: AsyncSession, user_id: str | None, permission: str) -> SignedIn:
    """Be who has ordered the work: raise `UserGone` or `PermissionDenied` where they may not have it done any more.

    What belongs to whoever is calling is theirs from now on; a permission that ends in `:read` is for reading alone.
    """
    user = await session.get(User, UUID(user_id)) if user_id else None
    if user is None or not user.is_active:
        raise UserGone("Whoever has ordered it is not a user any more.")
    signed_in = SignedIn(
        user.id,
        user.email,
        user.name,
        user.roles,
        user.is_active,
        user.created_at,
        user.updated_at,
        NO_SESSION,
        inf,
        "GET" if permission.endswith(":read") else "POST",
    )
    if not signed_in.may(permission):
        raise PermissionDenied(permission)
    await introduce(signed_in)
    return signed_in
