"""Hands tasks over to the broker, in a thread, so that no request ever waits for it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from time import monotonic

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from celery import Celery
from structlog.stdlib import get_logger

from app.database import Sessions
from app.health import State
from app.tasks.configuration import ANSWER_SECONDS
from app.tasks.models import Message
from app.tasks.relay import PATIENCE
from app.tasks.repository import TaskRepository

logger = get_logger()

BATCH = 200
MOST_WAITING = 10_000
CHECK_SECONDS = 0.8
QUIET = 60.0  # seconds between two lines of the log about a broker that is gone


class Broker:
    def __init__(self, celery: Celery) -> None:
        self.celery = celery
        self.queues = {queue.alias for queue in celery.conf.task_queues}
        self.thread = CapacityLimiter(1)
        self.waiting: asyncio.Queue[Message] = asyncio.Queue(MOST_WAITING)
        self.logged_at = float("-inf")
        self.is_gone = False

    async def hand_over(self, message: Message) -> None:
        """Leave it to the relay where there are too many."""
        if not self.waiting.full():
            self.waiting.put_nowait(message)

    async def send(self, messages: Sequence[Message]) -> None:
        """Raise an error where the broker has not taken all of them."""

        def publish() -> None:
            with self.celery.producer_or_acquire() as producer:
                for message in messages:
                    self.celery.send_task(
                        message.name,
                        task_id=str(message.id),
                        queue=message.queue if message.queue in self.queues else "default",
                        headers={"number": message.number},
                        producer=producer,
                        retry_policy={"max_retries": 1, "interval_start": 0},
                        confirm_timeout=ANSWER_SECONDS,
                    )

        await run_sync(publish, limiter=self.thread, abandon_on_cancel=True)
        self.is_gone = False

    async def work(self, get_sessions: Callable[[], Sessions]) -> None:
        """Send what waits, as much at once as there is; what cannot be sent is left to the relay."""
        while True:
            messages = [await self.waiting.get()]
            while not self.waiting.empty() and len(messages) < BATCH:
                messages.append(self.waiting.get_nowait())
            try:
                await self.send(messages)
                async with get_sessions().begin() as session:
                    await TaskRepository(session).queue(
                        [message.id for message in messages], datetime.now(UTC) + PATIENCE
                    )
            except Exception as error:  # whatever it is, those after these are handed over all the same
                self.note(error)

    def note(self, error: Exception) -> None:
        self.is_gone = True
        if monotonic() - self.logged_at > QUIET:
            self.logged_at = monotonic()
            logger.warning("tasks.hand_over_failed", error=repr(error))

    async def check(self) -> State:
        """For the readiness of the service, which goes on without a broker."""

        def connect() -> None:
            with self.celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1)

        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await run_sync(connect, limiter=self.thread, abandon_on_cancel=True)
        except Exception:  # whatever it is, unless there has only been no time, for so much is sent
            return State.OK if self.thread.borrowed_tokens and not self.is_gone else State.DEGRADED
        return State.OK


@asynccontextmanager
async def open_broker(celery: Celery, get_sessions: Callable[[], Sessions]) -> AsyncGenerator[Broker]:
    broker = Broker(celery)
    job = asyncio.create_task(broker.work(get_sessions))
    try:
        yield broker
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        with suppress(TimeoutError):  # RabbitMQ has to say that it is closed
            async with asyncio.timeout(CHECK_SECONDS):
                await run_sync(celery.close, abandon_on_cancel=True)
