"""The full service with a real PostgreSQL, which is stopped, frozen, restarted and killed under it."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from tests.combinations import FULL
from tests.conftest import GIVEN, Render
from tests.postgresql import PostgreSQL
from tests.serving import STOPPED, served

SECONDS = 5.0
"""How long an answer may take when the database has trouble."""

POOL = 15

COMMAND = [sys.executable, "-m", "app.serve"]


@pytest.fixture(scope="module")
def project(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("servers") / "service"
    shutil.copytree(render(FULL), folder, ignore=shutil.ignore_patterns("__pycache__", ".suite.log"))
    return folder


@pytest.fixture
def postgres() -> Iterator[PostgreSQL]:
    """A server that no other test uses."""
    server = PostgreSQL()
    yield server
    server.close()


def alembic(project: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": url, "SERVICE_ENVIRONMENT": "development"}
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@dataclass
class Service:
    url: str
    process: subprocess.Popen[str]
    database: str

    def create(self, name: str | None = None) -> httpx2.Response:
        item = {"name": name or uuid4().hex, "price_cents": 1}
        return httpx2.post(f"{self.url}/v1/items", json=item, timeout=30)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=30)

    def create_many(self, number: int) -> list[httpx2.Response]:
        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(lambda _: self.create(), range(number)))


@pytest.fixture
def service(project: Path, postgres: PostgreSQL) -> Iterator[Service]:
    database = postgres.create()
    assert alembic(project, database, "upgrade", "head").returncode == 0
    with served(project, COMMAND, variables={"DATABASE_URL": database}) as (process, port, _):
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()  # else it blocks when the pipe is full
        yield Service(f"http://127.0.0.1:{port}", process, database)


def is_unavailable(response: httpx2.Response) -> bool:
    return (
        response.status_code == 503
        and response.headers["Retry-After"] == "1"
        and response.headers["Content-Type"] == "application/problem+json"
        and response.json()["type"] == "/problems/database_unavailable"
        and response.elapsed.total_seconds() < SECONDS
    )


def stored(postgres: PostgreSQL, service: Service) -> set[str]:
    return {row["name"] for row in postgres.execute("SELECT name FROM items", service.database)}


@contextmanager
def locked(database: str) -> Iterator[None]:
    """Keep everybody from the table."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(database))
    loop.run_until_complete(connection.execute("BEGIN; LOCK TABLE items"))
    yield
    loop.run_until_complete(connection.close())
    loop.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "It has not come about."
        time.sleep(0.02)


def activity(postgres: PostgreSQL) -> list[str]:
    """Return the states of the service's connections."""
    rows = postgres.execute("SELECT state FROM pg_stat_activity WHERE application_name = 'my-service'")
    return [row["state"] for row in rows]


def test_a_database_that_is_stopped_is_found_again(service: Service, postgres: PostgreSQL) -> None:
    before = service.create_many(POOL)
    postgres.stop()
    down = [*service.create_many(30), service.get("/v1/items"), service.get("/v1/items/export")]
    ready = service.get("/readyz")
    alive = service.get("/livez")
    postgres.start()
    after = [service.create(), service.get("/v1/items"), service.get("/readyz")]

    assert [response.status_code for response in before] == [201] * POOL
    assert all(is_unavailable(response) for response in down)
    assert ready.status_code == 503
    assert ready.json()["checks"] == {"database": "fail", "migrations": "fail"}
    assert alive.status_code == 200
    assert [response.status_code for response in after] == [201, 200, 200]


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
    with locked(service.database), ThreadPoolExecutor(10) as threads:
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
    responses = under_load(service, postgres.stop, postgres.start)

    created = {name for name, response in responses.items() if response.status_code == 201}
    refused = [response for response in responses.values() if response.status_code != 201]
    assert [response for response in refused if not is_unavailable(response)] == []
    assert len(refused) > 0
    assert len(created) > 100
    assert stored(postgres, service) == created


def test_what_was_confirmed_survives_the_loss_of_the_database(service: Service, postgres: PostgreSQL) -> None:
    responses = under_load(service, postgres.kill, postgres.start)

    created = {name for name, response in responses.items() if response.status_code == 201}
    refused = [response for response in responses.values() if response.status_code != 201]
    assert [response for response in refused if not is_unavailable(response)] == []
    assert len(created) > 100
    assert created <= stored(postgres, service)


def under_load(service: Service, *disturb: Callable[[], None]) -> dict[str, httpx2.Response]:
    """Create items from eight sides, meanwhile disturb, and return every answer by the name of its item."""
    responses: dict[str, httpx2.Response] = {}
    over = threading.Event()

    def create() -> None:
        while not over.is_set():
            name = uuid4().hex
            responses[name] = service.create(name)

    with ThreadPoolExecutor(8) as threads:
        load = [threads.submit(create) for _ in range(8)]
        until(lambda: len(responses) > 200)
        for step in disturb:
            step()
        until(lambda: list(responses.values())[-1].status_code == 201)
        reached = len(responses)
        until(lambda: len(responses) > reached + 100)
        over.set()
    for each in load:
        each.result()
    return responses


def test_what_was_confirmed_survives_the_loss_of_the_service(service: Service, postgres: PostgreSQL) -> None:
    response = service.create("a")
    service.process.kill()

    assert response.status_code == 201
    assert stored(postgres, service) == {"a"}


def test_a_back_end_that_is_killed_in_mid_transaction_takes_it_along(service: Service, postgres: PostgreSQL) -> None:
    with locked(service.database), ThreadPoolExecutor(1) as threads:
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


def test_an_exhausted_pool_is_not_waited_for(service: Service, postgres: PostgreSQL) -> None:
    with locked(service.database):
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
        with httpx2.Client(base_url=service.url) as client:
            item = {"name": "a", "price_cents": 1}
            return {client.post("/v1/items", json=item).status_code for _ in range(times)}

    with ThreadPoolExecutor(20) as threads:
        statuses = set.union(*threads.map(fail, [500] * 20))

    assert statuses == {409}
    assert set(activity(postgres)) == {"idle"}
    assert [response.status_code for response in service.create_many(POOL)] == [201] * POOL


def test_it_starts_without_its_database_and_finds_it(project: Path, postgres: PostgreSQL) -> None:
    database = postgres.create()
    assert alembic(project, database, "upgrade", "head").returncode == 0
    postgres.stop()
    with served(project, COMMAND, variables={"DATABASE_URL": database}) as (process, port, _):
        service = Service(f"http://127.0.0.1:{port}", process, database)
        before = service.get("/readyz")
        postgres.start()
        after = service.get("/readyz")
        created = service.create()

    assert (before.status_code, after.status_code, created.status_code) == (503, 200, 201)


@pytest.mark.parametrize("name", ["nowhere", "postgres?user=nobody"])
def test_a_database_that_refuses_is_unavailable(project: Path, postgresql: PostgreSQL, name: str) -> None:
    database = f"postgresql://127.0.0.1:{postgresql.port}/{name}"
    with served(project, COMMAND, variables={"DATABASE_URL": database}) as (process, port, _):
        response = Service(f"http://127.0.0.1:{port}", process, database).create()

    assert is_unavailable(response)


def test_it_stops_when_told_although_its_database_is_frozen(service: Service, postgres: PostgreSQL) -> None:
    service.create_many(POOL)
    postgres.freeze()
    started = time.monotonic()
    service.process.terminate()
    service.process.wait(30)
    postgres.thaw()

    assert service.process.returncode in STOPPED
    assert time.monotonic() - started < 10


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, postgresql: PostgreSQL, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite:///{tmp_path / 'test.db'}" if request.param == "sqlite" else postgresql.create()


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A service whose files a test may change."""
    return shutil.copytree(project, tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_history_can_be_walked_up_and_down(project: Path, database: str) -> None:
    for step in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"], ["check"]):
        run = alembic(project, database, *step)
        assert run.returncode == 0, run.stderr


SLOW = """
import time

from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
    time.sleep(2)


def downgrade() -> None:
    op.drop_table("orders")
"""


def test_of_two_migrators_one_waits(copy: Path, database: str) -> None:
    (copy / "migrations" / "versions" / "0002_slow.py").write_text(SLOW, "utf-8")

    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: alembic(copy, database, "upgrade", "head"), range(2)))

    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert alembic(copy, database, "current", "--check-heads").returncode == 0


def test_a_migration_does_not_wait_for_a_table_without_end(copy: Path, postgresql: PostgreSQL) -> None:
    database = postgresql.create()
    assert alembic(copy, database, "upgrade", "head").returncode == 0
    added = SLOW.replace('op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))', ALTER)
    (copy / "migrations" / "versions" / "0002_slow.py").write_text(added, "utf-8")

    with locked(database):
        run = alembic(copy, database, "upgrade", "head")

    assert run.returncode == 1
    assert "lock timeout" in run.stderr


ALTER = 'op.add_column("items", sa.Column("weight", sa.Integer))'

COPIED = """
from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("item_id", sa.Uuid, sa.ForeignKey("items.id", ondelete="CASCADE")),
    )
    op.execute("INSERT INTO items VALUES ('a', 'a', NULL, 1, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)")
    op.execute("INSERT INTO labels VALUES (1, 'a')")
    with op.batch_alter_table("items", recreate="always") as items:
        items.alter_column("price_cents", nullable=True)
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM labels")) != 1:
        raise RuntimeError("the labels are gone")


def downgrade() -> None: ...
"""


def test_a_table_that_is_made_anew_keeps_the_rows_that_refer_to_it(copy: Path, tmp_path: Path) -> None:
    (copy / "migrations" / "versions" / "0002_copied.py").write_text(COPIED, "utf-8")

    run = alembic(copy, f"sqlite:///{tmp_path / 'test.db'}", "upgrade", "head")

    assert run.returncode == 0, run.stderr


def test_a_migration_that_fails_leaves_nothing(copy: Path, database: str) -> None:
    failing = SLOW.replace("time.sleep(2)", "raise RuntimeError")
    (copy / "migrations" / "versions" / "0002_failing.py").write_text(failing, "utf-8")

    failed = alembic(copy, database, "upgrade", "head")
    (copy / "migrations" / "versions" / "0002_failing.py").write_text(SLOW, "utf-8")
    mended = alembic(copy, database, "upgrade", "head")

    assert failed.returncode == 1
    assert mended.returncode == 0, mended.stderr


ORDER = """

class Order(Entity):
    __tablename__ = "orders"

    number: Mapped[str] = mapped_column(unique=True)
    shipped_at: Mapped[datetime | None]
"""


def test_a_new_model_is_missed_until_its_migration_is_written(copy: Path, tmp_path: Path) -> None:
    models = copy / "app" / "items" / "models.py"
    text = models.read_text("utf-8").replace(
        "from sqlalchemy import", "from datetime import datetime\n\nfrom sqlalchemy import"
    )
    models.write_text(text + ORDER, "utf-8")
    poe = [sys.executable, "-m", "poethepoet", "-q"]

    missed = command(copy, *SUITE, "tests/database/test_migrations.py")
    written = command(copy, *poe, "migration", "add orders")
    found = command(copy, *SUITE, "tests/database/test_migrations.py")
    linted = [
        command(copy, sys.executable, "-m", "ruff", *arguments) for arguments in (["check"], ["format", "--check"])
    ]

    assert missed.returncode == 1
    assert "New upgrade operations detected" in missed.stdout
    assert written.returncode == 0, written.stderr
    (file,) = (copy / "migrations" / "versions").glob("2*_add_orders_*.py")
    assert file.read_text("utf-8").startswith('"""Add orders.')
    assert found.returncode == 0, found.stdout
    assert [run.returncode for run in linted] == [0, 0], linted


def command(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        arguments, cwd=folder, env={**inherited, **variables}, capture_output=True, text=True, check=False
    )


SUITE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def test_the_suite_passes_on_postgresql(project: Path, postgresql: PostgreSQL) -> None:
    for url in [postgresql.create(), *GIVEN.values()]:
        run = command(project, *SUITE, TEST_DATABASE_URL=url)

        assert run.returncode == 0, run.stdout
        assert " passed" in run.stdout
        assert " skipped" not in run.stdout


@pytest.mark.parametrize("url", ["postgresql://postgres@127.0.0.1:1/service", "sqlite:////tests/service.db"])
def test_the_suite_refuses_a_database_that_is_not_for_tests(project: Path, url: str) -> None:
    run = command(project, *SUITE, TEST_DATABASE_URL=url)

    assert run.returncode != 0
    assert "its name must contain 'test'" in run.stdout + run.stderr
    assert " passed" not in run.stdout
