"""Rates are asked for by the clock."""

from http import HTTPStatus

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Sessions
from app.main import create_app
from app.rates.tasks import refresh
from app.tasks import Task, enqueue
from app.tasks.models import TaskState
from app.tasks.runner import Runner
from tests.fixtures.http import Upstream, connect

KNOWN = '{"base": "EUR", "rates": {"GBP": 0.88}}'
UNKNOWN = '{"message": "not found"}'


@pytest.fixture
async def ordered(session: AsyncSession) -> Task:
    task = await enqueue(session, refresh)
    await session.commit()
    return task


async def run(app: FastAPI, sessions: Sessions, task: Task) -> None:
    async with connect(app):
        await Runner(app, {**app.state.opened, "sessions": sessions}).run(task.id)


async def test_every_currency_that_is_named_is_asked_for(
    upstream: Upstream, ordered: Task, session: AsyncSession, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start(KNOWN))
    monkeypatch.setenv("RATES_BASES", "EUR")

    await run(create_app(), sessions, ordered)

    await session.refresh(ordered)
    assert (ordered.state, ordered.result) == (TaskState.SUCCEEDED, ["EUR"])
    assert upstream.asked == ["/latest?base=EUR"]


async def test_a_currency_that_nobody_knows_keeps_none_from_the_others(
    upstream: Upstream, ordered: Task, session: AsyncSession, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await upstream.start(UNKNOWN, status=HTTPStatus.NOT_FOUND)
    monkeypatch.setenv("RATES_FRANKFURTER_URL", url)
    monkeypatch.setenv("RATES_BASES", "XXX,XXY")

    await run(create_app(), sessions, ordered)

    await session.refresh(ordered)
    assert (ordered.state, ordered.result) == (TaskState.SUCCEEDED, [])
    assert len(upstream.asked) == 2


async def test_where_nobody_answers_it_is_tried_again(
    gone: str, ordered: Task, session: AsyncSession, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_FRANKFURTER_URL", gone)
    monkeypatch.setenv("RATES_BASES", "EUR")
    monkeypatch.setenv("HTTP_CLIENT_ATTEMPTS", "1")

    await run(create_app(), sessions, ordered)

    await session.refresh(ordered)
    assert ordered.state == TaskState.RETRYING


async def test_where_none_is_named_nobody_is_asked(ordered: Task, session: AsyncSession, sessions: Sessions) -> None:
    await run(create_app(), sessions, ordered)

    await session.refresh(ordered)
    assert (ordered.state, ordered.result) == (TaskState.SUCCEEDED, [])
