"""A service in an environment of its own: checked as its CI would, started, used over a real socket, and stopped."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.combinations import BARE, EACH, FULL, Answers, identify, unique
from tests.conftest import Commit, Copy, Render
from tests.postgresql import PostgreSQL
from tests.serving import STOPPED, get, run, served
from tests.test_update import live_in, update

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
# That which runs these tests.
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
CASES = [
    *((answers, PYTHONS[0]) for answers in unique([BARE, *EACH, FULL])),
    *((FULL, python) for python in PYTHONS[1:][-1:]),
    *(pytest.param((FULL, python), marks=pytest.mark.every_toggle) for python in PYTHONS[1:-1]),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{identify(case[0])}-{case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[Answers, str]:
    case: tuple[Answers, str] = request.param
    return case


@pytest.fixture(scope="module")
def service(
    case: tuple[Answers, str], render: Render, commit: Commit, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A service with the environment that `uv sync` gives it, as its owner has it after the first commit."""
    answers, python = case
    folder = tmp_path_factory.mktemp("environment") / "my service"  # a path with a blank, on purpose
    shutil.copytree(render(answers), folder, ignore=shutil.ignore_patterns("__pycache__", ".suite.log"))
    run(folder, UV, "sync", "--quiet", "--python", python, check=True)
    commit(folder)
    return folder


@contextmanager
def serve(
    service: Path, postgresql: PostgreSQL, *, workers: int = 1
) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """Serve as in production, with a database where the service wants one."""
    variables = {}
    if (service / "app" / "database").exists():
        variables["DATABASE_URL"] = postgresql.create()
        run(service, UV, "run", "--locked", "poe", "-q", "migrate", check=True, variables=variables)
    command = [UV, "run", "--locked", "poe", "-q", "serve"]
    with served(service, command, workers=workers, variables=variables) as everything:
        yield everything


def test_it_passes_its_own_check(service: Path, case: tuple[Answers, str]) -> None:
    answers, python = case
    tasks = [["mypy"], ["lint-imports"], ["deptry", "app"]]  # its tests have passed, see test_combinations.py
    if python == OWN != PYTHONS[0]:
        tasks = [["mypy"]]  # every combination's suite has passed with it
    elif python != PYTHONS[0]:
        tasks = [["mypy"], ["poe", "test"]]  # without coverage, which takes as long again
    elif answers == BARE:
        tasks = [["poe", "check"]]

    runs = [run(service, UV, "run", "--locked", *task) for task in tasks]

    assert [task.stdout + task.stderr for task in runs if task.returncode != 0] == []
    covered = re.search(r"Required test coverage of 95\.?0?% reached", runs[-1].stdout)
    assert covered or ["poe", "check"] not in tasks


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


def test_it_serves_over_a_socket_and_stops_when_told(service: Path, postgresql: PostgreSQL) -> None:
    with serve(service, postgresql) as (process, port, lines):
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


def test_it_serves_with_several_workers(service: Path, postgresql: PostgreSQL) -> None:
    with serve(service, postgresql, workers=2) as (process, port, _):
        ready = get(port, "/readyz")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)

    assert ready.status == 200
    assert process.returncode in STOPPED
    assert output.count("Application shutdown complete.") == 2
    assert all(json.loads(line) for line in output.splitlines())


def test_a_wrong_setting_is_named_and_ends_the_start(service: Path) -> None:
    command = (UV, "run", "--locked", "poe", "-q", "serve", "--port", "hunter2")
    process = run(service, *command, variables={"SERVICE_ENVIRONMENT": "test"})

    assert process.returncode == 78
    assert process.stderr.startswith("SERVER_PORT: ")
    assert process.stderr.count("\n") == 1


def test_what_is_to_be_done_after_an_update_makes_the_service_whole(copy: Copy, commit: Commit) -> None:
    service = copy("service", BARE)
    live_in(service)
    run(service, UV, "lock", "--quiet", "--python", PYTHONS[0], check=True)
    commit(service)
    update(service, {**BARE, "database": True, "samples": True})
    notes = run(service, UV, "run", "poe", "-q", "upgrade-notes", check=True)

    commands = notes.stdout.partition("\nTo do")[2].splitlines()[1:]
    done = [run(service, UV, *shlex.split(command)[1:]) for command in commands if command]
    commit(service)
    clean = run(service, UV, "run", "--locked", "poe", "-q", "alembic", "check")

    assert [process.stderr for process in done if process.returncode] == []
    assert [command.split()[-1] for command in commands if command] == ["lock", 'template"', "migrate", "check"]
    assert clean.returncode == 0, clean.stderr


def test_without_a_database_none_of_its_libraries_is_installed(service: Path) -> None:
    listing = run(service, UV, "pip", "list", "--format", "json").stdout
    installed = {package["name"] for package in json.loads(listing)}

    libraries = {"aiosqlite", "alembic", "asyncpg", "greenlet", "mako", "sqlalchemy"}
    assert installed & libraries == (libraries if (service / "app" / "database").exists() else set())
