"""How often somebody may guess, counted in the database: across processes, and whatever else is down."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import ceil

from sqlalchemy import case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import LoginThrottle
from app.errors import ServiceError

Insert = postgresql.Insert | sqlite.Insert
INSERT: Mapping[str, Callable[[type[LoginThrottle]], Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
SHORTEST, LONGEST = timedelta(seconds=30), timedelta(minutes=15)
FORGOTTEN = timedelta(hours=1)

Limits = Mapping[str, int]
"""How often each of the keys of an attempt may fail: that of the account, that of the address."""


class TooManyFailures(ServiceError):
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, wait: timedelta) -> None:
        super().__init__(
            "There have been too many failures: try again later.",
            headers={"Retry-After": str(ceil(wait.total_seconds()))},
        )


class LoginThrottles:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def check(self, limits: Limits) -> None:
        """Raise where the account or the address has to wait."""
        now = datetime.now(UTC)
        longest = select(func.max(LoginThrottle.retry_at)).where(LoginThrottle.key.in_(limits))
        retry_at = await self.session.scalar(longest)
        if retry_at is not None and retry_at > now:
            raise TooManyFailures(retry_at - now)

    async def count(self, limits: Limits) -> None:
        now = datetime.now(UTC)
        insert = INSERT[self.session.get_bind().dialect.name]
        for key, limit in sorted(limits.items()):  # in one order, or two could wait for each other
            statement = insert(LoginThrottle).values(key=key, failures=1, last_at=now)
            failures = case((LoginThrottle.last_at < now - FORGOTTEN, 1), else_=LoginThrottle.failures + 1)
            statement = statement.on_conflict_do_update(
                index_elements=["key"], set_={"failures": failures, "last_at": now}
            )
            throttle = (await self.session.scalars(statement.returning(LoginThrottle))).one()
            if throttle.failures >= limit:
                throttle.retry_at = now + min(SHORTEST * 2 ** min(throttle.failures - limit, 10), LONGEST)

    async def forget(self, key: str) -> None:
        """Forget the failures of somebody who has succeeded, and some of what is old."""
        await self.session.execute(delete(LoginThrottle).where(LoginThrottle.key == key))
        old = select(LoginThrottle.key).where(LoginThrottle.last_at < datetime.now(UTC) - FORGOTTEN).limit(100)
        await self.session.execute(
            delete(LoginThrottle).where(LoginThrottle.key.in_(old.with_for_update(skip_locked=True)))
        )
