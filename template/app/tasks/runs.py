"""What a task is given: a transaction, what the application holds open, and a way to say how far it is."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Sessions
from app.tasks.models import Task
from app.tasks.repository import TaskRepository


class Run:
    """One run of a task.

    What is done in `session` is stored together with the success of the task, or not at all.
    """

    def __init__(
        self,
        task: Task,
        session: AsyncSession,
        *,
        sessions: Sessions,
        app: FastAPI,
        opened: Mapping[str, Any],  # what the lifespans hold open
    ) -> None:
        self.id = task.id
        self.attempt = task.attempts
        self.principal_id = task.principal_id
        self.session = session
        self.sessions = sessions
        self.app = app
        self.opened = opened

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncSession]:
        """Open a read-only transaction, for what takes long: it keeps nobody from writing."""
        async with self.sessions() as session:
            await session.connection(execution_options={"read_only": True})
            yield session

    async def progress(self, percent: int) -> None:
        """Let everybody see how far it is; on SQLite, which has one writer, not once `session` has been used."""
        if self.session.in_transaction() and self.session.get_bind().dialect.name == "sqlite":
            return
        async with self.sessions.begin() as session:
            await TaskRepository(session).advance(self.id, self.attempt, percent)
