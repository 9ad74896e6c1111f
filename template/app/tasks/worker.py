"""A worker's process: the application without its server, and what comes from the broker."""

import atexit
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any, ClassVar
from uuid import UUID

from anyio.from_thread import start_blocking_portal
from celery import Task
from celery.exceptions import Reject
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.message import Message
from structlog.stdlib import get_logger

from app.tasks.definitions import TASKS
from app.tasks.runner import Runner

logger = get_logger()

END_SECONDS = 4  # beyond what TASKS_SHUTDOWN gives the tasks
PAUSE = 1.0  # seconds until a task that the database could not be asked about is given to another


class Process:
    """The application within one process of a worker, or of beat; its loop runs in a thread of its own."""

    def __init__(self) -> None:
        self.stack = ExitStack()

    def start(self) -> None:
        atexit.register(self.stop)
        app = import_module("app.main").create_app()  # here, so that nothing of it is shared with another process
        self.portal = self.stack.enter_context(start_blocking_portal())
        lifespan = self.portal.wrap_async_context_manager(app.router.lifespan_context(app))
        self.opened: dict[str, Any] = self.stack.enter_context(lifespan)  # each feature adds what it likes
        self.runner = Runner(app, self.opened)

    def stop(self) -> None:
        self.stack.close()


process = Process()


class Consumer(CeleryConsumer):
    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[valid-type, misc]  # its stubs call it a variable
        # No task waits with the broker, and RabbitMQ needs no queues for that.
        default_steps: ClassVar = [
            step for step in CeleryConsumer.Blueprint.default_steps if "delayed_delivery" not in step
        ]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:  # as Celery has it
        handle = super().create_task_handler(*args, **kwargs)

        def check_and_handle(message: Message) -> None:
            """Celery would acknowledge some of what it cannot read, log the whole of it, or end."""
            try:
                check(message)
            except Exception as error:  # whatever somebody has put there, the worker goes on
                logger.error("tasks.unreadable", error=type(error).__name__)
                message.reject_log_error(logger, self.connection_errors)  # type: ignore[attr-defined]  # not in its stubs
                return
            handle(message)

        return check_and_handle


def check(message: Message) -> None:
    """Raise an error unless it names a task and its id, and nothing more."""
    arguments, options, _ = message.payload
    if arguments or options or message.headers["task"] not in TASKS:
        raise ValueError
    UUID(message.headers["id"])
    int(message.headers.get("number", 0))


def perform(task: Task[[], None]) -> None:
    """Run what the message names; the table knows everything else."""
    id = UUID(task.request.id)
    again = bool((task.request.delivery_info or {}).get("redelivered"))
    number = (task.request.headers or {}).get("number", 0)
    run = process.portal.start_task_soon(partial(process.runner.run, id, number, lost=again))
    try:
        run.result()
    except Exception as error:  # the database, most likely: what became of the task cannot be stored
        logger.warning("tasks.run_failed", id=str(id), error=repr(error))
        time.sleep(PAUSE)
        raise Reject(requeue=True) from None
    except SystemExit:  # the worker ends, and this has not ended in time
        signal.alarm(END_SECONDS)  # the end of this process, if the task does not let go of it
        run.cancel()
        raise
