"""Looking at a password: by turns, and never more often than a guesser may."""

from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.emails import normalize_email
from app.auth.models import User
from app.auth.repository import Credentials, UserRepository
from app.auth.state import Auth
from app.auth.throttle import LoginThrottles
from app.database import Sessions
from app.http.addresses import network


class Verified(NamedTuple):
    """The account, if there is one; whether it is let in; and a new hash, where the parameters have changed."""

    credentials: Credentials | None
    is_right: bool
    renewed_hash: str | None

    @property
    def user_id(self) -> UUID | None:
        return self.credentials and self.credentials.user_id


async def verify(auth: Auth, sessions: Sessions, email: str, password: SecretStr, address: str | None) -> Verified:
    """Take as long for an account that does not exist or is not active; raise where there were too many failures.

    Its transactions are its own: none is open while a password is hashed, and what is counted stays.
    """
    email = normalize_email(email)
    account = auth.tokens.fingerprint(f"account {email}")
    limits = {
        account: auth.settings.account_attempts,
        auth.tokens.fingerprint(f"address {network(address)}"): auth.settings.address_attempts,
    }
    async with sessions.begin() as session:
        await LoginThrottles(session).check(limits)
        credentials = await UserRepository(session).find_credentials(email)
    async with auth.passwords.turn():
        async with sessions.begin() as session:  # again, for what others have counted meanwhile
            await LoginThrottles(session).check(limits)
        is_right, renewed = await auth.passwords.verify(password, credentials and credentials.password_hash)
        is_right = is_right and credentials is not None and credentials.is_active
        async with sessions.begin() as session:
            throttles = LoginThrottles(session)
            await (throttles.forget(account) if is_right else throttles.count(limits))
    return Verified(credentials, is_right, renewed)


async def lock(auth: Auth, session: AsyncSession, verified: Verified, password: SecretStr) -> User | None:
    """Return the user, whom nobody else changes until the transaction ends, if the password is still right.

    Where the hash has changed meanwhile it is looked at once more, out of turn: who has the row must not wait for one.
    """
    if not verified.is_right or verified.credentials is None:
        return None
    user = await UserRepository(session).lock(verified.credentials.user_id)
    if user is None or not user.is_active:
        return None
    if user.password_hash != verified.credentials.password_hash:  # by somebody who has changed it, or renewed the hash
        is_right, _ = await auth.passwords.verify(password, user.password_hash)
        return user if is_right else None
    return user
