"""Reading what is kept, and loading what is not: once, however many ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import time
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from pydantic import TypeAdapter, ValidationError
from structlog.stdlib import get_logger

from app.cache.stores import Found, Store
from app.redis import RedisUnavailable
from app.settings import project

logger = get_logger()

T = TypeVar("T")

REFRESH_SECONDS, REFRESH_PAUSE = 30, 5


class Recipe(NamedTuple):
    """What is kept under which key, for how many seconds, and after how many it is loaded again ahead of time."""

    key: str
    tags: Sequence[str]
    seconds: float
    fresh_seconds: float


class Cache:
    """Keys begin with name and version of the service: neither another service nor another version reads them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.prefix = f"{project().name}:{project().version}:cache"
        self.flights: dict[tuple[str, bytes], asyncio.Future[object]] = {}
        self.refreshes: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        refreshes = [*self.refreshes.values()]
        for refresh in refreshes:
            refresh.cancel()
        await asyncio.gather(*refreshes, return_exceptions=True)

    async def get(self, recipe: Recipe, adapter: TypeAdapter[T], load: Callable[[], Awaitable[T]]) -> T:
        """Return what is kept, or load and keep it; without Redis, whose cache it is, just load it."""
        try:
            found = await self.store.read(self.name(recipe.key), [self.tag(tag) for tag in recipe.tags])
        except RedisUnavailable:
            return await load()
        head, _, text = (found.entry or b"").partition(b"\n")
        generation, _, fresh_until = head.partition(b" ")
        if found.entry is not None and generation == found.generation:
            with suppress(ValidationError, ValueError):  # whatever else it is, it is not ours
                value = adapter.validate_json(text)
                if time() > int(fresh_until):
                    self.refresh(recipe, found, adapter, load)
                return value
        return await self.once(recipe, found, adapter, load)

    async def once(self, recipe: Recipe, found: Found, adapter: TypeAdapter[T], load: Callable[[], Awaitable[T]]) -> T:
        """Load and keep it, or wait for whoever does already, and take over where they are broken off."""
        flight = recipe.key, found.generation
        while (landing := self.flights.get(flight)) is not None:
            await asyncio.wait([landing])
            if not landing.cancelled():
                value: T = landing.result()  # type: ignore[assignment]  # the key says of which type it is
                return value
        landing = self.flights[flight] = asyncio.get_running_loop().create_future()
        try:
            value = await load()
            landing.set_result(value)
            entry = b"%b %d\n%b" % (found.generation, time() + recipe.fresh_seconds, adapter.dump_json(value))
            with suppress(RedisUnavailable):
                await self.store.write(self.name(recipe.key), entry, recipe.seconds)
        except Exception as error:
            if not landing.done():
                landing.set_exception(error)
                landing.exception()  # nobody may be waiting for it
            raise
        finally:
            landing.cancel()
            del self.flights[flight]  # not before it is kept: who comes now finds it either here or there
        return value

    def refresh(self, recipe: Recipe, found: Found, adapter: TypeAdapter[T], load: Callable[[], Awaitable[T]]) -> None:
        """Load it again, while everybody is served what is there; after a failure not at once."""
        if recipe.key in self.refreshes:
            return

        async def again() -> None:
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self.once(recipe, found, adapter, load)
            except Exception as error:  # what is there is still good, and nobody waits for this
                logger.warning("cache.refresh_failed", key=recipe.key, error=type(error).__name__)
                await asyncio.sleep(REFRESH_PAUSE)

        task = self.refreshes[recipe.key] = asyncio.create_task(again())
        task.add_done_callback(lambda _: self.refreshes.pop(recipe.key))

    async def invalidate(self, tags: Sequence[str]) -> None:
        await self.store.renew([self.tag(tag) for tag in tags])

    def name(self, key: str) -> str:
        return f"{self.prefix}:entry:{key}"

    def tag(self, tag: str) -> str:
        return f"{self.prefix}:tag:{tag}"
