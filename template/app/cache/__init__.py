"""The cache: answers that are kept for a while, and gone when what they tell has changed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from app.cache.cached import cached, escape, invalidate
from app.cache.loading import Cache
from app.cache.settings import CacheSettings
from app.cache.stores import Memory, RedisStore
from app.cache.validators import Validators, keep
from app.feature import add_lifespan
from app.health import add_check
from app.redis import Server

__all__ = ["Cache", "cached", "escape", "install", "invalidate", "keep"]


class CacheState(TypedDict):
    cache: Cache


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[CacheState]:
    settings: CacheSettings = app.state.cache_settings
    if settings.url is None:
        async with Cache(Memory(settings.memory_bytes)) as cache:
            yield {"cache": cache}
        return
    async with Server(settings.url.get_secret_value(), "cache") as server, Cache(RedisStore(server)) as cache:
        add_check(app, "cache", server.check)
        yield {"cache": cache}


def install(app: FastAPI) -> None:
    app.state.cache_settings = CacheSettings()
    add_lifespan(app, lifespan)
    app.add_middleware(Validators)
