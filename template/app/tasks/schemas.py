"""What callers see of a task."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from app.tasks.models import TaskState


class TaskRead(BaseModel):
    """`result` is there once it has succeeded, `detail` says why it has not."""

    id: UUID
    name: str = Field(examples=["messages.report"])
    state: TaskState
    attempts: int = Field(description="how often it has been begun")
    progress: int = Field(ge=0, le=100, description="in percent, as far as the task tells")
    result: Any  # what the task returns
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
