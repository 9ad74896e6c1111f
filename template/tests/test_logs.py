"""Logs are lines of JSON that machines read, one for each request."""

import logging
import sys
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from app.context import current
from app.main import create_app
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged


async def test_each_request_is_one_line(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    @app.get("/v1/shelves/{number}")
    async def get_shelf(number: int) -> None:
        current.get().principal_id = "ada"

    response = await client.get("/v1/shelves/7?token=hunter2")

    (line,) = logged()
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is UTC
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "event": "http.request",
        "request_id": response.headers["x-request-id"],
        "method": "GET",
        "route": "/v1/shelves/{number}",
        "status": 200,
        "client_ip": "127.0.0.1",
        "user_id": "ada",
    }


async def test_a_path_that_leads_nowhere_is_not_logged(logged: Logged, client: AsyncClient) -> None:
    await client.get("/hunter2")

    (line,) = logged()
    assert line["route"] is None
    assert line["status"] == 404


@pytest.mark.parametrize("name", ["uvicorn.error", "some.library"])
def test_records_of_libraries_have_the_same_form(logged: Logged, app: FastAPI, name: str) -> None:
    logging.getLogger(name).warning("disk %s\nis full", "C:")

    (line,) = logged()
    assert line["event"] == "disk C:\nis full"
    assert line["level"] == "warning"


def test_a_record_that_cannot_be_written_stops_nothing(
    logged: Logged, app: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("some.library").warning("half a character: \ud83d")

    assert "--- Logging error ---" in capsys.readouterr().err


async def test_a_higher_level_silences_the_requests(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARNING")

    async with connect(create_app()) as client:
        await client.get("/livez")

    assert logged() == []


async def test_a_development_terminal_shows_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    async with connect(create_app()) as client:
        await client.get("/livez")

    line = capsys.readouterr().out
    assert "http.request" in line
    assert not line.startswith("{")
