"""Commands of a service, and the service as a process of its own that is asked over a socket."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from tests.postgresql import START_SECONDS, PostgreSQL, free_port

# uvicorn ends itself with the signal that it was sent
STOPPED = (0, 128 + signal.SIGTERM, -signal.SIGTERM)

POOL = 15
COMMAND = [sys.executable, "-m", "app.serve"]

EMAIL, PASSWORD = "grace@example.org", "correct horse battery staple"

SIGNED_ALIKE = {
    "AUTH_SECRET_KEY": secrets.token_urlsafe(32),
    "AUTH_HASH_MEMORY_KIB": "8",
    "AUTH_HASH_TIME_COST": "1",
}
"""A token of one service is good for all others that know its session, and a password costs next to nothing."""

UNLIMITED = {"RATE_LIMIT_DEFAULT": "off"}
"""The tests of other things make many requests."""

NO_BROKER = {"TASKS_BROKER_URL": "amqp://127.0.0.1:1"}
"""A broker that is gone: production does not start without the name of one."""

NOWHERE = dict.fromkeys(("CACHE_URL", "RATE_LIMIT_URL", "WEBSOCKETS_URL"), "redis://127.0.0.1:1")
"""A Redis that is gone: several processes do not start without the name of one."""

SUITE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
"""The service's own suite, in the environment of this repository."""


def run(
    folder: Path,
    *command: str,
    check: bool = False,
    variables: Mapping[str, str] | None = None,
    typed: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the service as its owner would; after ten minutes it counts as hanging."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "UV_PYTHON"))
    }
    environment = {**inherited, **(variables or {})}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=check, env=environment, timeout=600, input=typed
    )


def get(port: int, path: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(
    folder: Path, command: Sequence[str], *, workers: int = 1, variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """Run the command that serves until the block ends; give out its process, port, and what it wrote before."""
    port = free_port()
    lines: list[str] = []
    with subprocess.Popen(
        [*command, "--port", str(port), "--workers", str(workers)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "SERVICE_ALLOWED_HOSTS": "127.0.0.1,localhost",
            **SIGNED_ALIKE,
            **UNLIMITED,
            **NO_BROKER,
            **(NOWHERE if workers > 1 else {}),
            **variables,
        },
    ) as process:
        assert process.stdout is not None
        hanging = threading.Timer(START_SECONDS, process.kill)
        hanging.start()
        try:
            for line in process.stdout:
                lines.append(line)
                events = [json.loads(line)["event"] for line in lines]
                running = any(event.startswith("Uvicorn running on") for event in events)
                if running and events.count("Application startup complete.") == workers:
                    break
            else:
                process.wait()
            while not listens(port) and process.poll() is None:
                time.sleep(0.02)
            hanging.cancel()
            assert process.poll() is None, "".join(lines)
            yield process, port, lines
        finally:
            hanging.cancel()
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)


def alembic(service: Path, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"DATABASE_URL": database, "SERVICE_ENVIRONMENT": "development"}
    return run(service, sys.executable, "-m", "alembic", *arguments, variables=variables)


def create_user(service: Path, database: str, email: str = EMAIL, *, role: str = "user") -> None:
    """Make somebody with `PASSWORD`."""
    variables = {**SIGNED_ALIKE, "DATABASE_URL": database, "SERVICE_ENVIRONMENT": "development"}
    command = [sys.executable, "-m", "app.auth.commands", "create", email, "--roles", role]
    run(service, *command, check=True, variables=variables, typed=PASSWORD)


def log_in(url: str, email: str = EMAIL) -> dict[str, str]:
    """Return the header by which the service knows who is calling."""
    answer = httpx2.post(f"{url}/v1/auth/token", data={"username": email, "password": PASSWORD}, timeout=30)
    return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}


@dataclass
class Service:
    url: str
    process: subprocess.Popen[str]
    database: str
    headers: Mapping[str, str]
    log: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def create(self, name: str | None = None) -> httpx2.Response:
        item = {"name": name or uuid4().hex, "price_cents": 1}
        return httpx2.post(f"{self.url}/v1/items", json=item, headers=self.headers, timeout=30)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", headers=self.headers, timeout=30)

    def create_many(self, number: int) -> list[httpx2.Response]:
        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(lambda _: self.create(), range(number)))

    def stop(self) -> None:
        """Wait until it has ended, and its log has been read."""
        self.process.terminate()
        self.process.wait(30)
        if self.reader:
            self.reader.join(5)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log]


@contextmanager
def serve(
    folder: Path, postgres: PostgreSQL, *, workers: int = 1, variables: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Serve the full service on a database of its own, in which there is somebody who has logged in."""
    database = postgres.create()
    assert alembic(folder, database, "upgrade", "head").returncode == 0
    create_user(folder, database)
    variables = {"DATABASE_URL": database, **(variables or {})}
    with served(folder, COMMAND, workers=workers, variables=variables) as (process, port, log):
        assert process.stdout is not None
        reader = threading.Thread(target=log.extend, args=[process.stdout], daemon=True)
        reader.start()  # else the service blocks when the pipe is full
        url = f"http://127.0.0.1:{port}"
        service = Service(url, process, database, log_in(url), log, reader)
        try:
            yield service
        finally:
            service.stop()


def stored(postgres: PostgreSQL, service: Service) -> set[str]:
    return {row["name"] for row in postgres.execute("SELECT name FROM items", service.database)}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "It has not come about."
        time.sleep(0.02)


def activity(postgres: PostgreSQL) -> list[str]:
    """Return the states of the service's connections."""
    rows = postgres.execute("SELECT state FROM pg_stat_activity WHERE application_name = 'my-service'")
    return [row["state"] for row in rows]
