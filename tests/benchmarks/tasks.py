"""What a worker does in a second, and whether it grows: prints a line for each broker, for docs/performance.md.

`python -m tests.benchmarks.tasks` renders the full service, orders tasks that write one row each through its API and
straight into its table, and has one worker with two processes run them.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import httpx2
import psutil
from copier import run_copy

from tests.combinations import FULL, REPOSITORY
from tests.ledger import keep_ledger
from tests.postgresql import PostgreSQL
from tests.rabbitmq_server import RabbitMQServer
from tests.redis_server import RedisServer
from tests.serving import serve
from tests.test_tasks import System

CLIENTS, EACH = 4, 150
WARM = 1000


def order(system: System) -> float:
    """Return how many orders the API takes in a second."""

    def ask(_: int) -> None:
        with httpx2.Client(headers=system.service.headers, timeout=30) as client:
            for _ in range(EACH):
                client.post(f"{system.service.url}/v1/ledger/ledger.book", json={"name": "ordered"}).raise_for_status()

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(ask, range(CLIENTS)))
    return CLIENTS * EACH / (time.perf_counter() - started)


def insert(system: System, number: int) -> None:
    arguments = json.dumps({"name": "inserted"})
    system.execute(
        f"""
        INSERT INTO tasks (
            id, name, queue, arguments, state, attempts, handed_over, progress, due_at, created_at, updated_at
        )
        SELECT gen_random_uuid(), 'ledger.book', 'default', '{arguments}', 'pending', 0, 0, 0, now(), now(), now()
        FROM generate_series(1, {number})
        """
    )


def wait(system: System, number: int) -> None:
    statement = "SELECT count(*) AS number FROM tasks WHERE state = 'succeeded'"
    while system.execute(statement)[0]["number"] < number:
        time.sleep(0.2)


def memory(worker: psutil.Process) -> list[float]:
    """Return the MiB of the worker and of each of its processes."""
    return [process.memory_info().rss / 2**20 for process in (worker, *worker.children())]


def measure(folder: Path, postgresql: PostgreSQL, start: Callable[[], RedisServer | RabbitMQServer], tasks: int) -> str:
    broker = start()
    try:
        with (
            serve(folder, postgresql, variables={"TASKS_BROKER_URL": broker.url}) as service,
            ExitStack() as programs,
        ):
            system = System(folder, postgresql, broker, service, programs)
            ordered = order(system)
            worker = psutil.Process(system.worker().process.pid)
            system.beat()
            insert(system, WARM)
            wait(system, CLIENTS * EACH + WARM)
            before, started = memory(worker), time.perf_counter()
            insert(system, tasks)
            wait(system, CLIENTS * EACH + WARM + tasks)
            rate = tasks / (time.perf_counter() - started)
            growth = [f"{after - first:.1f}" for first, after in zip(before, memory(worker), strict=True)]
    finally:
        broker.close()
    return f"{ordered:.0f} orders/s, {rate:.0f} tasks/s, MiB more after {tasks} tasks: {' + '.join(growth)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=9000)
    tasks = parser.parse_args().tasks
    print(f"{date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "service")
        run_copy(str(REPOSITORY), folder, data=dict(FULL), defaults=True, unsafe=True, quiet=True, vcs_ref="HEAD")
        keep_ledger(folder)
        postgresql = PostgreSQL()
        try:
            for start in (RedisServer, RabbitMQServer):
                print(f"{start.__name__}: {measure(folder, postgresql, start, tasks)}", flush=True)
        finally:
            postgresql.close()


if __name__ == "__main__":
    main()
