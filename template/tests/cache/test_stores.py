"""The two stores: what they hold, what they do with what is not theirs, and without a server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from fakeredis import FakeServer
from pydantic import TypeAdapter

from app.cache import cached
from app.cache.loading import Cache, Recipe
from app.cache.stores import Memory, RedisStore, Store
from app.redis import Connection, RedisUnavailable, Server
from tests.fixtures.redis import until_back

TEXT = TypeAdapter(str)
KEEP = Recipe("a", ["b"], seconds=300, fresh_seconds=300)


@pytest.fixture
def kept(store: str, redis_server: Server) -> Store:
    return Memory(100_000) if store == "memory" else RedisStore(redis_server)


def load(text: str) -> Callable[[], Awaitable[str]]:
    async def load() -> str:
        return text

    return load


GARBAGE = [
    b"",
    b"\n",
    b"\x80\x04\x95.",
    b'"old"',
    b"{} x\n1",
    b"%b 99999999999\nnull",
    b"%b 99999999999\n{",
    b"%b x\n1",
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_what_is_not_its_own_is_nothing(kept: Store, garbage: bytes) -> None:
    cache = Cache(kept)
    await cache.get(KEEP, TEXT, load("old"))
    generation, _ = await kept.read(cache.name("a"), [cache.tag("b")])
    await kept.write(cache.name("a"), garbage.replace(b"%b", generation), 300)

    text = await cache.get(KEEP, TEXT, load("new"))

    assert text == "new"
    assert await cache.get(KEEP, TEXT, load("newer")) == "new"


async def test_a_tag_that_is_lost_takes_its_entries_along(kept: Store) -> None:
    cache = Cache(kept)
    await cache.get(KEEP, TEXT, load("old"))
    await kept.renew([cache.tag("b")])

    assert await cache.get(KEEP, TEXT, load("new")) == "new"


async def test_an_entry_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("app.cache.stores.monotonic", lambda: now)
    cache = Cache(Memory(100_000))
    await cache.get(KEEP, TEXT, load("old"))

    now = 1299
    before = await cache.get(KEEP, TEXT, load("new"))
    now = 1301
    after = await cache.get(KEEP, TEXT, load("new"))

    assert (before, after) == ("old", "new")


async def test_in_redis_nothing_stays_without_end(redis_server: Server) -> None:
    await Cache(RedisStore(redis_server)).get(KEEP, TEXT, load("old"))

    redis = redis_server.connection
    assert redis is not None
    seconds = [await redis.send("TTL", key) for key in await redis.send("KEYS", "*")]

    assert sorted(seconds) == [300, 86_400]


async def test_what_was_used_last_stays() -> None:
    memory = Memory(10_000)
    for number in range(1000):
        await memory.write(f"{number}", b"x" * 700, 300)

    assert (await memory.read("999", [])).entry is not None
    assert (await memory.read("0", [])).entry is None
    assert memory.kept.currsize <= 10_000


async def test_keys_take_memory_too() -> None:
    memory = Memory(10_000)

    await memory.write("a" * 10_000, b"old", 300)

    assert memory.kept.currsize == 0


async def test_what_changes_twice_while_redis_returns_is_forgotten(redis_server: Server) -> None:
    store = RedisStore(redis_server)
    store.missed = {"b"}
    send = store.send

    async def send_and_miss_more(redis: Connection, tags: Sequence[str]) -> None:
        store.send = send  # type: ignore[method-assign]  # the first time alone
        await send(redis, tags)
        store.missed.add("b")

    store.send = send_and_miss_more  # type: ignore[method-assign]  # a change, while the answer is awaited
    before = (await store.read("a", ["b"])).generation
    await redis_server.ask(store.catch_up)

    assert store.missed == set()
    assert (await store.read("a", ["b"])).generation != before


async def test_what_is_too_large_is_not_kept() -> None:
    memory = Memory(1000)
    await memory.write("a", b"old", 300)

    await memory.write("a", b"x" * 1000, 300)

    assert (await memory.read("a", [])).entry is None


async def test_without_redis_everybody_looks_and_nobody_fails(redis_server: Server, fake_redis: FakeServer) -> None:
    cache = Cache(RedisStore(redis_server))
    fake_redis.connected = False

    texts = [await cache.get(KEEP, TEXT, load("old")), await cache.get(KEEP, TEXT, load("new"))]

    assert texts == ["old", "new"]


async def test_what_changes_while_redis_is_gone_is_forgotten_when_it_returns(
    redis_server: Server, fake_redis: FakeServer
) -> None:
    cache = Cache(RedisStore(redis_server))
    await cache.get(KEEP, TEXT, load("old"))

    fake_redis.connected = False
    await cache.invalidate(["b"])
    fake_redis.connected = True
    await until_back(redis_server)

    assert await cache.get(KEEP, TEXT, load("new")) == "new"


@pytest.fixture
def full_store(redis_server: Server) -> RedisStore:
    """Of a server that goes on being read from, and refuses once to begin another generation."""
    store = RedisStore(redis_server)
    send = store.send

    async def refuse(redis: Connection, tags: Sequence[str]) -> None:
        store.send = send  # type: ignore[method-assign]  # the first time alone
        await redis.send_all([("SET", "full", "no number"), ("INCR", "full")])

    store.send = refuse  # type: ignore[method-assign]  # no server of the tests can be full
    return store


async def test_what_a_full_server_refuses_to_forget_is_not_read_before_it_has(
    redis_server: Server, full_store: RedisStore
) -> None:
    cache = Cache(full_store)
    await cache.get(KEEP, TEXT, load("old"))

    await cache.invalidate(["b"])
    with pytest.raises(RedisUnavailable):
        await full_store.read("a", [])
    await until_back(redis_server)

    assert await cache.get(KEEP, TEXT, load("new")) == "new"


async def test_what_it_refuses_somebody_who_is_broken_off_as_well(redis_server: Server, full_store: RedisStore) -> None:
    cache = Cache(full_store)
    await cache.get(KEEP, TEXT, load("old"))

    forgetting = asyncio.create_task(cache.invalidate(["b"]))
    await asyncio.sleep(0)
    forgetting.cancel()
    await asyncio.sleep(0.02)  # until it is refused
    await until_back(redis_server)

    assert forgetting.cancelled()
    assert await cache.get(KEEP, TEXT, load("new")) == "new"


async def test_what_cannot_be_caught_up_with_is_tried_again(redis_server: Server, full_store: RedisStore) -> None:
    full_store.missed = {"b"}

    with pytest.raises(RedisUnavailable):
        await redis_server.ask(full_store.catch_up)

    assert full_store.missed == {"b"}


@pytest.mark.parametrize("ttl", ["", "5", "m", "0s", "-1s", "1.5h", "5m "])
def test_a_duration_that_is_none_is_refused_at_once(ttl: str) -> None:
    with pytest.raises(ValueError, match="A duration is like"):
        cached("a", ttl=ttl)


def test_a_key_of_what_is_no_parameter_is_refused_at_once() -> None:
    async def read(name: str) -> str:
        return name

    with pytest.raises(TypeError, match="has no parameter row"):
        cached("a:{row}", ttl="5m")(read)
