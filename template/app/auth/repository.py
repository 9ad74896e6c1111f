"""The queries of users."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from app.auth.emails import normalize_email
from app.auth.models import User
from app.database import Repository


class Credentials(NamedTuple):
    user_id: UUID
    password_hash: str
    is_active: bool


class UserRepository(Repository[User]):
    model = User

    async def find_by_email(self, email: str) -> User | None:
        return await self.session.scalar(select(User).where(User.email == normalize_email(email)))

    async def find_credentials(self, email: str) -> Credentials | None:
        statement = select(User.id, User.password_hash, User.is_active).where(User.email == email)
        row = (await self.session.execute(statement)).one_or_none()
        return row and Credentials(*row)

    async def everybody(self) -> Sequence[User]:
        return (await self.session.scalars(select(User).order_by(User.email))).all()

    async def lock(self, id: UUID) -> User | None:
        """Return the user, whom nobody else changes until the transaction ends."""
        return await self.session.get(User, id, with_for_update={"key_share": True})
