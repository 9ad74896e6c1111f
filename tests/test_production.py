"""What production refuses, and whom it believes: a bare service and the full one, as processes of their own."""

import json
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.combinations import BARE
from tests.conftest import Render
from tests.serving import NO_BROKER, NOWHERE, SIGNED_ALIKE, run, served

RIGHT = {
    **SIGNED_ALIKE,
    **NOWHERE,
    **NO_BROKER,
    "SERVICE_ALLOWED_HOSTS": "127.0.0.1",
    "DATABASE_URL": "postgresql://127.0.0.1/service",
}
WRONG = {
    "no host": {"SERVICE_ALLOWED_HOSTS": ""},
    "any host": {"SERVICE_ALLOWED_HOSTS": "hunter2.example,*"},
    "any origin": {"CORS_ORIGINS": "https://hunter2.example,*"},
    "an origin without TLS": {"CORS_ORIGINS": "http://hunter2.example"},
    "any page": {"WEBSOCKETS_ORIGINS": "*"},
    "a page without TLS": {"WEBSOCKETS_ORIGINS": "http://hunter2.example"},
    "any origin with cookies": {"CORS_ORIGINS": "*", "CORS_CREDENTIALS": "true"},
    "SQLite": {"DATABASE_URL": "sqlite:///hunter2.db"},
    "no secret": {"AUTH_SECRET_KEY": ""},
    "a short secret": {"AUTH_SECRET_KEY": "hunter2-0123456789abcdefghijklm"},
    "a secret from an example": {"AUTH_SECRET_KEY": "hunter2-change-me-0123456789abcdefghijklm"},
    "no broker": {"TASKS_BROKER_URL": ""},
    "an old secret that is none": {"AUTH_OLD_SECRET_KEYS": "hunter2"},
}
WRONG["everything"] = {name: value for variables in WRONG.values() for name, value in variables.items()}
BROKEN = [*((name, 1) for name in WRONG), ("everything", 4)]


@pytest.mark.parametrize(("rule", "workers"), BROKEN, ids=[f"{name}, {workers}" for name, workers in BROKEN])
def test_each_variable_that_is_wrong_is_named_and_none_is_shown(full: Path, rule: str, workers: int) -> None:
    command = (sys.executable, "-m", "app.serve", "--workers", str(workers))

    ended = run(full, *command, variables={**RIGHT, **WRONG[rule]})

    assert ended.returncode == 78
    named = {line.partition(":")[0].split()[0] for line in ended.stderr.splitlines()}
    assert named == WRONG[rule].keys() - {"CORS_CREDENTIALS"}  # wrong beside the origins alone
    assert "hunter2" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("workers", [("--workers", "2"), ()], ids=["option", "variable"])
@pytest.mark.parametrize("variable", ["RATE_LIMIT_URL", "WEBSOCKETS_URL"])
def test_several_processes_are_not_each_by_itself(full: Path, workers: tuple[str, ...], variable: str) -> None:
    variables = {**RIGHT, "SERVER_WORKERS": "1" if workers else "2", variable: ""}

    ended = run(full, sys.executable, "-m", "app.serve", *workers, variables=variables)

    assert ended.returncode == 78
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{variable}: several processes")


def test_the_server_alone_does_not_start_either(full: Path) -> None:
    ended = run(full, sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0", variables=WRONG["everything"])

    assert ended.returncode != 0
    assert "hunter2" not in ended.stdout + ended.stderr


def ask(folder: Path, variables: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Ask with every header by which a proxy tells who is calling; return the answer's headers and the log."""
    headers = {
        "X-Forwarded-For": "198.51.100.1, 203.0.113.7, 127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=198.51.100.1;host=evil.example;proto=https",
        "True-Client-IP": "198.51.100.1",
        "X-Real-IP": "198.51.100.1",
    }
    with served(folder, [sys.executable, "-m", "app.serve"], variables=variables) as (process, port, _):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/nowhere", headers=headers)
        answer = {name.lower(): value for name, value in connection.getresponse().getheaders()}
        process.terminate()
        written, _ = process.communicate(timeout=30)
    return answer, written


@pytest.mark.parametrize(
    ("trusted", "address", "https"),
    [("", "127.0.0.1", False), ("10.0.0.0/8", "127.0.0.1", False), ("10.0.0.1,127.0.0.0/8", "203.0.113.7", True)],
)
def test_a_proxy_is_believed_where_it_is_named(render: Render, trusted: str, address: str, https: bool) -> None:
    answer, written = ask(render(BARE), {"SERVER_TRUSTED_PROXIES": trusted})

    (line,) = [line for line in map(json.loads, written.splitlines()) if line["event"] == "http.request"]
    assert line["client_ip"] == address
    assert ("strict-transport-security" in answer) is https
    assert "evil.example" not in str(answer) + written
    assert "198.51.100.1" not in written
