"""`poe load`, on the full service: what it prints, and when it fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import COMMAND, SIGNED_ALIKE, alembic, create_user, log_in, run, served

ROWS = {
    "requests": r"([\d,]+)",
    "throughput": r"([\d,]+) req/s",
    "mean": r"([\d.]+) ms",
    "p50": r"([\d.]+) ms",
    "p99": r"([\d.]+) ms",
    "max": r"([\d.]+) ms",
    "errors": r"([\d.]+) %.*",
    "memory": r"([\d,]+) MiB",
    "CPU": r"(\d+) % of a core, \d+ µs a request",
}


def load(service: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "poethepoet", "-q", "load", "--seconds", "1", *options]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return run(service, *command, variables={"PATH": path, **variables})


def table(printed: str) -> dict[str, float]:
    """Return the first number of each row; raise where one is missing or has another form."""
    rows = dict(line.split(maxsplit=1) for line in printed.splitlines())
    found = {name: re.fullmatch(form, rows[name]) for name, form in ROWS.items()}
    assert rows.keys() == ROWS.keys()
    return {name: float(number[1].replace(",", "")) for name, number in found.items() if number}


def test_a_second_of_load_is_summed_up(full: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'test.db'}"
    variables = {"DATABASE_URL": database, "SERVICE_ENVIRONMENT": "test"}
    assert alembic(full, database, "upgrade", "head").returncode == 0
    create_user(full, database)
    with served(full, COMMAND, variables=variables) as (_, port, _):
        ((name, value),) = log_in(f"http://127.0.0.1:{port}").items()
    options = ["--connections", "4", "--header", f"{name}: {value}", "--header", "Accept: application/json"]

    loaded = load(full, "/v1/items", *options, **SIGNED_ALIKE, **variables)

    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    numbers = table(loaded.stdout)
    assert numbers.keys() == ROWS.keys(), loaded.stdout
    assert numbers["requests"] > 20
    assert 0 < numbers["p50"] <= numbers["p99"] <= numbers["max"]
    assert numbers["errors"] == 0
    assert numbers["memory"] > 20


def test_a_rate_is_kept_to(full: Path) -> None:
    loaded = load(full, "--rate", "50", "--seconds", "2")

    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert 80 <= table(loaded.stdout)["requests"] <= 100


def test_answers_that_are_errors_fail_it(full: Path) -> None:
    loaded = load(full, "/nowhere", "--rate", "50")

    assert loaded.returncode == 1
    assert table(loaded.stdout)["errors"] == 100
    assert re.search(r"\d x 404$", loaded.stdout, re.MULTILINE)


@pytest.mark.parametrize("header", ["", "nothing", "Two: lines\r\nX: a", "Accept:", "no name: a"])
def test_what_is_no_header_is_refused(full: Path, header: str) -> None:
    loaded = load(full, "--header", header)

    assert loaded.returncode == 2
    assert loaded.stderr.splitlines()[-1] == "poe load: error: --header is like 'Accept-Language: de'"


def test_a_server_that_does_not_start_fails_it(full: Path) -> None:
    loaded = load(full, LOG_LEVEL="hunter2", SERVICE_ENVIRONMENT="test")

    assert loaded.returncode == 1
    assert loaded.stdout == ""
    assert loaded.stderr.splitlines()[-1] == "The server has not started."
    assert "LOG_LEVEL: " in loaded.stderr


def test_a_service_that_is_not_there_fails_it(full: Path) -> None:
    loaded = load(full, "--url", "http://127.0.0.1:1")

    assert loaded.returncode == 1
    assert loaded.stderr == "There was no answer from http://127.0.0.1:1.\n"
