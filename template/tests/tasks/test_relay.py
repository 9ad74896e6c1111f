"""Whatever was not handed over, or has been lost since, is handed over again; what ended long ago is forgotten."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Sessions
from app.tasks import Task, enqueue
from app.tasks import relay as module
from app.tasks.models import Message, TaskState
from app.tasks.relay import relay
from tests.fixtures.logs import Logged
from tests.tasks.jobs import build

PAST = datetime.now(UTC) - timedelta(seconds=1)


class Sent(list[Message]):
    async def __call__(self, orders: Sequence[Message]) -> None:
        self.extend(orders)


async def ordered(session: AsyncSession, state: TaskState, due_at: datetime = PAST) -> Task:
    task = await enqueue(session, build, "first")
    task.state, task.due_at = state, due_at
    await session.commit()
    return task


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.QUEUED, TaskState.RUNNING, TaskState.RETRYING])
async def test_what_is_due_is_handed_over_once(session: AsyncSession, sessions: Sessions, state: TaskState) -> None:
    task = await ordered(session, state)
    sent = Sent()

    await relay(sessions, sent)
    await relay(sessions, sent)

    await session.refresh(task)
    assert sent == [Message(task.id, "tests.build", "default", 1)]
    assert task.state == TaskState.QUEUED


async def test_whoever_has_ordered_it_comes_first(session: AsyncSession, sessions: Sessions) -> None:
    await enqueue(session, build, "first")
    await session.commit()
    sent = Sent()

    await relay(sessions, sent)

    assert sent == []


async def test_what_cannot_be_sent_is_sent_next_time(session: AsyncSession, sessions: Sessions) -> None:
    task = await ordered(session, TaskState.PENDING)

    async def fail(orders: Sequence[Message]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await relay(sessions, fail)

    await session.refresh(task)
    assert task.state == TaskState.PENDING
    sent = Sent()
    await relay(sessions, sent)
    assert [message.id for message in sent] == [task.id]


@pytest.mark.parametrize(("days", "state"), [(0.5, TaskState.PENDING), (2, TaskState.FAILED)])
async def test_what_nobody_knows_any_more_is_given_up_some_time(
    session: AsyncSession, sessions: Sessions, logged: Logged, days: float, state: TaskState
) -> None:
    task = await ordered(session, TaskState.PENDING)
    task.name, task.created_at = "tests.gone", datetime.now(UTC) - timedelta(days=days)
    await session.commit()
    sent = Sent()

    await relay(sessions, sent)

    await session.refresh(task)
    assert sent == []
    assert task.state == state
    assert task.due_at > datetime.now(UTC)
    assert ("tasks.given_up" in [line["event"] for line in logged()]) == (state == TaskState.FAILED)


async def test_a_worker_that_is_lost_is_named(session: AsyncSession, sessions: Sessions, logged: Logged) -> None:
    task = await ordered(session, TaskState.RUNNING)

    await relay(sessions, Sent())

    assert [(line["event"], line["id"]) for line in logged()] == [("tasks.lost", str(task.id))]


@pytest.mark.parametrize("state", [TaskState.SUCCEEDED, TaskState.FAILED])
async def test_what_ended_long_ago_is_forgotten(session: AsyncSession, sessions: Sessions, state: TaskState) -> None:
    await ordered(session, state)
    young = await ordered(session, state, datetime.now(UTC) + timedelta(days=1))
    sent = Sent()

    await relay(sessions, sent)

    assert sent == []
    assert [*await session.scalars(select(Task.id))] == [young.id]


async def test_it_says_whether_there_is_more(
    session: AsyncSession, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    for _ in range(3):
        await ordered(session, TaskState.PENDING)
    sent = Sent()

    more = [await relay(sessions, sent), await relay(sessions, sent)]

    assert more == [True, False]
    assert len(sent) == 3
