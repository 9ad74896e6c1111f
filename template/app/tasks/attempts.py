"""What is stored of a run: that it begins, so that none begins for ever, and what becomes of it."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from structlog.stdlib import get_logger

from app.database import Sessions, is_passing
from app.errors import ServiceError
from app.tasks.definitions import TASKS, Definition
from app.tasks.models import Task, TaskState
from app.tasks.repository import TaskRepository
from app.tasks.settings import TasksSettings

logger = get_logger()

GRACE = 10.0  # seconds after the hard limit until nobody is believed to be at work any more
PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds before the second run, doubled for each after it


class Claim(NamedTuple):
    task: Task
    definition: Definition[...]
    attempts: int  # how many there may be


class LimitExceeded(TimeoutError):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"It has taken more than {seconds:g} seconds.")


class Superseded(Exception):
    """Another run of the same task has begun meanwhile, and this one counts for nothing."""


class Attempts:
    def __init__(self, sessions: Sessions, settings: TasksSettings) -> None:
        self.sessions = sessions
        self.settings = settings

    async def claim(self, id: UUID, number: int, *, lost: bool) -> Claim | None:
        """Count a run before it begins; return `None` where there is nothing to do."""
        async with self.sessions.begin() as session:
            task = await TaskRepository(session).lock(id)
            if task is None:
                logger.warning("tasks.unknown", id=str(id))
                return None
            waits = task.state in {TaskState.PENDING, TaskState.QUEUED}
            is_lost = lost and task.state == TaskState.RUNNING and task.begun_by == number
            definition = TASKS.get(task.name)
            if definition is None or not (waits or is_lost):
                return None
            attempts = definition.options.attempts or self.settings.attempts
            if task.attempts >= attempts:
                self.give_up(task, f"It has been begun {attempts} times, without success.")
                return None
            now = datetime.now(UTC)
            limit = definition.options.hard_limit or self.settings.hard_limit
            task.state = TaskState.RUNNING
            task.attempts += 1
            task.begun_by = number
            task.started_at = now
            task.due_at = now + timedelta(seconds=limit + GRACE)
        return Claim(task, definition, attempts)

    async def succeed(self, session: AsyncSession, task: Task, result: object) -> None:
        """Have it stored with whatever else is in the session, unless another run has begun meanwhile."""
        values = {"state": TaskState.SUCCEEDED, "result": result, "progress": 100, **self.ended()}
        if not await TaskRepository(session).end(task.id, task.attempts, **values):
            raise Superseded

    async def fail(self, claim: Claim, error: Exception) -> str:
        """Return what becomes of it: another run after a while, or none."""
        task = claim.task
        values: dict[str, Any]  # of the columns
        worth_it = isinstance(error, claim.definition.options.retry_on) or is_passing(error)
        if worth_it and task.attempts < claim.attempts:
            pause = min(PAUSE * 2 ** (task.attempts - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)
            values = {"state": TaskState.RETRYING, "due_at": datetime.now(UTC) + timedelta(seconds=pause)}
        else:
            detail = str(error) if isinstance(error, (ServiceError, LimitExceeded)) else "It has failed."
            values = {"state": TaskState.FAILED, "detail": detail[:500], "key": None, **self.ended()}
        async with self.sessions.begin() as session:
            kept = await TaskRepository(session).end(task.id, task.attempts, **values)
        return str(values["state"]) if kept else "superseded"

    async def put_back(self, task: Task) -> None:
        """Do not count a run that was broken off from outside."""
        async with self.sessions.begin() as session:
            await TaskRepository(session).end(
                task.id, task.attempts, state=TaskState.PENDING, attempts=task.attempts - 1, due_at=datetime.now(UTC)
            )

    def give_up(self, task: Task, detail: str) -> None:
        logger.error(
            "tasks.given_up", task=task.name, id=str(task.id), request_id=task.request_id, attempts=task.attempts
        )
        for name, value in {"state": TaskState.FAILED, "detail": detail, "key": None, **self.ended()}.items():
            setattr(task, name, value)

    def ended(self) -> dict[str, datetime]:
        now = datetime.now(UTC)
        return {"finished_at": now, "due_at": now + timedelta(seconds=self.settings.keep)}
