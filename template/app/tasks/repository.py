"""The queries of the tasks."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import CursorResult, Delete, Update, delete, select, update
from sqlalchemy.sql.elements import ColumnElement

from app.context import current
from app.database import Conditions, Repository
from app.tasks.models import Task, TaskState

ENDED = (TaskState.SUCCEEDED, TaskState.FAILED)


class Due(NamedTuple):
    """What the relay has to know of a task."""

    id: UUID
    name: str
    queue: str
    state: str
    handed_over: int
    created_at: datetime
    request_id: str | None


class TaskRepository(Repository[Task]):
    model = Task

    def visible(self) -> Conditions:
        """Return what holds for the tasks of whoever is calling."""
        return (Task.principal_id.is_not_distinct_from(current.get().principal_id),)

    async def find_by_key(self, name: str, key: str) -> Task | None:
        return await self.session.scalar(select(Task).where(Task.name == name, Task.key == key))

    async def lock(self, id: UUID) -> Task | None:
        return await self.session.get(Task, id, with_for_update=True)

    async def change(self, *where: ColumnElement[bool], **values: Any) -> int:  # of the columns
        """Return how many there were."""
        return await self.count_changed(update(Task).where(*where).values(**values))

    async def count_changed(self, statement: Update | Delete) -> int:
        result = await self.session.execute(statement, execution_options={"synchronize_session": False})
        return cast("CursorResult[Any]", result).rowcount

    async def end(self, id: UUID, attempt: int, **values: Any) -> bool:  # of the columns
        """Return whether this attempt was still the one that counts."""
        where = (Task.id == id, Task.state == TaskState.RUNNING, Task.attempts == attempt)
        return await self.change(*where, **values) > 0

    async def advance(self, id: UUID, attempt: int, percent: int) -> None:
        await self.end(id, attempt, progress=percent)

    async def queue(self, ids: Collection[UUID], due_at: datetime) -> None:
        """Note that the broker has them; a worker may have been faster."""
        await self.change(Task.id.in_(ids), Task.state == TaskState.PENDING, state=TaskState.QUEUED, due_at=due_at)

    async def due(self, now: datetime, limit: int) -> Sequence[Due]:
        """Return what has to be handed over (again), and keep it from whoever looks at the same time."""
        columns = [getattr(Task, name) for name in Due._fields]
        statement = select(*columns).where(Task.due_at <= now, Task.state.not_in(ENDED)).order_by(Task.due_at)
        rows = await self.session.execute(statement.limit(limit).with_for_update(skip_locked=True))
        return [Due(*row) for row in rows]

    async def renew(self, ids: Collection[UUID], due_at: datetime) -> None:
        """Have them wait for another message; those before count for nothing."""
        await self.change(Task.id.in_(ids), state=TaskState.PENDING, due_at=due_at, handed_over=Task.handed_over + 1)

    async def give_up(self, ids: Collection[UUID], now: datetime, detail: str) -> None:
        """End what nobody knows; it is kept for a while, for whoever asks."""
        await self.change(
            Task.id.in_(ids),
            state=TaskState.FAILED,
            detail=detail,
            key=None,
            finished_at=now,
            due_at=now + timedelta(days=7),
        )

    async def hasten(self, *where: ColumnElement[bool]) -> None:
        """Have them handed over as soon as possible."""
        waiting = Task.state.in_([TaskState.PENDING, TaskState.QUEUED])
        await self.change(waiting, *where, due_at=datetime.now(UTC))

    async def forget(self, now: datetime, limit: int) -> int:
        """Delete what ended long ago, and return how many there were."""
        old = select(Task.id).where(Task.due_at <= now, Task.state.in_(ENDED)).order_by(Task.due_at).limit(limit)
        return await self.count_changed(delete(Task).where(Task.id.in_(old.with_for_update(skip_locked=True))))
