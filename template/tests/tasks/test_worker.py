"""A worker is the application without its server, and so is beat; what Celery tells them they are told here."""

import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from app.database import Sessions
from app.tasks import celery as entry
from app.tasks import enqueue, probe
from app.tasks.beat import Scheduler
from app.tasks.models import Message, TaskState
from app.tasks.worker import process
from tests.fixtures.logs import Logged
from tests.tasks.conftest import Stored
from tests.tasks.jobs import advance


@pytest.fixture
def celery(stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Celery in a process of a worker that has just begun; beat leaves its signs where it is no other's."""
    monkeypatch.setattr("app.tasks.beat.beats", tmp_path.joinpath)
    entry.start()
    yield entry.assemble()
    entry.stop()


@pytest.fixture
def sessions(engine: AsyncEngine) -> Sessions:
    """Whose commits are real."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def order(sessions: Sessions) -> str:
    async with sessions.begin() as session:
        return str((await enqueue(session, advance)).id)


async def test_it_runs_what_it_is_told_of(celery: Celery, sessions: Sessions, stored: Stored) -> None:
    result = celery.tasks["tests.advance"].apply(task_id=await order(sessions))

    assert result.successful()
    assert [task.state for task in await stored()] == [TaskState.SUCCEEDED]


async def test_what_is_in_no_table_is_dropped(celery: Celery) -> None:
    assert celery.tasks["tests.advance"].apply(task_id=str(uuid4())).successful()


async def test_what_could_not_be_stored_is_left_to_another(
    celery: Celery, sessions: Sessions, stored: Stored, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    async def fail(*_: object, lost: bool) -> None:
        raise ConnectionError

    monkeypatch.setattr("app.tasks.worker.PAUSE", 0)
    monkeypatch.setattr(process.runner, "run", fail)

    result = celery.tasks["tests.advance"].apply(task_id=await order(sessions))

    assert str(result.state) == "REJECTED"
    assert "tasks.run_failed" in [record["event"] for record in logged()]
    assert [task.state for task in await stored()] == [TaskState.PENDING]


class Broker:
    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.noted: list[Exception] = []
        self.gone = False

    async def send(self, orders: Sequence[Message]) -> None:
        if self.gone:
            raise ConnectionError
        self.sent.extend(orders)

    def note(self, error: Exception) -> None:
        self.noted.append(error)


@pytest.fixture
def broker(celery: Celery, monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setitem(process.opened, "tasks", broker)
    return broker


def due(celery: Celery) -> Scheduler:
    """Return beat when the task of three o'clock is due, and no other one."""
    scheduler = Scheduler(celery)
    nightly = scheduler.schedule["tests.nightly"]
    scheduler.schedule.clear()
    scheduler.apply_async(
        ScheduleEntry(**{**vars(nightly), "last_run_at": datetime(2026, 1, 1, 2, 59, 58, tzinfo=UTC)})
    )
    return scheduler


async def test_what_is_due_by_the_clock_is_stored_once(celery: Celery, broker: Broker, stored: Stored) -> None:
    for scheduler in (due(celery), due(celery)):
        scheduler.tick()

    [task] = await stored()
    assert (task.name, task.key, task.state) == ("tests.nightly", "2026-01-01T03:00", TaskState.PENDING)


async def test_what_could_not_be_stored_when_it_was_due_is_stored_later(
    celery: Celery, broker: Broker, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("app.tasks.beat.PAUSE", 0)
    scheduler = due(celery)
    with monkeypatch.context() as patch:
        patch.setattr("app.tasks.beat.store_scheduled", fail)
        scheduler.tick()
    assert await stored() == []

    scheduler.tick()

    assert [task.key for task in await stored()] == ["2026-01-01T03:00"]
    assert [type(error) for error in broker.noted] == [ConnectionError]


async def test_beat_hands_over_what_nobody_has(
    celery: Celery, broker: Broker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.tasks.outbox.HEAD_START", timedelta(0))
    monkeypatch.setattr("app.tasks.beat.PAUSE", 0)
    id = await order(sessions)
    scheduler = Scheduler(celery)

    broker.gone = True
    scheduler.tick()
    broker.gone = False
    scheduler.tick()

    assert [type(error) for error in broker.noted] == [ConnectionError]
    assert [str(message.id) for message in broker.sent] == [id]


def test_without_a_broker_a_worker_does_not_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        entry.need_broker()

    assert caught.value.code == 78
    assert "TASKS_BROKER_URL" in capsys.readouterr().err


def test_a_setting_that_is_wrong_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_BROKER_URL", "http://hunter2")

    with pytest.raises(SystemExit) as caught:
        entry.assemble()

    assert caught.value.code == 78
    printed = capsys.readouterr().err
    assert "TASKS_BROKER_URL" in printed
    assert "hunter2" not in printed


def test_its_own_line_is_the_only_one_of_a_task() -> None:
    entry.configure_logs()

    assert not logging.getLogger("celery.app.trace").isEnabledFor(logging.INFO)


def test_the_health_check_hears_its_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alive = tmp_path / "worker"
    monkeypatch.setattr(probe, "beats", lambda program: alive)
    monkeypatch.setattr(entry, "beats", lambda program: alive)

    before = probe.main()
    entry.live()
    beating = probe.main()
    os.utime(alive, (0, 0))
    silent = probe.main()

    assert (before, beating, silent) == (1, 0, 1)
    assert "has not begun" in (printed := capsys.readouterr().err)
    assert "has been silent for" in printed
