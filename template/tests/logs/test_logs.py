"""Logs are lines of JSON that machines read, one for each request."""

import logging
import logging.config
import re
import sys
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from structlog.stdlib import get_logger
from uvicorn.config import LOGGING_CONFIG

from app.context import current
from app.errors import ServiceError
from app.logs import configure
from app.main import create_app
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged


async def test_each_request_is_one_line(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves/{number}")
    async def get_shelf(number: int) -> None:
        current.get().principal_id = "ada"

    response = await client.get("/tests/shelves/7?token=hunter2")

    (line,) = logged()
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is UTC
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "event": "http.request",
        "request_id": response.headers["x-request-id"],
        "method": "GET",
        "route": "/tests/shelves/{number}",
        "status": 200,
        "client_ip": "127.0.0.1",
        "user_id": "ada",
    }


@pytest.mark.parametrize(
    ("parent", "trace"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
        ("hunter2", None),
    ],
)
async def test_the_trace_of_the_caller_is_named(
    logged: Logged, client: AsyncClient, parent: str, trace: str | None
) -> None:
    await client.get("/livez", headers={"traceparent": parent})

    (line,) = logged()
    assert line.get("trace_id") == trace


async def test_a_path_that_leads_nowhere_is_not_logged(logged: Logged, client: AsyncClient) -> None:
    await client.get("/hunter2")

    (line,) = logged()
    assert line["route"] is None
    assert line["status"] == 404


@pytest.mark.parametrize("name", ["uvicorn.error", "some.library"])
def test_records_of_libraries_have_the_same_form(logged: Logged, app: FastAPI, name: str) -> None:
    logging.getLogger(name).warning("disk %s\nis full", "C:", extra={"color_message": "red", "free": 0})

    (line,) = logged()
    del line["timestamp"]
    assert line == {"level": "warning", "event": "disk C:\nis full", "logger": name, "free": 0}


def test_a_record_of_ones_own_may_carry_anything(logged: Logged, app: FastAPI) -> None:
    get_logger().info(
        "orders.%s", "shipped", parcels={1: 2}, weight=2**70, sender=object, note="half a \ud83d", stack_info=True
    )

    (line,) = logged()
    assert "test_a_record_of_ones_own" in line["stack"]
    assert line["event"] == "orders.shipped"
    assert line["note"] == "half a \ud83d"


def test_what_is_below_the_level_is_not_written(logged: Logged, app: FastAPI) -> None:
    get_logger().debug("orders.looked_at")
    logging.getLogger("httpx2").info("GET https://example.org/?token=hunter2")
    logging.getLogger("watchfiles").info("1 change detected")
    logging.getLogger("uvicorn.access").info("GET /livez")

    assert logged() == []


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ('%s - "WebSocket %s" [accepted]', ("127.0.0.1", "/?token=hunter2")),
        ('%s - "WebSocket %s" %d', ("127.0.0.1", "/?token=hunter2", 403)),
        ("connection rejected (%d %s)", (403, "Forbidden")),
        ("connection open", ()),
        ("connection closed", ()),
    ],
)
def test_what_the_server_says_of_a_socket_is_not_written(
    logged: Logged, app: FastAPI, message: str, arguments: tuple[object, ...]
) -> None:
    logging.getLogger("uvicorn.error").info(message, *arguments)

    assert logged() == []


def test_nobody_has_another_way_out(logged: Logged) -> None:
    logging.config.dictConfig(LOGGING_CONFIG)
    logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
    create_app()

    logging.getLogger("uvicorn.error").info("Started")

    (line,) = logged()
    assert line["event"] == "Started"
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_a_record_that_cannot_be_written_stops_nothing(
    logged: Logged, app: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    get_logger().warning("no name", value={(1, 2): 3})

    assert capsys.readouterr().err == "A record of tests.logs.test_logs cannot be written: TypeError\n"


async def test_a_lower_level_does_not_silence_the_requests(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")

    async with connect(create_app()) as client:
        await client.get("/livez")

    assert "http.request" in [line["event"] for line in logged()]


async def test_a_higher_level_silences_the_requests(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARNING")

    async with connect(create_app()) as client:
        await client.get("/livez")

    assert "http.request" not in [line["event"] for line in logged()]


async def test_a_development_terminal_shows_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    app = create_app()

    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise ServiceError("The shelves are gone.")

    async with connect(app) as client:
        await client.get("/tests/shelves")
        await client.get("/nowhere")

    line = capsys.readouterr().out
    assert "http.request" in line
    assert "status=500" in re.sub(r"\x1b\[\d*m", "", line)
    assert "status=404" in re.sub(r"\x1b\[\d*m", "", line)
    assert not line.startswith("{")


@pytest.mark.parametrize(("environment", "terminal"), [("production", True), ("development", False)])
def test_anything_else_is_json(
    logged: Logged, monkeypatch: pytest.MonkeyPatch, environment: str, terminal: bool
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    configure()

    get_logger().info("orders.shipped")

    assert [line["event"] for line in logged()] == ["orders.shipped"]


def test_a_stack_in_a_terminal_shows_no_local_variables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    create_app()

    try:
        password = "a local " + "secret"
        raise RuntimeError("torn" if password else "")
    except RuntimeError:
        get_logger().exception("orders.failed")

    text = capsys.readouterr().out
    assert "torn" in text
    assert "a local secret" not in text


async def test_a_line_that_cannot_be_written_stops_no_request(
    app: FastAPI, client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        current.get().principal_id = "half a \ud83d"

    response = await client.get("/tests/shelves")

    assert response.status_code == 200
    assert "surrogates not allowed" in capsys.readouterr().err
