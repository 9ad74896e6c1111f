"""Hands over what has been stored and is not with a worker: a broker was down, a worker died, a pause is over."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from logging import ERROR, WARNING

from structlog.stdlib import get_logger

from app.database import Sessions
from app.tasks.definitions import TASKS
from app.tasks.models import Message, Task, TaskState
from app.tasks.repository import TaskRepository

logger = get_logger()

Send = Callable[[Sequence[Message]], Awaitable[object]]

BATCH, OLD_BATCH = 200, 1000
SENDING = timedelta(minutes=1)
PATIENCE = timedelta(minutes=15)  # with a broker, which may have a long queue or have lost it
DEPLOY = timedelta(days=1)  # after which it is no longer the next version that knows a task


async def relay(sessions: Sessions, send: Send) -> bool:
    """Hand over what is due, and forget what ended long ago; return whether there may be more.

    What cannot be sent is due again at once. What is sent twice is run once.
    """
    now = datetime.now(UTC)
    async with sessions.begin() as session:
        tasks = TaskRepository(session)
        due = await tasks.due(now, BATCH)
        gone = [task for task in due if task.name not in TASKS and task.created_at < now - DEPLOY]
        if due:
            await tasks.renew([task.id for task in due], now + SENDING)
        if gone:
            await tasks.give_up([task.id for task in gone], now, "There is no such task any more.")
    for event, level, some in (
        ("tasks.lost", WARNING, [task for task in due if task.state == TaskState.RUNNING]),
        ("tasks.given_up", ERROR, gone),
    ):
        for task in some:
            logger.log(level, event, task=task.name, id=str(task.id), request_id=task.request_id)
    messages = [Message(task.id, task.name, task.queue, task.handed_over + 1) for task in due if task.name in TASKS]
    if messages:
        await hand_over(sessions, send, messages, now + PATIENCE)
    async with sessions.begin() as session:
        forgotten = await TaskRepository(session).forget(now, OLD_BATCH)
    return len(due) == BATCH or forgotten == OLD_BATCH


async def hand_over(sessions: Sessions, send: Send, messages: Sequence[Message], due_at: datetime) -> None:
    ids = [message.id for message in messages]
    try:
        await send(messages)
    except Exception:
        async with sessions.begin() as session:
            await TaskRepository(session).hasten(Task.id.in_(ids))
        raise
    async with sessions.begin() as session:
        await TaskRepository(session).queue(ids, due_at)
