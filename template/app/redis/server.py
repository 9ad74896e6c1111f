"""A server that may be slow, silent or gone."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from app.health import State
from app.redis.connection import FAILURES, Connection, connect

logger = get_logger()

T = TypeVar("T")

PAUSE = 1.0  # seconds from one look for a server that is gone to the next
QUIET = 60.0  # seconds between two lines of the log about it
FAILING = 5.0  # seconds for which a failure counts


class RedisUnavailable(Exception):
    """It is gone, refuses, or has not answered in time: what was asked may have happened, or happen yet."""


class Kept:
    """Looks for a server for as long as it is open, which it is once it has looked."""

    def __init__(self) -> None:
        self.looked = asyncio.Event()

    async def keep(self) -> None:
        """Look for it again and again, and set `looked` each time that this has come to an end."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self.keeping = asyncio.create_task(self.keep())
        try:
            await self.looked.wait()
        except BaseException:
            self.keeping.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.keeping.cancel()
        await asyncio.wait([self.keeping])


class Server(Kept):
    """A server that is asked with patience, and not at all from its first failure until it answers again."""

    def __init__(self, url: str, feature: str) -> None:
        super().__init__()
        self.url = url
        self.feature = feature
        self.connection: Connection | None = None
        self.on_return: list[Callable[[Connection], Awaitable[object]]] = []
        self.failed_at = self.logged_at = float("-inf")
        self.reason: BaseException = ConnectionError()  # why there is no connection

    async def ask(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what the call returns; raise `RedisUnavailable` at once while the server is gone."""
        if self.connection is None:
            self.note(self.reason)
            raise RedisUnavailable
        try:
            return await call(self.connection)
        except FAILURES as error:  # or it is there, but full, or may only be read
            self.note(error)
            raise RedisUnavailable from error

    def note(self, error: BaseException) -> None:
        self.failed_at = monotonic()
        if self.failed_at - self.logged_at > QUIET:
            self.logged_at = self.failed_at
            event = "redis.refused" if isinstance(error, ResponseError) else "redis.gone"
            logger.warning(event, feature=self.feature, error=repr(error)[:200])

    def lose(self, error: BaseException) -> None:
        """Ask nothing more until the server has caught up."""
        if self.connection is not None:
            self.connection.end(error)

    async def keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            looked_at = loop.time()
            try:
                async with connect(self.url) as connection:
                    await connection.send("PING")
                    for catch_up in self.on_return:
                        await catch_up(connection)
                    self.connection = connection
                    self.looked.set()
                    await connection.lost.wait()
                    self.reason = connection.reason
            except Exception as error:  # whatever it is, else nobody would look for the server any more
                self.reason = error
                self.note(error)
            finally:
                self.connection = None
                self.looked.set()
            await asyncio.sleep(looked_at + PAUSE - loop.time())

    async def check(self) -> State:
        """For the readiness of the service, which goes on without Redis."""
        with suppress(RedisUnavailable):
            await self.ask(lambda redis: redis.send("PING"))
        return State.DEGRADED if monotonic() - self.failed_at < FAILING else State.OK
