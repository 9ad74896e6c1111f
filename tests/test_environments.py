"""A service in an environment of its own: checked as its CI would, started, used over a real socket, and stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.combinations import BARE, EACH, FULL, identify, unique
from tests.conftest import Commit, Render

UV = find_uv_bin()
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


def interpreters() -> list[str]:
    """Return the supported versions of Python on this machine, the newest first."""
    listing = subprocess.check_output(
        [UV, "python", "list", "--only-installed", "--offline", "--output-format", "json"], text=True
    )
    found = {
        ".".join(entry["version"].split(".")[:2]) for entry in json.loads(listing) if entry["variant"] == "default"
    }
    return [version for version in reversed(SUPPORTED) if version in found]


PYTHONS = interpreters()
CASES = [
    *((answers, PYTHONS[0]) for answers in unique([BARE, *EACH, FULL])),
    *((FULL, python) for python in PYTHONS[1:]),
]

# uvicorn ends itself with the signal that it was sent
STOPPED = (0, 128 + signal.SIGTERM, -signal.SIGTERM)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{identify(case[0])}-{case[1]}")
def service(
    request: pytest.FixtureRequest, render: Render, commit: Commit, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A service with the environment that `uv sync` gives it, as its owner has it after the first commit."""
    answers, python = request.param
    folder = tmp_path_factory.mktemp("environment") / "my service"  # a path with a blank, on purpose
    shutil.copytree(render(answers), folder, ignore=shutil.ignore_patterns("__pycache__", ".suite.log"))
    run(folder, UV, "sync", "--quiet", "--python", python, check=True)
    commit(folder)
    return folder


def run(folder: Path, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "UV_PYTHON"))
    }
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=check, env=inherited)


def get(port: int, path: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(folder: Path, *, workers: int = 1) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """Run `poe serve` until the block ends; give out its process, its port and what it wrote until it was ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [UV, "run", "--locked", "poe", "-q", "serve", "--port", str(port), "--workers", str(workers)]
    lines: list[str] = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                events = [json.loads(line)["event"] for line in lines]
                running = any(event.startswith("Uvicorn running on") for event in events)
                if running and events.count("Application startup complete.") == workers:
                    break
            while not listens(port) and process.poll() is None:
                time.sleep(0.02)
            yield process, port, lines
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)


def test_it_passes_its_own_check(service: Path) -> None:
    check = run(service, UV, "run", "--locked", "poe", "check")

    assert check.returncode == 0, check.stdout + check.stderr
    assert re.search(r"Required test coverage of 95\.?0?% reached", check.stdout)


def test_its_hooks_pass_and_find_a_merge_conflict(service: Path) -> None:
    hooks = (UV, "run", "--locked", "prek", "run", "--all-files")
    clean = run(service, *hooks)
    page = service / "docs" / "README.md"
    text = page.read_text("utf-8")
    page.write_text(f"{text}<<<<<<< before updating\n", "utf-8")
    conflict = run(service, *hooks)
    page.write_text(text, "utf-8")

    assert clean.returncode == 0, clean.stdout
    assert conflict.returncode == 1
    assert "no merge conflict is left" in conflict.stdout


def test_it_serves_over_a_socket_and_stops_when_told(service: Path) -> None:
    with served(service) as (process, port, lines):
        ready = get(port, "/readyz")
        unknown = get(port, "/nowhere")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)

    assert ready.status == 200
    assert ready.getheader("server") is None
    assert unknown.status == 404
    assert json.loads(unknown.read())["request_id"] == unknown.getheader("x-request-id")
    assert process.returncode in STOPPED
    assert output.count("Application shutdown complete.") == 1
    records = [json.loads(line) for line in [*lines, *output.splitlines()]]
    assert [record["route"] for record in records if record["event"] == "http.request"] == ["/readyz", None]


def test_it_serves_with_several_workers(service: Path) -> None:
    with served(service, workers=2) as (process, port, _):
        ready = get(port, "/readyz")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)

    assert ready.status == 200
    assert process.returncode in STOPPED
    assert output.count("Application shutdown complete.") == 2
    assert all(json.loads(line) for line in output.splitlines())


def test_a_wrong_setting_is_named_and_ends_the_start(service: Path) -> None:
    process = run(service, UV, "run", "--locked", "poe", "-q", "serve", "--port", "hunter2")

    assert process.returncode == 78
    assert process.stderr.startswith("ServerSettings port: ")
    assert process.stderr.count("\n") == 1
