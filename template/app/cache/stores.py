"""Where entries are kept: in this process, or in Redis for all of them.

Each tag has a generation, in which an entry is made. To invalidate a tag is to begin its next generation: what somebody
writes afterwards, of what was true before, belongs to one that nobody reads any more.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple, Protocol

from cachetools import TLRUCache

from app.redis import Connection, RedisUnavailable, Server

TAG_SECONDS = 86_400  # a tag that is forgotten begins a generation when it is next asked for
MOST_BYTES = 1_000_000  # of an entry in Redis; what is larger keeps everybody else waiting for too long
OVERHEAD = 300  # bytes of memory beside key and text of an entry


class Found(NamedTuple):
    generation: bytes
    entry: bytes | None


class Store(Protocol):
    async def read(self, key: str, tags: Sequence[str]) -> Found: ...

    async def write(self, key: str, entry: bytes, seconds: float) -> None: ...

    async def renew(self, tags: Sequence[str]) -> None:
        """Begin the next generation of each tag."""


def begin(tags: Sequence[str]) -> Mapping[str, bytes]:
    return {tag: secrets.token_hex(8).encode() for tag in tags}


class Kept(NamedTuple):
    until: float
    entry: bytes
    size: int


class Memory:
    """The entries that nobody has used for longest go when `max_bytes` are taken."""

    def __init__(self, max_bytes: int) -> None:
        self.kept: TLRUCache[str, Kept] = TLRUCache(
            max_bytes,
            ttu=lambda _, kept, __: kept.until,
            timer=monotonic,
            getsizeof=lambda kept: kept.size,
        )

    async def read(self, key: str, tags: Sequence[str]) -> Found:
        generations = [self.generation(tag) for tag in tags]
        kept = self.kept.get(key)
        return Found(b".".join(generations), kept and kept.entry)

    def generation(self, tag: str) -> bytes:
        if (kept := self.kept.get(tag)) is None:
            return self.keep(tag, begin([tag])[tag], float("inf"))
        return kept.entry

    async def write(self, key: str, entry: bytes, seconds: float) -> None:
        self.keep(key, entry, monotonic() + seconds)

    async def renew(self, tags: Sequence[str]) -> None:
        for tag, generation in begin(tags).items():
            self.keep(tag, generation, float("inf"))

    def keep(self, key: str, entry: bytes, until: float) -> bytes:
        self.kept.pop(key, None)
        size = len(key) + len(entry) + OVERHEAD
        if size <= self.kept.maxsize:
            self.kept[key] = Kept(until, entry, size)
        return entry


class RedisStore:
    """What cannot be invalidated while Redis is gone is invalidated before it is read from again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.missed: set[str] = set()
        server.on_return.append(self.catch_up)

    async def read(self, key: str, tags: Sequence[str]) -> Found:
        *generations, entry = await self.server.ask(lambda redis: redis.send("MGET", *tags, key))
        if unknown := [tag for tag, generation in zip(tags, generations, strict=True) if generation is None]:
            generations = await self.server.ask(lambda redis: self.begin(redis, unknown, tags))
        return Found(b".".join(filter(None, generations)), entry)

    async def begin(self, redis: Connection, unknown: Sequence[str], tags: Sequence[str]) -> list[bytes | None]:
        """Of several that begin a generation at the same time the first one counts."""
        begun = [("SET", tag, generation, "EX", TAG_SECONDS, "NX") for tag, generation in begin(unknown).items()]
        *_, generations = await redis.send_all([*begun, ("MGET", *tags)])
        return list(generations)

    async def write(self, key: str, entry: bytes, seconds: float) -> None:
        if len(entry) <= MOST_BYTES:
            await self.server.ask(lambda redis: redis.send("SET", key, entry, "PX", int(seconds * 1000)))

    async def renew(self, tags: Sequence[str]) -> None:
        await asyncio.shield(self.send_or_miss(tags))  # to the end, even where the caller is broken off

    async def send_or_miss(self, tags: Sequence[str]) -> None:
        try:
            await self.server.ask(lambda redis: self.send(redis, tags))
        except RedisUnavailable as error:
            self.missed.update(tags)
            self.server.lose(error)  # a full one would be read from without catching up

    async def send(self, redis: Connection, tags: Sequence[str]) -> None:
        await redis.send_all([("SET", tag, generation, "EX", TAG_SECONDS) for tag, generation in begin(tags).items()])

    async def catch_up(self, redis: Connection) -> None:
        while self.missed:
            tags, self.missed = self.missed, set()  # what is missed from here on is sent in another turn
            try:
                await self.send(redis, [*tags])
            except BaseException:
                self.missed |= tags
                raise
