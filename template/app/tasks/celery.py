"""The entry of `celery -A app.tasks worker` and `… beat`: the application, without a server."""

import logging
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

from billiard import active_children
from celery import Celery, signals
from celery.schedules import crontab
from pydantic import ValidationError
from pydantic_settings import SettingsError
from structlog.stdlib import get_logger

from app import logs
from app.settings import Settings
from app.tasks.configuration import DEAD, create_celery, create_queue
from app.tasks.definitions import TASKS
from app.tasks.probe import beats
from app.tasks.settings import TasksSettings
from app.tasks.worker import END_SECONDS, perform, process

logger = get_logger()


def assemble() -> Celery:
    """End with `EX_CONFIG` of sysexits.h where a setting is wrong."""
    try:
        logs.configure()
        import_module("app.main")  # and with it all tasks
        settings = TasksSettings()
    except (ValidationError, SettingsError):
        with suppress(ValidationError, SettingsError):
            import_module("app.main")
        print(*dict.fromkeys(Settings.mistakes()), sep="\n", file=sys.stderr)
        sys.exit(78)
    celery = create_celery(settings)
    for definition in TASKS.values():
        celery.task(name=definition.name, bind=True, time_limit=definition.options.hard_limit or settings.hard_limit)(
            perform
        )
    celery.conf.beat_schedule = {
        definition.name: {"task": definition.name, "schedule": crontab.from_string(definition.options.schedule)}
        for definition in TASKS.values()
        if definition.options.schedule
    }
    return celery


app = assemble()


@signals.setup_logging.connect
def configure_logs(**_: object) -> None:
    logs.configure()
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)  # the task's own line says more


@signals.worker_init.connect
@signals.beat_init.connect
def need_broker(**_: object) -> None:
    if TasksSettings().broker() is None:
        print("TASKS_BROKER_URL names no broker: without one, `poe dev` runs the tasks.", file=sys.stderr)
        sys.exit(78)


@signals.worker_ready.connect
def keep_dead_letters(**_: object) -> None:
    with app.connection_for_write() as connection:
        create_queue(DEAD).bind(connection.default_channel).declare()


@signals.worker_shutting_down.connect
def end_in_time(how: str, **_: object) -> None:
    """Celery would wait for a broker that is silent, and without `REMAP_SIGTERM` for its tasks, without end."""
    signal.signal(signal.SIGALRM, kill)
    signal.alarm(END_SECONDS if how == "Cold" else TasksSettings().shutdown + END_SECONDS)


def kill(*_: object) -> None:
    for child in active_children():
        if child.pid:
            os.kill(child.pid, signal.SIGKILL)
    os._exit(os.EX_TEMPFAIL)


@signals.worker_process_init.connect
def start(**_: object) -> None:
    try:
        process.start()
    except Exception:  # Celery would go on, and have it take tasks that it cannot run
        logger.exception("tasks.start_failed")
        os._exit(os.EX_UNAVAILABLE)


@signals.beat_init.connect
def start_beat(**_: object) -> None:
    """Until it has started a signal ends it at once: Celery would close what is half open, and wait without end."""
    handlers = {number: signal.signal(number, end_at_once) for number in (signal.SIGINT, signal.SIGTERM)}
    start()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def end_at_once(number: int, _: object) -> None:
    os._exit(128 + number)


@signals.worker_process_shutdown.connect
def stop(**_: object) -> None:
    process.stop()


@signals.heartbeat_sent.connect
def live(**_: object) -> None:
    beats("worker").touch()
