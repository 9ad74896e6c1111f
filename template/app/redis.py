"""Redis: nobody waits long for it, and while it is gone nobody waits at all."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, PositiveInt, SecretStr, ValidationInfo, field_validator
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from structlog.stdlib import get_logger

from app.health import State
from app.settings import Environment

logger = get_logger()

T = TypeVar("T")

PATIENCE = 0.08  # seconds; with it an answer is less than 100 ms late
PAUSE = 1.0  # seconds between two looks at a server that is gone
QUIET = 60.0  # seconds between two lines of the log about it
FAILING = 5.0  # seconds for which a failure counts
CLOSE_SECONDS = 2
CONNECTIONS = 50
LOOKS = 8  # at the answer, within that time
FAILURES = (RedisError, OSError, TimeoutError)


# One limit for everything together has `Server.ask`.
OPTIONS: Mapping[str, Any] = {  # of many types
    "max_connections": CONNECTIONS + 1,  # and one to look whether it is back
    "retry": Retry(NoBackoff(), 0),
    "socket_connect_timeout": None,
    "socket_timeout": None,
}


def check_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        if parse_url(text).keys() & {*OPTIONS, "decode_responses"}:
            raise ValueError
        ConnectionPool.from_url(text).make_connection()  # type: ignore[no-untyped-call]  # redis-py has no type there
    except (TypeError, ValueError):
        raise ValueError("a server is named like redis://user:password@host:6379/0") from None
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(check_url)]


class RedisFields(BaseModel):
    """Settings of what all processes share in Redis, or each has for itself."""

    workers: PositiveInt = Field(default=1, validation_alias="SERVER_WORKERS", description="processes")
    redis_url: RedisUrl | None = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="redis://user:password@host:6379/0, where a feature does not name a server of its own",
    )
    url: RedisUrl | None = Field(
        default=None, validate_default=True, description="where all processes share it; unset: that of REDIS_URL"
    )

    @field_validator("url")
    @classmethod
    def find_url(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        url = url or info.data.get("redis_url")
        several = info.data.get("workers", 1) > 1
        if url is None and several and info.data.get("environment") is Environment.PRODUCTION:
            raise ValueError(
                "several processes know of each other only in Redis; production with SERVER_WORKERS needs it"
            )
        return url


class RedisUnavailable(Exception):
    """It is gone, or has not answered in time."""


class Patience:
    """Ends what takes too long. The process reads what has arrived between two looks: one that is busy waits longer."""

    __slots__ = ("scope", "timer")

    async def __aenter__(self) -> None:
        self.scope = asyncio.timeout(None)
        await self.scope.__aenter__()
        self.look(LOOKS)

    def look(self, left: int) -> None:
        loop = asyncio.get_running_loop()
        if left:
            self.timer = loop.call_later(PATIENCE / LOOKS, self.look, left - 1)
        else:
            self.scope.reschedule(loop.time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.timer.cancel()
        await self.scope.__aexit__(kind, error, traceback)


def connect(url: str) -> Redis:
    return Redis.from_pool(ConnectionPool.from_url(url, **OPTIONS))


class Server:
    """A server that is asked with patience, and not at all from its first failure until it answers again."""

    def __init__(self, url: str, feature: str) -> None:
        self.client = connect(url)
        self.feature = feature
        self.places = asyncio.Semaphore(CONNECTIONS)
        self.is_gone = False
        self.on_return: list[Callable[[Redis], Awaitable[object]]] = []
        self.failed_at = self.logged_at = float("-inf")
        self.healing: asyncio.Task[None] | None = None

    async def ask(self, call: Callable[[Redis], Awaitable[T]]) -> T:
        """Return what the call returns; raise `RedisUnavailable` at once while the server is gone."""
        if self.is_gone:
            raise RedisUnavailable
        async with self.places:  # with a connection in hand: to stand in line says nothing about the server
            if self.is_gone:
                raise RedisUnavailable
            try:
                async with Patience():
                    return await call(self.client)
            except ResponseError as error:  # of a server that is there: it is full, or may only be read
                self.note(error)
                raise RedisUnavailable from error
            except FAILURES as error:
                self.lose(error)
                raise RedisUnavailable from error

    def note(self, error: BaseException) -> None:
        self.failed_at = monotonic()
        if self.failed_at - self.logged_at > QUIET:
            self.logged_at = self.failed_at
            logger.warning("redis.gone", feature=self.feature, error=type(error).__name__)

    def lose(self, error: BaseException) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self.note(error)
        self.healing = asyncio.create_task(self.heal())

    async def heal(self) -> None:
        while self.is_gone:
            await asyncio.sleep(PAUSE)
            try:
                async with Patience():
                    await self.client.ping()
                    for catch_up in self.on_return:
                        await catch_up(self.client)
                self.is_gone = False
            except FAILURES:
                continue
            except Exception:  # nobody would look for the server any more
                logger.exception("redis.healing_failed", feature=self.feature)

    async def check(self) -> State:
        """For the readiness of the service, which goes on without Redis."""
        with suppress(RedisUnavailable):
            await self.ask(Redis.ping)
        fails = self.is_gone or monotonic() - self.failed_at < FAILING
        return State.DEGRADED if fails else State.OK

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.healing is not None:
            self.healing.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.client.aclose()
