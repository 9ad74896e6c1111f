"""The full service with a real PostgreSQL, which is stopped, frozen, restarted and killed under it."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.conftest import GIVEN, suites
from tests.postgresql import PostgreSQL
from tests.redis_server import RedisServer, needs_redis
from tests.serving import COMMAND, POOL, STOPPED, SUITE, Service, activity, run, serve, served, stored, until

SECONDS = 5.0
"""How long an answer may take when the database has trouble."""


def is_unavailable(response: httpx2.Response) -> bool:
    return (
        response.status_code == 503
        and response.headers["Retry-After"] == "1"
        and response.headers["Content-Type"] == "application/problem+json"
        and response.json()["type"] == "/problems/database_unavailable"
        and response.elapsed.total_seconds() < SECONDS
    )


def test_a_database_that_is_stopped_is_found_again(service: Service, postgres: PostgreSQL) -> None:
    before = service.create_many(POOL)
    postgres.stop()
    down = [*service.create_many(30), service.get("/v1/items"), service.get("/v1/items/export")]
    ready = service.get("/readyz")
    alive = service.get("/livez")
    postgres.start()
    after = [service.create(), service.get("/v1/items")]
    until(lambda: service.get("/readyz").status_code == 200)  # which is asked again every two seconds

    assert [response.status_code for response in before] == [201] * POOL
    assert all(is_unavailable(response) for response in down)
    assert ready.status_code == 503
    assert ready.json()["checks"] == {"database": "fail", "migrations": "fail", "tasks": "degraded"}
    assert alive.status_code == 200
    assert [response.status_code for response in after] == [201, 200]


def test_a_restart_between_requests_is_not_noticed(service: Service, postgres: PostgreSQL) -> None:
    before = service.create_many(POOL)
    postgres.stop()
    postgres.start()
    after = service.create_many(POOL)

    assert [response.status_code for response in [*before, *after]] == [201] * 2 * POOL


def test_a_frozen_database_is_not_waited_for(service: Service, postgres: PostgreSQL) -> None:
    before = service.create_many(POOL)
    postgres.freeze()
    frozen = [*service.create_many(40), *service.create_many(3), service.get("/v1/items/export")]
    ready = service.get("/readyz")
    alive = service.get("/livez")
    postgres.thaw()
    after = service.create()
    many = service.create_many(40)

    assert [response.status_code for response in before] == [201] * POOL
    assert [response for response in frozen if not is_unavailable(response)] == []
    assert ready.status_code == 503
    assert ready.elapsed.total_seconds() < 2
    assert alive.elapsed.total_seconds() < 0.5
    assert after.status_code == 201
    assert [response.status_code for response in many] == [201] * 40
    assert len(activity(postgres)) <= POOL


def test_a_database_that_freezes_in_mid_statement_is_not_waited_for(service: Service, postgres: PostgreSQL) -> None:
    with postgres.locked(service.database), ThreadPoolExecutor(10) as threads:
        waiting = [threads.submit(service.create) for _ in range(10)]
        until(lambda: activity(postgres).count("active") == 10)
        postgres.freeze()
        responses = [answer.result() for answer in waiting]
        postgres.thaw()

    assert [response for response in responses if not is_unavailable(response)] == []
    assert service.create().status_code == 201
    until(lambda: set(activity(postgres)) == {"idle"})
    assert len(stored(postgres, service)) == 1


def test_a_restart_under_load_loses_and_invents_nothing(service: Service, postgres: PostgreSQL) -> None:
    created, refused = under_load(service, postgres.stop, postgres.start)

    assert [response for response in refused if not is_unavailable(response)] == []
    assert len(refused) > 0
    assert len(created) > 100
    assert stored(postgres, service) == created


def test_what_was_confirmed_survives_the_loss_of_the_database(service: Service, postgres: PostgreSQL) -> None:
    created, refused = under_load(service, postgres.kill, postgres.start)

    assert [response for response in refused if not is_unavailable(response)] == []
    assert len(created) > 100
    assert created <= stored(postgres, service)


def under_load(service: Service, *disturb: Callable[[], None]) -> tuple[set[str], list[httpx2.Response]]:
    """Create items from eight sides, meanwhile disturb; return the names that were confirmed, and the other answers."""
    responses: dict[str, httpx2.Response] = {}
    over = threading.Event()

    def create() -> None:
        while not over.is_set():
            name = uuid4().hex
            responses[name] = service.create(name)

    with ThreadPoolExecutor(8) as threads:
        load = [threads.submit(create) for _ in range(8)]
        try:
            until(lambda: len(responses) > 200)
            for step in disturb:
                step()
            until(lambda: list(responses.values())[-1].status_code == 201)
            reached = len(responses)
            until(lambda: len(responses) > reached + 100)
        finally:
            over.set()
    for each in load:
        each.result()
    created = {name for name, response in responses.items() if response.status_code == 201}
    return created, [response for name, response in responses.items() if name not in created]


def test_what_was_confirmed_survives_the_loss_of_the_service(service: Service, postgres: PostgreSQL) -> None:
    response = service.create("a")
    service.process.kill()

    assert response.status_code == 201
    assert stored(postgres, service) == {"a"}


def test_a_back_end_that_is_killed_in_mid_transaction_takes_it_along(service: Service, postgres: PostgreSQL) -> None:
    with postgres.locked(service.database), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(service.create)
        until(lambda: "active" in activity(postgres))
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'my-service' AND state = 'active'"
        )
        response = waiting.result()

    assert is_unavailable(response)
    assert stored(postgres, service) == set()
    assert service.create().status_code == 201


def test_an_export_that_takes_too_long_is_broken_off_by_the_server(full: Path, postgresql: PostgreSQL) -> None:
    database = postgresql.create()
    script = """
import asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import async_sessionmaker
from app.database import DatabaseSettings, create_engine

async def main():
    async with async_sessionmaker(create_engine(DatabaseSettings()))() as session:
        try:
            rows = await session.stream(text("SELECT pg_sleep(0.1) FROM generate_series(1, 100)"))
            await rows.all()
        except DBAPIError as error:
            print(error.orig.sqlstate)

asyncio.run(main())
"""
    ended = run(full, sys.executable, "-c", script, variables={"DATABASE_URL": database})

    assert ended.stdout.strip() == "57014", ended.stderr


def test_an_exhausted_pool_is_not_waited_for(service: Service, postgres: PostgreSQL) -> None:
    with postgres.locked(service.database):
        responses = service.create_many(3 * POOL)
        alive = service.get("/livez")

    assert [response for response in responses if not is_unavailable(response)] == []
    assert alive.status_code == 200
    assert service.create().status_code == 201
    until(lambda: set(activity(postgres)) == {"idle"})
    assert len(activity(postgres)) <= POOL


def test_ten_thousand_failures_keep_no_connection(service: Service, postgres: PostgreSQL) -> None:
    service.create("a")

    def fail(times: int) -> set[int]:
        with httpx2.Client(base_url=service.url, headers=service.headers) as client:
            item = {"name": "a", "price_cents": 1}
            return {client.post("/v1/items", json=item).status_code for _ in range(times)}

    with ThreadPoolExecutor(20) as threads:
        statuses = set.union(*threads.map(fail, [500] * 20))

    assert statuses == {409}
    assert set(activity(postgres)) == {"idle"}
    assert [response.status_code for response in service.create_many(POOL)] == [201] * POOL


def test_it_starts_without_its_database_and_finds_it(full: Path, postgres: PostgreSQL) -> None:
    with serve(full, postgres) as earlier:
        database, headers = earlier.database, earlier.headers
    postgres.stop()
    with served(full, COMMAND, variables={"DATABASE_URL": database}) as (process, port, _):
        service = Service(f"http://127.0.0.1:{port}", process, database, headers)
        before = service.get("/readyz")
        refused = service.create()
        postgres.start()
        created = service.create()
        until(lambda: service.get("/readyz").status_code == 200)

    assert (before.status_code, created.status_code) == (503, 201)
    assert is_unavailable(refused)


@pytest.mark.parametrize("name", ["nowhere", "postgres?user=nobody"])
def test_a_database_that_refuses_is_unavailable(full: Path, postgresql: PostgreSQL, name: str) -> None:
    with serve(full, postgresql) as other:
        headers = other.headers
    database = f"postgresql://127.0.0.1:{postgresql.port}/{name}"
    with served(full, COMMAND, variables={"DATABASE_URL": database}) as (process, port, _):
        response = Service(f"http://127.0.0.1:{port}", process, database, headers).create()

    assert is_unavailable(response)


def test_a_migration_under_load_is_no_fault(service: Service, postgres: PostgreSQL) -> None:
    service.create()
    before = [service.get("/v1/items").status_code for _ in range(5)]
    postgres.execute("ALTER TABLE items ALTER COLUMN description TYPE text", service.database)
    after = [service.get("/v1/items").status_code for _ in range(5)]

    assert before == [200] * 5
    assert set(after) <= {200, 503}
    assert after[-1] == 200


def test_it_stops_when_told_although_its_database_is_frozen(service: Service, postgres: PostgreSQL) -> None:
    service.create_many(POOL)
    postgres.freeze()
    started = time.monotonic()
    service.process.terminate()
    service.process.wait(30)
    postgres.thaw()

    assert service.process.returncode in STOPPED
    assert time.monotonic() - started < 10


def test_the_suite_passes_on_postgresql(full: Path, postgresql: PostgreSQL) -> None:
    url = GIVEN.get("TEST_DATABASE_URL") or postgresql.create()

    with suites(TEST_DATABASE_URL=url) as suite:
        code, output = suite(full)

    assert code == 0, output
    assert " passed" in output
    assert " skipped" not in output


@needs_redis
def test_what_uses_redis_passes_on_a_real_one(full: Path, redis: RedisServer) -> None:
    tests = ["tests/cache", "tests/items", "tests/rate_limit", "tests/rates", "tests/redis"]

    tested = run(full, *SUITE, *tests, variables={"TEST_REDIS_URL": GIVEN.get("TEST_REDIS_URL", redis.url)})

    assert tested.returncode == 0, tested.stdout
    assert " skipped" not in tested.stdout


@pytest.mark.parametrize("url", ["postgresql://postgres@127.0.0.1:1/service", "sqlite:////tests/service.db"])
def test_the_suite_refuses_a_database_that_is_not_for_tests(full: Path, url: str) -> None:
    tested = run(full, *SUITE, variables={"TEST_DATABASE_URL": url})

    assert tested.returncode != 0
    assert "its name must contain 'test'" in tested.stdout + tested.stderr
    assert " passed" not in tested.stdout
