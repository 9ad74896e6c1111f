"""In development tasks run in the service itself, and what was broken off there runs after its next start."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from app.main import create_app
from app.settings import Environment
from app.tasks import in_process
from app.tasks.attempts import Attempts, Claim
from app.tasks.models import TaskState
from app.tasks.repository import TaskRepository
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged
from tests.tasks.conftest import Stored, until
from tests.tasks.jobs import Gate


@pytest.fixture
def service(service: FastAPI, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr(in_process, "PAUSE", 0.01)
    settings = service.state.tasks_settings
    service.state.tasks_settings = settings.model_copy(update={"environment": Environment.DEVELOPMENT})
    return service


async def until_they_are(stored: Stored, *wanted: tuple[TaskState, int]) -> None:
    """Wait for these states and attempts of all tasks, the oldest first."""

    async def reached() -> bool:
        return [(task.state, task.attempts) for task in await stored()] == [*wanted]

    await until(reached)


async def test_it_runs_as_soon_as_it_is_stored(service: FastAPI, stored: Stored) -> None:
    async with connect(service) as client:
        await client.post("/tests/advance", json={})
        await until_they_are(stored, (TaskState.SUCCEEDED, 1))


async def test_what_is_broken_off_runs_after_the_next_start(service: FastAPI, stored: Stored) -> None:
    Gate.opened = asyncio.Event()
    async with connect(service) as client:
        await client.post("/tests/pass", json={})
        await until_they_are(stored, (TaskState.RUNNING, 1))
    await until_they_are(stored, (TaskState.PENDING, 0))

    Gate.opened = asyncio.Event()
    Gate.opened.set()
    async with connect(service):
        await until_they_are(stored, (TaskState.SUCCEEDED, 1))


async def test_what_is_broken_off_as_it_begins_does_not_count(
    service: FastAPI, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, goes_on = asyncio.Event(), asyncio.Event()

    class SlowAttempts(Attempts):
        async def claim(self, id: UUID, number: int, *, lost: bool) -> Claim | None:
            claim = await super().claim(id, number, lost=lost)
            claimed.set()
            await goes_on.wait()
            return claim

    monkeypatch.setattr("app.tasks.runner.Attempts", SlowAttempts)
    async with connect(service) as client:
        await client.post("/tests/advance", json={})
        await asyncio.wait_for(claimed.wait(), 10)
        asyncio.get_running_loop().call_later(0.01, goes_on.set)

    await until_they_are(stored, (TaskState.PENDING, 0))


@pytest.mark.usefixtures("stored")
async def test_a_task_that_does_not_end_when_told_to_does_not_keep_it_from_ending(
    service: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def go_on(*_: object) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr("app.tasks.runner.Runner.run", go_on)
    async with asyncio.timeout(10), connect(service) as client:
        await client.post("/tests/advance", json={})
        await begun.wait()


async def test_a_database_that_is_gone_does_not_keep_it_from_ending(
    service: FastAPI, stored: Stored, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    async def fail(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(Attempts, "put_back", fail)
    Gate.opened = asyncio.Event()
    async with asyncio.timeout(10), connect(service) as client:
        await client.post("/tests/pass", json={})
        await until_they_are(stored, (TaskState.RUNNING, 1))

    assert "tasks.run_failed" in [line["event"] for line in logged()]


async def test_nobody_waits_for_one_that_takes_long(service: FastAPI, stored: Stored) -> None:
    Gate.opened = asyncio.Event()
    async with connect(service) as client:
        await client.post("/tests/pass", json={})
        await until_they_are(stored, (TaskState.RUNNING, 1))
        await client.post("/tests/advance", json={})
        await until_they_are(stored, (TaskState.RUNNING, 1), (TaskState.SUCCEEDED, 1))


async def test_it_goes_on_when_the_database_is_there_again(
    service: FastAPI, stored: Stored, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    async def fail(*_: object) -> None:
        raise ConnectionError

    async def failed() -> bool:
        events.update(record["event"] for record in logged())
        return {"tasks.relay_failed", "tasks.run_failed"} <= events

    events: set[str] = set()
    async with connect(service) as client:
        with monkeypatch.context() as patch:
            patch.setattr(in_process, "relay", fail)
            patch.setattr("app.tasks.runner.Runner.run", fail)
            await client.post("/tests/advance", json={})
            await until(failed)
        monkeypatch.setattr("app.tasks.relay.SENDING", timedelta(0))
        async with async_sessionmaker(engine).begin() as session:
            await TaskRepository(session).hasten()
        await until_they_are(stored, (TaskState.SUCCEEDED, 1))


async def test_a_test_says_itself_when_tasks_run() -> None:
    app = create_app()

    async with connect(app):
        assert "tasks" not in app.state.opened
