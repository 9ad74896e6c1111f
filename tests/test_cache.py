"""The cache of the full service in a real Redis, which is stopped, frozen, restarted and poisoned under it."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx2
import pytest

from tests.postgresql import PostgreSQL
from tests.redis_server import RedisServer, needs_redis
from tests.serving import Service, create_user, log_in, serve, until

pytestmark = needs_redis


@pytest.fixture
def service(full: Path, postgresql: PostgreSQL, redis: RedisServer) -> Iterator[Service]:
    """Two processes, which share a cache."""
    variables = {"CACHE_URL": redis.url}
    with serve(full, postgresql, workers=2, variables=variables) as service:
        yield service


def read(service: Service, path: str, times: int = 20) -> list[httpx2.Response]:
    """Ask on a new connection each time, so that every process is asked."""
    return [service.get(path) for _ in range(times)]


def usual(responses: list[httpx2.Response]) -> float:
    return median(response.elapsed.total_seconds() for response in responses)


def prices(responses: list[httpx2.Response]) -> set[int]:
    assert {response.status_code for response in responses} == {200}
    return {response.json()["price_cents"] for response in responses}


def change(service: Service, path: str, price: int) -> httpx2.Response:
    return httpx2.patch(f"{service.url}{path}", json={"price_cents": price}, headers=service.headers, timeout=30)


def test_a_change_is_seen_at_once_by_every_process(service: Service, redis: RedisServer) -> None:
    path = service.create().headers["Location"]

    before = prices(read(service, path))
    change(service, path, 5)
    after = prices(read(service, path))

    assert (before, after) == ({1}, {5})
    assert redis.ask("DBSIZE") > 0


def test_nobody_sees_what_is_kept_for_somebody_else(service: Service, full: Path) -> None:
    path = service.create().headers["Location"]
    create_user(full, service.database, "stranger@example.org")
    stranger = log_in(service.url, "stranger@example.org")
    read(service, path)
    read(service, "/v1/items")

    theirs = httpx2.get(f"{service.url}{path}", headers=stranger)
    listed = httpx2.get(f"{service.url}/v1/items", headers=stranger)

    assert theirs.status_code == 404
    assert listed.json()["items"] == []
    assert len(service.get("/v1/items").json()["items"]) == 1


def test_whatever_is_found_in_it_is_no_harm(service: Service, redis: RedisServer) -> None:
    path = service.create().headers["Location"]
    read(service, path)

    for key in redis.ask("KEYS", "*"):
        redis.ask("SET", key, b"\x80\x04\x95\xff poisoned")

    assert prices(read(service, path)) == {1}


def test_without_redis_nothing_fails_and_nobody_waits(service: Service, redis: RedisServer) -> None:
    path = service.create().headers["Location"]
    read(service, path)

    redis.stop()
    gone = read(service, path, 40)
    change(service, path, 5)
    changed = read(service, path)
    ready = service.get("/readyz")
    redis.start()
    until(lambda: service.get("/readyz").json()["checks"]["cache"] == "ok")

    assert prices(gone) == {1}
    assert prices(changed) == {5}
    assert ready.status_code == 200
    assert ready.json()["checks"]["cache"] == "degraded"
    assert prices(read(service, path)) == {5}
    service.stop()
    lines = [line for line in service.records() if line["event"] == "redis.gone" and line["feature"] == "cache"]
    assert [line["level"] for line in lines] == ["warning"] * 2, "one of each process"


def test_a_frozen_redis_is_waited_for_once(service: Service, redis: RedisServer) -> None:
    path = service.create().headers["Location"]
    before = read(service, path)

    redis.freeze()
    frozen = read(service, path, 40)
    change(service, path, 5)
    redis.thaw()
    until(lambda: service.get("/readyz").json()["checks"]["cache"] == "ok")

    assert prices(frozen) == {1}
    assert usual(frozen) < usual(before) + 0.04, "half of what each would wait"
    time.sleep(2)  # until the other process has found it as well
    assert prices(read(service, path)) == {5}
