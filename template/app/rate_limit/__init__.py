"""How often anybody may call: by address, or by whoever has proven to be calling."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.feature import State, add_lifespan
from app.health import add_check
from app.rate_limit.middleware import RateLimitMiddleware, RateLimits
from app.rate_limit.settings import RateLimitSettings
from app.rate_limit.shared import RedisCounters
from app.rate_limit.visits import limit
from app.redis import Server

__all__ = ["install", "limit"]


def install(app: FastAPI) -> None:
    settings = RateLimitSettings()
    limits = RateLimits(*settings.policies())
    app.add_middleware(RateLimitMiddleware, limits=limits)
    if settings.url is None:
        return
    url = settings.url.get_secret_value()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
        async with Server(url, "rate_limit") as server:
            limits.counters = RedisCounters(server)
            add_check(app, "rate_limit", server.check)
            yield {}

    add_lifespan(app, lifespan)
