"""A Redis that is slow, silent or gone: nobody waits long for it, and then nobody waits."""

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic

import pytest
from fakeredis import FakeServer
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from redis.asyncio import Redis

from app.health import State
from app.redis import RedisFields, RedisUnavailable, Server
from app.settings import Settings
from tests.fixtures.logs import Logged


@pytest.fixture
async def silent() -> AsyncGenerator[Server]:
    """A server that takes connections, and says nothing."""
    writers = []
    listener = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with Server(f"redis://127.0.0.1:{port}", "tests") as server:
        yield server
    listener.close()
    for writer in writers:
        writer.close()


class ShelfSettings(RedisFields, Settings):
    model_config = SettingsConfigDict(env_prefix="SHELF_")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost?nonsense=1",
        "redis://localhost?socket_timeout=9",
        "redis://localhost?decode_responses=true",
    ],
)
def test_what_names_no_server_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SHELF_URL", url)

    assert [*ShelfSettings.mistakes()] == ["SHELF_URL: a server is named like redis://user:password@host:6379/0"]


@pytest.mark.parametrize(("own", "used"), [("", "redis://all"), ("redis://own", "redis://own")])
def test_a_feature_has_a_server_of_its_own_or_that_of_all(monkeypatch: pytest.MonkeyPatch, own: str, used: str) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://all")
    monkeypatch.setenv("SHELF_URL", own)

    assert ShelfSettings().url == SecretStr(used)


def test_in_production_several_processes_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")
    monkeypatch.setenv("SERVER_WORKERS", "2")

    (mistake,) = ShelfSettings.mistakes()

    assert mistake.startswith("SHELF_URL: several processes")


async def test_it_answers(redis_server: Server) -> None:
    await redis_server.ask(lambda redis: redis.set("a", "b"))

    assert await redis_server.ask(lambda redis: redis.get("a")) == b"b"


async def test_a_silent_server_is_waited_for_once_and_not_long(silent: Server) -> None:
    started = monotonic()
    with pytest.raises(RedisUnavailable):
        await silent.ask(Redis.ping)
    waited = monotonic()
    with pytest.raises(RedisUnavailable):
        await silent.ask(Redis.ping)

    assert 0.03 < waited - started < 1
    assert monotonic() - waited < 0.02


async def test_all_who_wait_for_a_silent_server_wait_together(silent: Server) -> None:
    started = monotonic()

    answers = await asyncio.gather(*(silent.ask(Redis.ping) for _ in range(200)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {RedisUnavailable}
    assert monotonic() - started < 1


async def test_who_stands_in_line_does_not_take_that_for_silence(redis_server: Server) -> None:
    async def answer_late(redis: Redis) -> bool:
        await asyncio.sleep(0.02)
        return True

    answers = await asyncio.gather(*(redis_server.ask(answer_late) for _ in range(500)))

    assert answers == [True] * 500


async def test_a_server_that_is_there_and_refuses_is_asked_again(redis_server: Server, fake_redis: FakeServer) -> None:
    with pytest.raises(RedisUnavailable):
        await redis_server.ask(refused)

    assert await redis_server.ask(Redis.ping)
    assert await redis_server.check() is State.DEGRADED


async def refused(redis: Redis) -> bool:
    await redis.set("a", "text")
    await redis.incr("a")
    return True


async def test_it_is_found_again(redis_server: Server, fake_redis: FakeServer) -> None:
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable):
        await redis_server.ask(Redis.ping)

    fake_redis.connected = True
    assert redis_server.healing is not None
    await redis_server.healing

    assert await redis_server.ask(Redis.ping)


async def test_a_busy_process_does_not_take_its_own_delay_for_silence(redis_server: Server) -> None:
    async def ask_and_work() -> object:
        answer = await redis_server.ask(Redis.ping)
        until = monotonic() + 0.002
        while monotonic() < until:
            pass
        return answer

    answers = await asyncio.gather(*(ask_and_work() for _ in range(100)))

    assert answers == [True] * 100


async def test_the_log_tells_of_it_once_a_minute(
    redis_server: Server, fake_redis: FakeServer, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    fake_redis.connected = False
    now = 1000.0
    monkeypatch.setattr("app.redis.monotonic", lambda: now)
    redis_server.lose(OSError())
    redis_server.is_gone = False
    redis_server.lose(OSError())
    redis_server.is_gone = False
    now = 1061.0
    redis_server.lose(OSError())

    lines = [line for line in logged() if line["event"] == "redis.gone"]
    assert [(line["level"], line["feature"], line["error"]) for line in lines] == [("warning", "tests", "OSError")] * 2


async def test_the_service_is_ready_without_it(redis_server: Server, fake_redis: FakeServer) -> None:
    well = await redis_server.check()
    fake_redis.connected = False
    gone = await redis_server.check()

    assert (well, gone) == (State.OK, State.DEGRADED)
