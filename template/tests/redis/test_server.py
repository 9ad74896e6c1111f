"""A Redis that is slow, silent or gone: nobody waits long for it, and then nobody waits."""

import asyncio
from time import monotonic

import pytest
from fakeredis import FakeServer

from app.health import State
from app.redis import Connection, RedisUnavailable, Server
from tests.fixtures.logs import Logged
from tests.fixtures.redis import until_back
from tests.redis.conftest import Echo, ask


async def refused(redis: Connection) -> None:
    await redis.send_all([("SET", "a", "text"), ("INCR", "a")])


async def test_it_answers(redis_server: Server) -> None:
    await redis_server.ask(lambda redis: redis.send("SET", "a", "b"))

    assert await redis_server.ask(lambda redis: redis.send("GET", "a")) == b"b"


async def test_a_silent_server_is_waited_for_once_and_not_long(echo_server: Server, echo: Echo) -> None:
    echo.speaks.clear()
    started = monotonic()
    with pytest.raises(RedisUnavailable):
        await ask(echo_server, "a")
    waited = monotonic()
    with pytest.raises(RedisUnavailable):
        await ask(echo_server, "a")

    assert 0.03 < waited - started < 1
    assert monotonic() - waited < 0.02


async def test_a_server_that_takes_connections_and_says_nothing_is_gone(
    echo_url: str, echo: Echo, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr("app.redis.connection.CONNECT_SECONDS", 0.05)
    echo.speaks.clear()

    async with asyncio.timeout(5), Server(echo_url, "tests") as server:
        events = [line["event"] for line in logged()]
        started = monotonic()
        with pytest.raises(RedisUnavailable):
            await ask(server, "a")

        assert monotonic() - started < 0.02
        assert events == ["redis.gone"]
        assert await server.check() is State.DEGRADED


async def test_a_server_that_is_there_and_refuses_is_asked_again(redis_server: Server, fake_redis: FakeServer) -> None:
    with pytest.raises(RedisUnavailable):
        await redis_server.ask(refused)

    assert await ask(redis_server, "a")
    assert await redis_server.check() is State.DEGRADED


async def test_it_is_found_again(redis_server: Server, fake_redis: FakeServer) -> None:
    fake_redis.connected = False
    with pytest.raises(RedisUnavailable):
        await ask(redis_server, "a")

    fake_redis.connected = True
    await until_back(redis_server)

    assert await ask(redis_server, "a")


async def test_who_hangs_up_while_nobody_asks_is_found_again_without_a_word(
    echo_server: Server, echo: Echo, logged: Logged
) -> None:
    before = echo_server.connection
    assert before is not None

    echo.hang_up()
    await before.lost.wait()
    await until_back(echo_server)

    assert await ask(echo_server, "a")
    assert await echo_server.check() is State.OK
    assert "redis.gone" not in {line["event"] for line in logged()}


@pytest.mark.parametrize("error", [RuntimeError("the handler is closed"), IndexError(), OSError()])
async def test_whoever_waits_when_it_ends_is_told_whatever_the_reason(
    echo_server: Server, echo: Echo, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    assert echo_server.connection is not None
    monkeypatch.setattr(echo_server.connection.transport, "send_packed_command", fail)
    answers = await asyncio.gather(*[ask(echo_server, text) for text in "abc"], return_exceptions=True)

    assert [type(answer) for answer in answers] == [RedisUnavailable] * 3


async def test_a_server_that_has_become_a_replica_is_looked_for_again(echo_server: Server, echo: Echo) -> None:
    before = echo_server.connection
    assert before is not None
    echo.says = b"-READONLY You can't write against a read only replica.\r\n"

    with pytest.raises(RedisUnavailable):
        await ask(echo_server, "a")
    echo.says = None
    await until_back(echo_server)

    assert before.lost.is_set()
    assert await ask(echo_server, "a")


async def test_it_is_not_asked_before_it_has_caught_up(echo_server: Server, echo: Echo) -> None:
    may_end = asyncio.Event()

    async def catch_up(_: Connection) -> None:
        await may_end.wait()

    echo_server.on_return.append(catch_up)
    echo_server.lose(OSError())
    await asyncio.sleep(0.1)
    with pytest.raises(RedisUnavailable):
        await ask(echo_server, "a")
    may_end.set()
    await until_back(echo_server)

    assert await ask(echo_server, "a")


async def test_a_mistake_while_it_catches_up_is_logged_and_not_the_end(redis_server: Server, logged: Logged) -> None:
    async def catch_up(_: Connection) -> None:
        redis_server.on_return.clear()
        raise LookupError

    redis_server.on_return.append(catch_up)
    redis_server.lose(OSError())
    await until_back(redis_server)

    assert await ask(redis_server, "a")
    assert "LookupError" in str(logged())


async def test_it_is_looked_for_with_a_pause(echo_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    async def catch_up(_: Connection) -> None:
        looks.append(monotonic())
        raise OSError

    monkeypatch.setattr("app.redis.server.PAUSE", 0.05)
    server = Server(echo_url, "tests")
    server.on_return.append(catch_up)
    async with server:
        await asyncio.sleep(0.2)

    assert 2 <= len(looks) <= 5


async def test_the_log_tells_of_it_once_a_minute(
    redis_server: Server, fake_redis: FakeServer, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    now = 1000.0
    monkeypatch.setattr("app.redis.server.monotonic", lambda: now)
    redis_server.note(OSError())
    redis_server.note(OSError())
    now = 1061.0
    redis_server.note(OSError())

    lines = [line for line in logged() if line["event"] == "redis.gone"]
    assert [(line["level"], line["feature"], line["error"]) for line in lines] == [
        ("warning", "tests", "OSError()")
    ] * 2


async def test_the_service_is_ready_without_it(redis_server: Server, fake_redis: FakeServer) -> None:
    well = await redis_server.check()
    fake_redis.connected = False
    gone = await redis_server.check()

    assert (well, gone) == (State.OK, State.DEGRADED)
