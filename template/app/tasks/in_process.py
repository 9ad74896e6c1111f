"""Runs tasks in the service itself, for development: after the commit, from the same table, by the same code."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from structlog.stdlib import get_logger

from app.tasks.models import Message
from app.tasks.relay import relay
from app.tasks.repository import TaskRepository
from app.tasks.runner import Runner, is_cancelled

logger = get_logger()

AT_ONCE = 4
PAUSE = 1.0  # seconds between two looks at the table


class InProcess:
    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.waiting: asyncio.Queue[Message] = asyncio.Queue()

    async def hand_over(self, message: Message) -> None:
        self.waiting.put_nowait(message)

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self.hand_over(message)

    async def work(self) -> None:
        while not is_cancelled():
            message = await self.waiting.get()
            try:
                await Runner(self.app, self.app.state.opened).run(message.id, message.number)
            except Exception:  # the database, most likely; the others shall run, and this one again
                logger.exception("tasks.run_failed", id=str(message.id))

    async def relay(self) -> None:
        """Begin with what was waiting when the service ended."""
        is_first = True
        while not is_cancelled():
            await asyncio.sleep(PAUSE)
            try:
                sessions = self.app.state.opened["sessions"]
                if is_first:
                    async with sessions.begin() as session:
                        await TaskRepository(session).hasten()
                    is_first = False
                await relay(sessions, self.send)
            except Exception as error:  # it is there again some time
                logger.warning("tasks.relay_failed", error=repr(error))


@asynccontextmanager
async def run_in_process(app: FastAPI) -> AsyncGenerator[InProcess]:
    process = InProcess(app)
    jobs = [asyncio.create_task(job) for job in (process.relay(), *(process.work() for _ in range(AT_ONCE)))]
    try:
        yield process
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
