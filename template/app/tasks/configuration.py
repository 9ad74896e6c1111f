"""What Celery is told."""

import ssl
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import Exchange, Queue

from app.settings import project
from app.tasks.definitions import TASKS
from app.tasks.settings import TasksSettings

MARGIN = 30.0  # seconds beyond the longest task, after which Redis gives it to another worker
ANSWER_SECONDS = 5.0
DEAD = "dead"


def create_queue(name: str) -> Queue:
    """Services that share a broker share no queues. What no worker can read goes to the dead letters, but in Redis."""
    service = project().name
    arguments: dict[str, str | int] = {"x-queue-type": "quorum", "x-max-length": 10_000}
    if name != DEAD:
        arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": 1_000_000,  # the table counts, and not what a database that is away gives back
            "x-dead-letter-exchange": service,
            "x-dead-letter-routing-key": DEAD,
        }
    return Queue(f"{service}.{name}", Exchange(service), routing_key=name, alias=name, queue_arguments=arguments)


def create_celery(settings: TasksSettings) -> Celery:
    url = settings.broker() or "memory://"
    parts = urlsplit(url)
    longest = max([settings.hard_limit, *(definition.options.hard_limit or 0 for definition in TASKS.values())])
    options: dict[str, Any] = {"confirm_publish": True}  # of many types
    if parts.scheme.startswith("redis"):
        options = {
            "visibility_timeout": longest + MARGIN,
            "global_keyprefix": f"{project().name}:",
            "socket_connect_timeout": 1,
            "socket_timeout": ANSWER_SECONDS,
        }
    celery = Celery(project().name)
    celery.conf.update(
        broker_url=url,
        broker_transport="app.tasks.transport:Transport" if parts.scheme.startswith("redis") else None,
        broker_use_ssl={
            "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
            "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": parts.hostname},
        }.get(parts.scheme),
        broker_connection_timeout=1,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=30,
        broker_transport_options=options,
        accept_content=["json"],
        task_ignore_result=True,  # the table knows
        task_queues=[create_queue(name) for name in {"default", *(each.options.queue for each in TASKS.values())}],
        task_default_queue="default",
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,  # the broker gives them to another at once
        task_time_limit=settings.hard_limit,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,  # nobody who can reach the broker commands workers
        worker_proc_alive_timeout=60,
        worker_soft_shutdown_timeout=settings.shutdown,
        worker_consumer="app.tasks.worker:Consumer",
        beat_scheduler="app.tasks.beat:Scheduler",
        beat_max_loop_interval=1,
    )
    return celery
