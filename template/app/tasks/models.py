"""The table of the tasks: what is to be done, whether it has been handed over, and what has become of it."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Entity


class TaskState(StrEnum):
    PENDING = "pending"  # stored, and not known to be with the broker
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"  # has failed, and waits for its next run
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Message(NamedTuple):
    """What a worker is told of a task; the number says how often the relay has had to do so before."""

    id: UUID
    name: str
    queue: str
    number: int


class Task(Entity):
    """`due_at` is when the relay has to look at it: to hand it over (again), or to forget it."""

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("name", "key"),)

    name: Mapped[str] = mapped_column(String(100))
    queue: Mapped[str] = mapped_column(String(50))
    key: Mapped[str | None] = mapped_column(String(200))
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON)  # JSON
    principal_id: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))
    trace_id: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[TaskState] = mapped_column(String(20), default=TaskState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    handed_over: Mapped[int] = mapped_column(default=0)
    begun_by: Mapped[int | None]  # the number of the message
    progress: Mapped[int] = mapped_column(default=0)
    result: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)  # JSON
    detail: Mapped[str | None] = mapped_column(String(500))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    due_at: Mapped[datetime] = mapped_column(index=True)

    def message(self) -> Message:
        return Message(self.id, self.name, self.queue, self.handed_over)
