"""Counts every request by its address before anything looks at it, and tells with each answer what is left."""

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import problem
from app.http.addresses import network
from app.rate_limit.counters import Counters, MemoryCounters
from app.rate_limit.policies import Policy
from app.rate_limit.visits import RateLimitExceeded, Visit

UNLIMITED = {"/livez", "/readyz", "/metrics"}


class RateLimits:
    """The limits of an application, and where they are counted: in memory, until there is something else."""

    def __init__(self, default: Policy | None, overrides: dict[str, Policy]) -> None:
        self.default = default
        self.overrides = overrides
        self.counters: Counters = MemoryCounters()


class RateLimitMiddleware:
    def __init__(self, app: ASGIApp, limits: RateLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in UNLIMITED:
            await self.app(scope, receive, send)
            return
        limits, client = self.limits, scope["client"]
        visit = Visit(f"address:{network(client[0] if client else None)}", limits.counters, limits.overrides)
        if limits.default is not None:
            try:
                await visit.enter(limits.default)
            except RateLimitExceeded as error:
                response = problem(
                    HTTPConnection(scope), error.status, error.detail, code=error.code, headers=error.headers
                )
                await response(scope, receive, Answer(visit, send).send)
                return
        scope.setdefault("state", {})["rate_limit"] = visit
        await self.app(scope, receive, Answer(visit, send).send)


class Answer:
    """On its way out. Not a closure, which would refer to itself: each request would wait for the garbage collector."""

    __slots__ = ("transmit", "visit")

    def __init__(self, visit: Visit, send: Send) -> None:
        self.visit = visit
        self.transmit = send

    async def send(self, message: Message) -> None:
        count = self.visit.last
        if count is not None and message["type"] in {"http.response.start", "websocket.http.response.start"}:
            left = f'"{count.policy.name}";r={count.remaining};t={count.reset}'
            message["headers"] = [
                *message.get("headers", ()),
                (b"ratelimit-policy", count.policy.header),
                (b"ratelimit", left.encode()),
            ]
        await self.transmit(message)
