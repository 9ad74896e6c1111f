"""Ordering a task: it is stored with whatever else the request does, and handed over once that is kept."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ParamSpec, Protocol

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.context import after_commit, current
from app.tasks.definitions import Definition
from app.tasks.models import Message, Task
from app.tasks.repository import TaskRepository

P = ParamSpec("P")

HEAD_START = timedelta(seconds=5)  # of whoever has ordered it, before the relay hands it over


class Dispatcher(Protocol):
    async def hand_over(self, message: Message) -> None:
        """Have it run soon, without waiting for that."""


async def enqueue(session: AsyncSession, definition: Definition[P], /, *args: P.args, **kwargs: P.kwargs) -> Task:
    """Store a task in the transaction of `session`, and return it, or that which has its key already.

    It is handed over after the commit. Where that fails, or the request has been answered, the relay does so later.
    """
    context = current.get(None)
    arguments = definition.dump(*args, **kwargs)
    key = definition.key(arguments, context.principal_id if context else None)
    task = await store(session, definition, arguments, key=key)
    if context is not None and context.status is None:
        dispatcher: Dispatcher | None = context.opened.get("tasks")
        if dispatcher is not None:
            after_commit(partial(dispatcher.hand_over, task.message()))
    return task


async def store(
    session: AsyncSession, definition: Definition[...], arguments: dict[str, Any], *, key: str | None
) -> Task:
    context = current.get(None)
    tasks = TaskRepository(session)
    while True:
        task = Task(
            name=definition.name,
            queue=definition.options.queue,
            key=key,
            arguments=arguments,
            principal_id=context.principal_id if context else None,
            request_id=context.request_id if context else None,
            trace_id=context.trace_id if context else None,
            due_at=datetime.now(UTC) + HEAD_START,
        )
        try:
            async with session.begin_nested() if key else nullcontext():
                return await tasks.add(task)
        except IntegrityError:
            if key is None:
                raise
            if same := await tasks.find_by_key(definition.name, key):
                return same  # else it has lost its key meanwhile
