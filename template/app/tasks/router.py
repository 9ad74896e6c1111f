"""What has become of a task."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import requires

# {%- endif +%}
from app.database import ReadSessionDep
from app.errors import ServiceError
from app.tasks.models import Task
from app.tasks.repository import TaskRepository
from app.tasks.schemas import TaskRead

# {% if not auth %}
router = APIRouter(prefix="/tasks", tags=["tasks"])
# {% endif %}
# {% if auth %}
router = APIRouter(prefix="/tasks", tags=["tasks"], dependencies=[requires("tasks")])
# {% endif %}


class TaskNotFound(ServiceError):
    status = HTTPStatus.NOT_FOUND

    def __init__(self, id: UUID) -> None:
        super().__init__(f"There is no task {id}.")


async def get_tasks(session: ReadSessionDep) -> TaskRepository:
    return TaskRepository(session)


@router.get("/{id}", response_model=TaskRead)
async def get_task(id: UUID, tasks: Annotated[TaskRepository, Depends(get_tasks)]) -> Task:
    """Whoever has ordered it sees how far it is, and what it has returned."""
    task = await tasks.find(id)
    if task is None:
        raise TaskNotFound(id)
    return task
