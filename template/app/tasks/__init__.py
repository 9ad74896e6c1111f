"""Tasks: work for later, which survives a deploy, a crash, and a broker that is down."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.feature import State, add_lifespan
from app.health import add_check
from app.settings import Environment
from app.tasks.broker import open_broker
from app.tasks.configuration import create_celery
from app.tasks.definitions import task
from app.tasks.in_process import run_in_process
from app.tasks.models import Task
from app.tasks.outbox import enqueue
from app.tasks.router import router
from app.tasks.runs import Run
from app.tasks.schemas import TaskRead
from app.tasks.settings import TasksSettings

__all__ = ["Run", "Task", "TaskRead", "enqueue", "install", "task"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
    """Without a broker tasks run here, but not in tests, which say themselves when."""
    settings: TasksSettings = app.state.tasks_settings
    if settings.broker() is not None:
        async with open_broker(create_celery(settings), lambda: app.state.opened["sessions"]) as broker:
            add_check(app, "tasks", broker.check)
            yield {"tasks": broker}
    elif settings.environment is Environment.DEVELOPMENT:
        async with run_in_process(app) as process:
            yield {"tasks": process}
    else:
        yield {}


def install(app: FastAPI) -> None:
    app.state.tasks_settings = TasksSettings()
    add_lifespan(app, lifespan)
    app.include_router(router, prefix="/v1")
