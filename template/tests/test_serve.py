"""The server starts with what the environment and the command line say."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
import uvicorn

from app.settings import ROOT


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What uvicorn was told."""
    told: dict[str, object] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: told.update(options, app=app))
    monkeypatch.setattr(sys, "argv", ["serve"])
    monkeypatch.setenv("SERVER_WORKERS", "")  # which the command sets
    monkeypatch.delitem(sys.modules, "app.serve", raising=False)  # runpy warns of what is imported already
    return told


def start() -> object:
    """Return the exit code of `python -m app.serve`."""
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("app.serve", run_name="__main__")
    return ended.value.code


def test_it_serves_without_reloading_and_without_naming_itself(started: dict[str, object]) -> None:
    start()

    assert {name: told for name, told in started.items() if not name.startswith("ws")} == {
        "app": "app.main:app",
        "host": "127.0.0.1",
        "port": 8000,
        "reload": False,
        "reload_dirs": None,
        "workers": 1,
        "limit_max_requests": None,
        "limit_max_requests_jitter": 0,
        "timeout_keep_alive": 5,
        "timeout_graceful_shutdown": 20,
        "proxy_headers": False,
        "forwarded_allow_ips": [],
        "server_header": False,
        "access_log": False,
        "log_config": None,
    }


def test_every_number_is_a_setting(started: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_HOST", "0.0.0.0")
    monkeypatch.setenv("SERVER_WORKERS", "2")
    monkeypatch.setenv("SERVER_MAX_REQUESTS", "1000")
    monkeypatch.setenv("SERVER_MAX_REQUESTS_JITTER", "100")
    monkeypatch.setenv("SERVER_KEEP_ALIVE", "75")
    monkeypatch.setenv("SERVER_GRACEFUL_TIMEOUT", "10")

    start()

    assert started["host"] == "0.0.0.0"
    assert started["workers"] == 2
    assert started["limit_max_requests"] == 1000
    assert started["limit_max_requests_jitter"] == 100
    assert started["timeout_keep_alive"] == 75
    assert started["timeout_graceful_shutdown"] == 10


def test_the_command_line_wins(started: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PORT", "9000")
    monkeypatch.setattr(sys, "argv", ["serve", "--port", "9001"])

    start()

    assert started["port"] == 9001


def test_features_know_how_many_workers_the_command_line_asks_for(
    started: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_WORKERS", "2")
    monkeypatch.setattr(sys, "argv", ["serve", "--workers", "3"])

    start()

    assert started["workers"] == 3
    assert os.environ["SERVER_WORKERS"] == "3"


@pytest.mark.parametrize("variable", ["SERVICE_ENVIRONMENT", "SERVER_PORT", "LOG_LEVEL", "HTTP_CLIENT_TIMEOUT"])
def test_a_wrong_setting_is_named_and_not_repeated(
    started: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
) -> None:
    monkeypatch.setenv(variable, "hunter2")
    monkeypatch.delitem(sys.modules, "app.main", raising=False)

    assert start() == 78

    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"{variable}: Input should be")
    assert "hunter2" not in message
    assert started == {}


def test_all_that_is_wrong_is_named_at_once(
    started: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", "--port", "hunter2"])
    for variable in ("SERVER_WORKERS", "LOG_LEVEL", "HTTP_CLIENT_TIMEOUT", "SERVICE_MAX_BODY_BYTES"):
        monkeypatch.setenv(variable, "hunter2")
    monkeypatch.delitem(sys.modules, "app.main", raising=False)

    assert start() == 78

    named = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert sorted(named) == [
        "HTTP_CLIENT_TIMEOUT",
        "LOG_LEVEL",
        "SERVER_PORT",
        "SERVER_WORKERS",
        "SERVICE_MAX_BODY_BYTES",
    ]


def test_development_reloads(started: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")

    start()

    assert started["reload"] is True
    assert started["reload_dirs"] == [str(ROOT / "app")]


def test_sigterm_under_load_loses_no_request(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    command = [sys.executable, "-m", "app.serve", "--port", str(port)]
    answers: list[int] = []
    with log.open("wb") as output, subprocess.Popen(command, cwd=ROOT, stdout=output) as server:
        while server.poll() is None:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/livez", headers={"Connection": "close"})
                answers.append(connection.getresponse().status)
            except (OSError, HTTPException):
                time.sleep(0.01)  # it has yet to start, or is gone
            finally:
                connection.close()
            if len(answers) == 20:
                server.terminate()

    served = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "http.request"]
    assert server.returncode in {0, -signal.SIGTERM}
    assert len(answers) >= 20
    assert answers == [HTTPStatus.OK] * len(served)
