"""The queries of users."""

from uuid import UUID

from sqlalchemy import select

from app.auth.models import User
from app.database import Repository


class UserRepository(Repository[User]):
    model = User

    async def find_by_email(self, email: str) -> User | None:
        return await self.session.scalar(select(User).where(User.email == email.casefold()))

    async def lock(self, id: UUID) -> User | None:
        """Return the user, whom nobody else changes until the transaction ends."""
        return await self.session.get(User, id, with_for_update={"key_share": True})
