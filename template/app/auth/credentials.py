"""Looking at a password: by turns, and never more often than a guesser may."""

from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import User
from app.auth.state import Auth
from app.auth.throttle import LoginThrottles, network
from app.database import Sessions


class Credentials(NamedTuple):
    user_id: UUID
    password_hash: str
    is_active: bool


class Verified(NamedTuple):
    """The account, if there is one; whether it is let in; and a new hash, where the parameters have changed."""

    credentials: Credentials | None
    is_right: bool
    renewed_hash: str | None


async def verify(auth: Auth, sessions: Sessions, email: str, password: SecretStr, address: str | None) -> Verified:
    """Take as long for an account that does not exist or is not active; raise where there were too many failures.

    Its transactions are its own: none is open while a password is hashed, and what is counted stays.
    """
    account = auth.tokens.fingerprint(f"account {email}")
    limits = {
        account: auth.settings.account_attempts,
        auth.tokens.fingerprint(f"address {network(address)}"): auth.settings.address_attempts,
    }
    async with sessions.begin() as session:
        await LoginThrottles(session).check(limits)
        credentials = await find(session, email)
    async with auth.passwords.turn():
        async with sessions.begin() as session:  # again, for what others have counted meanwhile
            await LoginThrottles(session).check(limits)
        is_right, renewed = await auth.passwords.verify(password, credentials and credentials.password_hash)
        is_right = is_right and credentials is not None and credentials.is_active
        async with sessions.begin() as session:
            throttles = LoginThrottles(session)
            await (throttles.forget(account) if is_right else throttles.count(limits))
    return Verified(credentials, is_right, renewed)


async def find(session: AsyncSession, email: str) -> Credentials | None:
    statement = select(User.id, User.password_hash, User.is_active).where(User.email == email)
    row = (await session.execute(statement)).one_or_none()
    return row and Credentials(*row)


async def lock(session: AsyncSession, credentials: Credentials) -> User | None:
    """Return the user, whom nobody else changes until the transaction ends, if they have not changed meanwhile."""
    return await session.scalar(
        select(User)
        .where(User.id == credentials.user_id, User.password_hash == credentials.password_hash, User.is_active)
        .with_for_update(key_share=True)
    )
