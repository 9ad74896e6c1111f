"""What one request counts for: its address, and instead of that whoever is calling as soon as that is known."""

from http import HTTPStatus
from typing import Any

from fastapi import Depends
from fastapi.requests import HTTPConnection

from app.context import current
from app.errors import ServiceError
from app.rate_limit.counters import Count, Counters
from app.rate_limit.policies import Policy, Rate, declare


class RateLimitExceeded(ServiceError):
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, count: Count) -> None:
        super().__init__(
            f"There have been more requests than {count.policy.requests} in {count.policy.seconds} seconds:"
            " try again later.",
            headers={"Retry-After": str(count.reset)},
        )


class Visit:
    """One request; `last` is what has been counted last, which the answer tells."""

    __slots__ = ("address", "anonymous", "counters", "last", "overrides")

    def __init__(self, address: str, counters: Counters, overrides: dict[str, Policy]) -> None:
        self.address = address
        self.counters = counters
        self.overrides = overrides
        self.anonymous: list[tuple[Policy, Count | None]] = []
        self.last: Count | None = None

    async def enter(self, policy: Policy) -> None:
        """Count for who is known to be calling, else for the address until somebody is."""
        policy = self.overrides.get(policy.name, policy)
        context = current.get()
        if context.principal_id is not None:
            await self.count(policy, principal(context.principal_id))
            return
        await self.count(policy, self.address)
        if not self.anonymous:
            context.on_identified.append(self.identify)
        self.anonymous.append((policy, self.last))

    async def identify(self, principal_id: str) -> None:
        """Count for the caller what has been counted for the address, and take it back there."""
        anonymous, self.anonymous = self.anonymous, []
        bucket = principal(principal_id)
        counts = [await self.counters.count(policy, bucket, instead_of=count) for policy, count in anonymous]
        for count in counts:  # only now that everything has been taken back
            self.judge(count)

    async def count(self, policy: Policy, bucket: str) -> None:
        """Raise `RateLimitExceeded` where it is one request too many."""
        self.judge(await self.counters.count(policy, bucket))

    def judge(self, count: Count | None) -> None:
        self.last = count
        if count is not None and not count.passed:
            raise RateLimitExceeded(count)


class Limit:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    async def __call__(self, connection: HTTPConnection) -> None:
        visit: Visit = connection.state.rate_limit
        await visit.enter(self.policy)


def limit(name: str, rate: str) -> Any:  # a dependency, which FastAPI types as anything
    """Let nobody use a route more often than `10/minute`, unless `RATE_LIMIT_ROUTES` has another number for the name.

    Routes with the same name share it. Call it where a module is imported, so that settings can be held to the names.
    """
    return Depends(Limit(declare(name, Rate.parse(rate))))


def principal(id: str) -> str:
    return f"principal:{id}"
