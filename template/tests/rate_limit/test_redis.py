"""Without Redis everybody is let in; with it again, the limits hold again."""

import asyncio
from math import floor

import pytest
from fakeredis import FakeServer
from fastapi import FastAPI
from httpx2 import AsyncClient

from app.main import create_app
from app.rate_limit.policies import Policy, Rate
from app.rate_limit.shared import RedisCounters
from app.redis import Server
from app.redis.connection import connect as connect_to
from app.settings import project
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged
from tests.rate_limit.conftest import router
from tests.rate_limit.test_addresses import OK, REFUSED, ask


@pytest.fixture
def app(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("RATE_LIMIT_DEFAULT", "3/minute")
    monkeypatch.setenv("REDIS_URL", redis_url)
    app = create_app()
    app.include_router(router)
    return app


async def test_two_processes_count_together(app: FastAPI, client: AsyncClient) -> None:
    await ask(client, 2)

    other = create_app()
    other.include_router(router)
    async with connect(other) as there:
        assert await ask(there, 2) == [OK, REFUSED]


async def test_a_server_that_has_lost_its_scripts_gets_them_again(client: AsyncClient, redis_url: str) -> None:
    await ask(client, 2)

    async with connect_to(redis_url) as redis:
        await redis.send("SCRIPT", "FLUSH")

    assert await ask(client, 2) == [OK, REFUSED]


async def test_a_bucket_is_one_key_that_goes_by_itself(client: AsyncClient, redis_url: str) -> None:
    await ask(client, 1)

    async with connect_to(redis_url) as redis:
        (key,) = await redis.send("KEYS", "*")
        seconds = await redis.send("TTL", key)

    assert key == f"{project().name}:rate_limit:default:address:127.0.0.1".encode()
    assert 110 <= seconds <= 120


async def test_the_last_window_counts_as_it_does_in_memory(redis_url: str) -> None:
    policy = Policy("tests", Rate(10, "day"))
    async with Server(redis_url, "tests") as server:
        shared = RedisCounters(server)
        first = await shared.count(policy, "a")
        assert first is not None
        key, before = f"{shared.prefix}tests:a", first.window - 1
        await server.ask(lambda redis: redis.send("HSET", key, "window", before))
        await server.ask(lambda redis: redis.send("HSET", key, "current", 20))
        await shared.count(policy, "b", instead_of=first._replace(window=before))
        last = await shared.count(policy, "a")

    assert last is not None
    weight = 19 * (1 - last.elapsed / policy.seconds)
    assert (last.window, last.previous) == (first.window, 19)
    assert last.passed == (weight + 1 <= 10)
    assert last.remaining == max(floor(10 - weight - last.passed), 0)


async def test_it_is_ready_with_redis(client: AsyncClient) -> None:
    response = await client.get("/readyz")

    assert response.json()["checks"]["rate_limit"] == "ok"


async def test_without_redis_everybody_is_let_in(gone: str, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    monkeypatch.setenv("RATE_LIMIT_DEFAULT", "1/minute")
    monkeypatch.setenv("RATE_LIMIT_URL", gone.replace("http", "redis"))
    app = create_app()
    app.include_router(router)

    async with connect(app) as client:
        response = await client.get("/tests/orders")
        statuses = [
            *await ask(client, 3),
            *await ask(client, 3, "/tests/late-prints"),
            *await ask(client, 3, "/tests/late-prints", **{"X-Tests-Name": "ada"}),
        ]
        ready = await client.get("/readyz")

    assert statuses == [OK] * 9
    assert "ratelimit" not in response.headers
    assert ready.json()["checks"]["rate_limit"] == "degraded"
    assert [record["event"] for record in logged()].count("redis.gone") == 1


async def test_limits_hold_again_when_redis_is_back(
    app: FastAPI, fake_redis: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.redis.server.PAUSE", 0.01)
    async with connect(app) as client:
        fake_redis.connected = False
        without = await ask(client, 5)
        fake_redis.connected = True
        await until_counted(client)
        statuses = await ask(client, 3)

    assert without == [OK] * 5
    assert statuses == [OK, OK, REFUSED]  # after the one that has found it


async def until_counted(client: AsyncClient) -> None:
    for _ in range(500):
        if "ratelimit" in (await client.get("/tests/nothing")).headers:
            return
        await asyncio.sleep(0.01)
