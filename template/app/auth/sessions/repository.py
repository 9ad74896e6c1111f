"""The queries of sessions and their tokens."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, update

from app.auth.models import RefreshToken, User, UserSession
from app.database import Repository


class StoredToken(NamedTuple):
    session_id: UUID
    user_id: UUID
    used_at: datetime | None
    ended_at: datetime | None


class SessionRepository(Repository[UserSession]):
    model = UserSession

    async def use(self, hashes: list[str], now: datetime) -> UUID | None:
        """Use a refresh token up, and return its session; of many who try at the same time one succeeds."""
        return await self.session.scalar(
            update(RefreshToken)
            .where(RefreshToken.token_hash.in_(hashes), RefreshToken.used_at.is_(None), RefreshToken.expires_at > now)
            .values(used_at=now)
            .returning(RefreshToken.session_id)
        )

    async def find_token(self, hashes: list[str], now: datetime) -> StoredToken | None:
        statement = (
            select(RefreshToken.session_id, UserSession.user_id, RefreshToken.used_at, UserSession.ended_at)
            .join(UserSession, UserSession.id == RefreshToken.session_id)
            .where(RefreshToken.token_hash.in_(hashes), RefreshToken.expires_at > now)
        )
        row = (await self.session.execute(statement)).one_or_none()
        return row and StoredToken(*row)

    async def touch(self, id: UUID, now: datetime) -> UserSession | None:
        """Return the session if it has not ended, after noting that it is in use."""
        return await self.session.scalar(
            update(UserSession)
            .where(
                UserSession.id == id,
                UserSession.ended_at.is_(None),
                UserSession.expires_at > now,
                UserSession.user_id.in_(select(User.id).where(User.is_active)),
            )
            .values(last_used_at=now)
            .returning(UserSession)
        )

    async def end(self, now: datetime, *where: ColumnElement[bool]) -> int:
        """End the sessions that have not ended yet, and return how many."""
        ended = await self.session.execute(
            update(UserSession)
            .where(UserSession.ended_at.is_(None), *where)
            .values(ended_at=now)
            .returning(UserSession.id)
        )
        return len(ended.all())

    async def forget_expired(self, user_id: UUID, now: datetime) -> None:
        await self.session.execute(
            delete(UserSession).where(UserSession.user_id == user_id, UserSession.expires_at <= now)
        )

    async def forget_expired_tokens(self, id: UUID, now: datetime) -> None:
        await self.session.execute(
            delete(RefreshToken).where(RefreshToken.session_id == id, RefreshToken.expires_at <= now)
        )
