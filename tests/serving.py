"""Commands of a service, and the service as a process of its own that is asked over a socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from tests.postgresql import START_SECONDS, free_port

# uvicorn ends itself with the signal that it was sent
STOPPED = (0, 128 + signal.SIGTERM, -signal.SIGTERM)


SUITE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
"""The service's own suite, in the environment of this repository."""


def run(
    folder: Path, *command: str, check: bool = False, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of the service as its owner would; after two minutes it counts as hanging."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "UV_PYTHON"))
    }
    environment = {**inherited, **(variables or {})}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=check, env=environment, timeout=120
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
        env={**os.environ, "SERVICE_ALLOWED_HOSTS": "127.0.0.1", **variables},
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
            while not listens(port) and process.poll() is None:
                time.sleep(0.02)
            hanging.cancel()
            yield process, port, lines
        finally:
            hanging.cancel()
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)


def alembic(service: Path, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"DATABASE_URL": database, "SERVICE_ENVIRONMENT": "development"}
    return run(service, sys.executable, "-m", "alembic", *arguments, variables=variables)
