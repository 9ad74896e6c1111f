"""What is said in one process is heard in all, and each goes on by itself while Redis is gone."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NoReturn

import pytest
from fakeredis import FakeServer
from httpx2 import AsyncClient

from app.health import State
from app.redis import Server
from app.redis.connection import connect as connect_to
from app.redis.connection import make
from app.settings import project
from app.websockets.backplane import RedisBackplane
from tests.fixtures.logs import Logged
from tests.fixtures.redis import until_back
from tests.fixtures.websockets import SECONDS, URL, connect, hear, hear_nothing, say, subscribe, until
from tests.websockets.conftest import make_app
from tests.websockets.rooms import LOBBY

ORDER = "tests-orders:018f5b1e-7c2a-7000-8000-000000000001"
"""A room that tells nothing of who comes and goes."""

Processes = tuple[AsyncClient, AsyncClient]


@pytest.fixture
async def processes(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Processes]:
    """Two of the same service."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr("app.redis.server.PAUSE", 0.01)
    monkeypatch.setattr("app.websockets.backplane.SHORTEST", 0.01)
    async with connect(make_app()) as first, connect(make_app()) as second:
        yield first, second


async def readiness(client: AsyncClient) -> str:
    return str((await client.get("/readyz")).json()["checks"]["websockets"])


async def test_a_message_reaches_the_other_process_and_comes_back_to_nobody(processes: Processes) -> None:
    here, there = processes
    async with here.websocket(URL) as first, there.websocket(URL) as second:
        await subscribe(first, ORDER)
        await subscribe(second, ORDER)

        message = await say(first, "publish", room=ORDER, data="hi")
        received = await hear(second)
        answer = await say(second, "publish", room=ORDER, data="ho")

        assert received == message
        assert await hear(first) == answer
        await hear_nothing(first)
        await hear_nothing(second)


async def test_everybody_knows_who_comes_and_goes(processes: Processes) -> None:
    here, there = processes
    async with here.websocket(URL) as first:
        await subscribe(first, LOBBY)
        async with there.websocket(URL) as second:
            member = await subscribe(second, LOBBY)
            joined = await hear(first)
        left = await hear(first)

    assert (joined["type"], left["type"]) == ("joined", "left")
    assert joined["member"] == left["member"] == member


@pytest.mark.parametrize("payload", [b"", b"hi", b"\xff \xff\n\xff"])
async def test_what_is_not_ours_is_not_heard(processes: Processes, redis_url: str, payload: bytes) -> None:
    here, there = processes
    async with here.websocket(URL) as first, there.websocket(URL) as second:
        await subscribe(first, ORDER)
        await subscribe(second, ORDER)

        async with connect_to(redis_url) as redis:
            heard_by = await redis.send("PUBLISH", f"{project().name}:{make(redis_url).db}:websockets", payload)
        message = await say(first, "publish", room=ORDER, data="hi")

        assert heard_by == 2
        assert await hear(second) == message


def test_installations_with_databases_of_their_own_do_not_hear_each_other() -> None:
    first, second = (RedisBackplane(f"redis://test/{db}", Server("", "tests"), print) for db in (0, 1))

    assert first.channel == f"{project().name}:0:websockets"
    assert second.channel == f"{project().name}:1:websockets"


async def test_it_is_ready_with_redis(processes: Processes) -> None:
    assert await readiness(processes[0]) == "ok"


async def test_a_process_that_does_not_hear_the_others_says_so(redis_server: Server, redis_url: str) -> None:
    backplane = RedisBackplane(redis_url, redis_server, print)

    assert await redis_server.check() is State.OK
    assert await backplane.check() is State.DEGRADED


async def test_without_redis_each_process_goes_on_by_itself(
    processes: Processes, fake_redis: FakeServer, logged: Logged
) -> None:
    here, there = processes
    async with here.websocket(URL) as first, here.websocket(URL) as second, there.websocket(URL) as third:
        await subscribe(first, ORDER)
        await subscribe(second, ORDER)
        await subscribe(third, ORDER)
        fake_redis.connected = False

        message = await say(first, "publish", room=ORDER, data="hi")

        assert await hear(second) == message
        await hear_nothing(third)
        assert await readiness(here) == "degraded"
    assert "error" not in {line["level"] for line in logged()}


async def test_a_server_that_is_gone_is_looked_for_less_and_less_often(
    fake_redis: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: asyncio.Queue[float] = asyncio.Queue()
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await sleep(0)

    monkeypatch.setattr("asyncio.sleep", pause)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    fake_redis.connected = False

    async with asyncio.timeout(SECONDS), RedisBackplane("", Server("", "tests"), print) as backplane:
        looks = [await pauses.get() for _ in range(8)]
        state = await backplane.check()

    assert looks == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert state is State.DEGRADED


async def test_a_server_that_is_silent_is_left_and_one_that_is_back_is_heard(
    redis_server: Server, fake_redis: FakeServer, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr("app.websockets.backplane.SHORTEST", 0.01)
    monkeypatch.setattr("app.websockets.backplane.SILENCE", 0.01)
    heard: list[tuple[str, str]] = []

    async with RedisBackplane("", redis_server, lambda *message: heard.append(message)) as backplane:
        fake_redis.connected = False
        await until(lambda: not backplane.subscribed)
        fake_redis.connected = True
        await until(lambda: backplane.subscribed)
        await until_back(redis_server)
        await redis_server.ask(lambda redis: redis.send("PUBLISH", backplane.channel, b"other room\n{}"))
        await until(lambda: bool(heard))

    assert heard == [("room", "{}")]
    assert [line["event"] for line in logged()].count("websockets.backplane_lost") == 1


async def test_a_server_that_is_only_quiet_is_not_left(
    redis_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("app.websockets.backplane.SILENCE", 0.1)

    async with RedisBackplane(redis_url, redis_server, print) as backplane:
        monkeypatch.setattr(backplane, "hear", asked.append)
        await until(lambda: len(asked) == 2)

        assert backplane.subscribed
    assert logged() == []


async def test_a_server_that_never_was_there_is_told_once(
    fake_redis: FakeServer, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    looks: list[str] = []

    def look(url: str) -> NoReturn:
        looks.append(url)
        raise ConnectionError

    monkeypatch.setattr("app.websockets.backplane.SHORTEST", 0)
    backplane = RedisBackplane("redis://test", Server("", "tests"), print)
    monkeypatch.setattr("app.redis.connection.make", look)

    async with backplane:
        await until(lambda: len(looks) == 5)

    (line,) = logged()
    assert (line["event"], line["level"]) == ("websockets.backplane_lost", "warning")
