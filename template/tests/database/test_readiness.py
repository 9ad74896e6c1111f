"""The service is ready when its tables are those of its code, or newer."""

from collections.abc import AsyncGenerator, Iterable
from http import HTTPStatus
from pathlib import Path

import pytest
from httpx2 import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import readiness
from app.main import create_app
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged

MIGRATION = """\
revision: str = "{revision}"
down_revision: str | tuple[str, ...] | None = {before!r}
"""


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A history of its own: `b` follows `a`."""
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(MIGRATION.format(revision="a", before=None), "utf-8")
    (folder / "b.py").write_text(MIGRATION.format(revision="b", before="a"), "utf-8")
    monkeypatch.setattr(readiness, "ROOT", tmp_path)
    return folder


async def apply(engine: AsyncEngine, revisions: Iterable[str]) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        for revision in revisions:
            await connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


@pytest.fixture
async def applied(engine: AsyncEngine, anyio_backend: str) -> AsyncGenerator[AsyncEngine]:
    """For tests that change what has been applied."""
    async with engine.connect() as connection:
        before = await connection.run_sync(readiness.revisions)
    yield engine
    await apply(engine, before)


async def test_it_is_ready_when_everything_is_applied(client: AsyncClient) -> None:
    response = await client.get("/readyz")

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {"status": "ok", "checks": {"database": "ok", "migrations": "ok"}}


@pytest.mark.parametrize(
    ("revisions", "status", "state"),
    [
        (["b"], HTTPStatus.OK, "ok"),
        (["a"], HTTPStatus.SERVICE_UNAVAILABLE, "fail"),
        ([], HTTPStatus.SERVICE_UNAVAILABLE, "fail"),
        (["c"], HTTPStatus.OK, "degraded"),
    ],
    ids=["up to date", "behind", "empty", "ahead"],
)
async def test_it_is_ready_unless_the_database_is_behind(
    versions: Path, applied: AsyncEngine, revisions: list[str], status: HTTPStatus, state: str
) -> None:
    await apply(applied, revisions)

    async with connect(create_app()) as client:
        response = await client.get("/readyz")

    assert response.status_code == status
    assert response.json() == {"status": state, "checks": {"database": "ok", "migrations": state}}


async def test_the_log_says_what_is_missing(logged: Logged, versions: Path, applied: AsyncEngine) -> None:
    await apply(applied, ["a"])

    async with connect(create_app()) as client:
        await client.get("/readyz")

    (line,) = [line for line in logged() if line["event"] == "health.check_failed"]
    assert "['b']" in line["error"]


async def test_a_database_without_any_migration_is_behind(versions: Path, applied: AsyncEngine) -> None:
    async with applied.begin() as connection:
        await connection.execute(text("ALTER TABLE alembic_version RENAME TO elsewhere"))

    async with connect(create_app()) as client:
        response = await client.get("/readyz")
    async with applied.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO alembic_version"))

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE


async def test_two_branches_and_their_merge_are_one_history(versions: Path) -> None:
    (versions / "c.py").write_text(MIGRATION.format(revision="c", before="a"), "utf-8")
    branched = readiness.history(versions)
    (versions / "d.py").write_text(MIGRATION.format(revision="d", before=("b", "c")), "utf-8")
    merged = readiness.history(versions)

    assert branched == ({"a", "b", "c"}, {"b", "c"})
    assert merged == ({"a", "b", "c", "d"}, {"d"})


def test_what_another_branch_depends_on_is_no_head(versions: Path) -> None:
    (versions / "c.py").write_text('revision = "c"\ndown_revision = None\ndepends_on = "b"\n', "utf-8")

    assert readiness.history(versions) == ({"a", "b", "c"}, {"c"})


async def test_connections_that_are_all_busy_are_no_failure(
    monkeypatch: pytest.MonkeyPatch, engine: AsyncEngine
) -> None:
    monkeypatch.setenv("DATABASE_POOL_SIZE", "1")
    service = create_app()

    async with connect(service) as client, service.state.database_engine.connect():
        response = await client.get("/readyz")

    assert response.json()["checks"]["database"] == "ok"


def test_a_service_without_tables_has_no_history(tmp_path: Path) -> None:
    assert readiness.history(tmp_path) == (set(), set())
