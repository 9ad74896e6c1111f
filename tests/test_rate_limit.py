"""Limits with a real Redis, which is stopped, frozen and restarted, and without one under a flood."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx2
import pytest

from tests.combinations import BARE
from tests.conftest import Render
from tests.redis_server import RedisServer, needs_redis
from tests.serving import COMMAND, get, run, served, until

# Nothing is there, and nobody is asked on the way to that: whoever is let in gets a 404.
IN, REFUSED = 404, 429
LATE = 1.0  # seconds, for the one who finds out that Redis does not answer: 80 ms, and what a busy machine adds


@pytest.fixture(scope="module")
def service(render: Render) -> Path:
    return render({**BARE, "rate_limit": True})


class Limited:
    def __init__(self, port: int, log: list[str]) -> None:
        self.port = port
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.log = log

    def ask(self) -> httpx2.Response:
        return self.client.get("/nothing")

    def statuses(self, times: int) -> list[int]:
        return [self.ask().status_code for _ in range(times)]

    def counts(self) -> bool:
        return "ratelimit" in self.ask().headers

    def events(self) -> Counter[str]:
        return Counter(json.loads(line)["event"] for line in self.log)


@contextmanager
def limited(service: Path, redis: RedisServer, limit: str, *, workers: int = 1) -> Iterator[Limited]:
    # of a day, which does not end while a test runs, unless that is at midnight
    variables = {"RATE_LIMIT_DEFAULT": limit, "RATE_LIMIT_URL": redis.url}
    with served(service, COMMAND, workers=workers, variables=variables) as (process, port, log):
        assert process.stdout is not None
        threading.Thread(target=log.extend, args=[process.stdout], daemon=True).start()  # else the pipe fills up
        yield Limited(port, log)


@needs_redis
def test_of_five_hundred_at_once_a_hundred_are_let_in_by_four_processes(service: Path, redis: RedisServer) -> None:
    with limited(service, redis, "100/day", workers=4) as site, ThreadPoolExecutor(50) as threads:
        statuses = Counter(threads.map(lambda _: get(site.port, "/nothing").status, range(500)))

    assert statuses == {IN: 100, REFUSED: 400}


@needs_redis
def test_without_redis_everybody_is_let_in_and_with_it_the_limit_holds(service: Path, redis: RedisServer) -> None:
    with limited(service, redis, "5/day") as site:
        before = site.statuses(6)
        redis.stop()
        down = site.statuses(10)
        ready = site.client.get("/readyz")
        redis.start()  # with nothing: no counts, no script
        until(site.counts)
        after = site.statuses(5)

    assert before == [IN] * 5 + [REFUSED]
    assert down == [IN] * 10
    assert (ready.status_code, ready.json()["checks"]) == (200, {"rate_limit": "degraded"})
    assert after == [IN] * 4 + [REFUSED]
    assert site.events()["redis.gone"] == 1


@needs_redis
def test_a_restart_between_requests_loses_the_script_and_no_request(service: Path, redis: RedisServer) -> None:
    with limited(service, redis, "5/day") as site:
        site.statuses(5)
        redis.restart()
        statuses = site.statuses(2)
        until(site.counts)
        after = site.statuses(5)

    assert statuses == [IN] * 2
    assert after[-1] == REFUSED


@needs_redis
def test_a_frozen_redis_is_waited_for_once_and_not_long(service: Path, redis: RedisServer) -> None:
    with limited(service, redis, "5/day") as site:
        site.statuses(6)
        redis.freeze()
        frozen = [site.ask() for _ in range(20)]
        redis.thaw()
        until(site.counts)
        after = site.ask()

    late = [response.elapsed.total_seconds() for response in frozen]
    assert [response.status_code for response in frozen] == [IN] * 20
    assert max(late) < LATE
    assert median(late) < 0.04  # nobody else has waited
    assert after.status_code == REFUSED
    assert site.events()["redis.gone"] == 1


FLOOD = """
import asyncio, random, psutil
from app.context import RequestContext, current
from app.main import app
from app.rate_limit.middleware import RateLimitMiddleware

def rss():
    return psutil.Process().memory_info().rss / 1e6

async def main():
    (limiter,) = [each for each in app.user_middleware if each.cls is RateLimitMiddleware]
    async def nothing(*_): ...
    middleware = limiter.cls(nothing, **limiter.kwargs)
    before, most, chance = rss(), 0, random.Random(1)
    for number in range(1_000_000):
        address = ".".join(str(chance.randrange(256)) for _ in range(4))
        current.set(RequestContext("a"))
        await middleware({"type": "http", "path": "/", "client": (address, 1)}, nothing, nothing)
        if number % 20_000 == 0:
            most = max(most, rss())
    print(max(most, rss()) - before)  # megabytes

asyncio.run(main())
"""


@pytest.mark.parametrize("period", ["second", "day"])
def test_a_million_addresses_take_fifty_megabytes_at_most(service: Path, period: str) -> None:
    variables = {"SERVICE_ENVIRONMENT": "test", "RATE_LIMIT_DEFAULT": f"100/{period}"}

    flooded = run(service, sys.executable, "-c", FLOOD, check=True, variables=variables)

    assert 1 < float(flooded.stdout) < 50
