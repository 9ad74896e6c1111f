"""What is ordered goes to the broker by itself, and no request waits for that."""

from http import HTTPStatus
from uuid import uuid4

import pytest
from celery import Celery
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from app.database import Sessions
from app.health import State
from app.tasks import broker as module
from app.tasks import enqueue
from app.tasks.broker import Broker, open_broker
from app.tasks.configuration import create_celery
from app.tasks.models import Message, TaskState
from app.tasks.settings import TasksSettings
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged
from tests.tasks.conftest import Stored, until
from tests.tasks.jobs import build


@pytest.fixture
def celery() -> Celery:
    """With a broker within this process."""
    celery = create_celery(TasksSettings())
    celery.conf.update(broker_url="memory://", broker_transport_options={})
    return celery


@pytest.fixture
def gone(celery: Celery) -> Celery:
    celery.conf.update(broker_url="amqp://127.0.0.1:1")
    return celery


@pytest.fixture
def sessions(engine: AsyncEngine) -> Sessions:
    """Whose commits are real."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def order(sessions: Sessions) -> Message:
    async with sessions.begin() as session:
        task = await enqueue(session, build, "canary")
    return task.message()


async def until_queued(stored: Stored) -> None:
    async def queued() -> bool:
        return {task.state for task in await stored()} == {TaskState.QUEUED}

    await until(queued)


async def test_it_is_with_the_broker_soon_after_the_commit(celery: Celery, sessions: Sessions, stored: Stored) -> None:
    ordered = await order(sessions)

    async with open_broker(celery, lambda: sessions) as broker:
        await broker.hand_over(ordered)
        await until_queued(stored)
        with celery.connection_for_read() as connection:
            message = connection.SimpleQueue(celery.amqp.queues["default"].name).get(timeout=5)

    assert (message.headers["task"], message.headers["id"]) == ("tests.build", str(ordered.id))
    assert "canary" not in str(message.body)
    assert "canary" not in str(message.headers)


@pytest.mark.parametrize(("queue", "where"), [("plans", "plans"), ("gone", "default")])
async def test_it_is_in_its_queue_as_long_as_there_is_one(celery: Celery, queue: str, where: str) -> None:
    await Broker(celery).send([Message(uuid4(), "tests.plan", queue, 0)])

    with celery.connection_for_read() as connection:
        message = connection.SimpleQueue(celery.amqp.queues[where].name).get(timeout=5)
    assert message.headers["task"] == "tests.plan"


async def test_what_waits_is_sent_together(
    celery: Celery, sessions: Sessions, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    async def send(orders: list[Message]) -> None:
        batches.append(len(orders))

    ordered = [await order(sessions) for _ in range(3)]
    async with open_broker(celery, lambda: sessions) as broker:
        monkeypatch.setattr(broker, "send", send)
        for each in ordered:
            await broker.hand_over(each)
        await until_queued(stored)

    assert batches == [3]


async def test_without_its_broker_it_stays_for_the_relay(
    gone: Celery, sessions: Sessions, stored: Stored, logged: Logged
) -> None:
    ordered = [await order(sessions) for _ in range(2)]

    async with open_broker(gone, lambda: sessions) as broker:

        async def at_rest() -> bool:
            return broker.waiting.empty() and broker.thread.borrowed_tokens == 0

        for each in ordered:
            await broker.hand_over(each)
            await until(at_rest)

    assert {task.state for task in await stored()} == {TaskState.PENDING}
    assert [record["event"] for record in logged()] == ["tasks.hand_over_failed"], "not a line for each"


async def test_too_many_are_left_to_the_relay(
    celery: Celery, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    broker = Broker(celery)
    for _ in range(2):
        await broker.hand_over(Message(uuid4(), "tests.build", "default", 0))

    assert broker.waiting.qsize() == 1


async def test_readiness_asks_the_broker(celery: Celery) -> None:
    assert await Broker(celery).check() is State.OK


async def test_the_service_is_ready_without_it(gone: Celery) -> None:
    assert await Broker(gone).check() is State.DEGRADED


async def test_a_service_with_a_broker_says_how_it_is(
    service: FastAPI, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = service.state.tasks_settings
    service.state.tasks_settings = settings.model_copy(update={"broker_url": SecretStr("amqp://127.0.0.1:1")})

    async with connect(service) as client:
        ordered = await client.post("/tests/build", json={"label": "first"})
        ready = await client.get("/readyz")

    assert ordered.json()["state"] == "pending"
    assert ready.status_code == HTTPStatus.OK
    assert ready.json()["checks"]["tasks"] == "degraded"
    assert [task.state for task in await stored()] == [TaskState.PENDING]
