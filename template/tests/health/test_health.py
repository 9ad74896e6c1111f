"""Alive is not the same as ready."""

import asyncio
import signal
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from app.health import State, add_check, checks, drain
from app.main import create_app
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged


async def test_a_living_process_says_so_whatever_else_is_down(app: FastAPI, client: AsyncClient) -> None:
    asked: list[str] = []

    async def check() -> None:
        asked.append("shelf")

    add_check(app, "shelf", check)

    response = await client.get("/livez")

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {"status": "ok"}
    assert asked == []


async def test_it_is_ready_when_every_check_passes(app: FastAPI, client: AsyncClient) -> None:
    async def check() -> None: ...

    add_check(app, "shelf", check)

    response = await client.get("/readyz")

    assert response.status_code == HTTPStatus.OK
    assert response.json()["checks"]["shelf"] == "ok"


async def test_it_is_not_ready_when_one_check_fails(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    async def check() -> None:
        raise ConnectionRefusedError("hunter2")

    add_check(app, "shelf", check)

    response = await client.get("/readyz")

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert response.json()["status"] == "fail"
    assert response.json()["checks"]["shelf"] == "fail"
    assert "hunter2" not in response.text
    assert "health.check_failed" in [record["event"] for record in logged()]


async def test_it_is_ready_although_something_is_amiss(app: FastAPI, client: AsyncClient) -> None:
    async def check() -> State:
        return State.DEGRADED

    add_check(app, "shelf", check)

    response = await client.get("/readyz")

    assert response.status_code == HTTPStatus.OK
    assert response.json()["status"] == "degraded"
    assert response.json()["checks"]["shelf"] == "degraded"


async def test_the_checks_run_at_the_same_time(app: FastAPI, client: AsyncClient) -> None:
    both_asked = asyncio.Barrier(2)
    add_check(app, "shelf", both_asked.wait)
    add_check(app, "cellar", both_asked.wait)

    response = await client.get("/readyz")

    assert response.status_code == HTTPStatus.OK


async def test_a_check_that_hangs_has_failed(
    app: FastAPI, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CHECK_SECONDS", 0.01)
    app.state.readiness.checks = {"shelf": partial(asyncio.sleep, 5)}  # others may take longer

    response = await client.get("/readyz")

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE


async def test_many_probes_are_one_question(app: FastAPI, client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def check() -> None:
        asked.append("shelf")
        await asyncio.sleep(0)

    add_check(app, "shelf", check)

    await asyncio.gather(*(client.get("/readyz") for _ in range(5)))
    monkeypatch.setattr(checks, "FRESH_SECONDS", 0)
    app.state.readiness.fresh_until = 0
    await client.get("/readyz")
    await client.get("/readyz")

    assert asked == ["shelf"] * 3


async def test_a_probe_that_hangs_up_leaves_the_answer_to_the_others(app: FastAPI, client: AsyncClient) -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        asked.set()
        await over.wait()

    add_check(app, "shelf", check)
    first, second = (asyncio.create_task(client.get("/readyz")) for _ in range(2))
    await asked.wait()

    first.cancel()
    over.set()
    response = await second

    assert response.status_code == HTTPStatus.OK


@pytest.fixture
def stopped() -> Iterator[asyncio.Event]:
    """Whether the server has been told to stop."""
    told = asyncio.Event()
    server = signal.signal(signal.SIGTERM, lambda number, frame: told.set())
    yield told
    signal.signal(signal.SIGTERM, server)


async def test_before_it_stops_it_is_not_ready_but_serves(
    stopped: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_DRAIN", "1")

    async with connect(create_app()) as client:
        signal.raise_signal(signal.SIGTERM)
        response = await client.get("/readyz")
        still_there = not stopped.is_set()
        await asyncio.wait_for(stopped.wait(), 10)

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert response.json()["checks"]["shutdown"] == "fail"
    assert still_there


@pytest.mark.parametrize(("seconds", "at_once"), [(0, True), (60, False)])
async def test_told_twice_it_stops_at_once(
    stopped: asyncio.Event, monkeypatch: pytest.MonkeyPatch, seconds: float, at_once: bool
) -> None:
    monkeypatch.setattr(drain, "SAME_SECONDS", seconds)
    monkeypatch.setenv("HEALTH_DRAIN", "60")

    async with connect(create_app()) as client:
        signal.raise_signal(signal.SIGTERM)
        await client.get("/readyz")
        told_once = stopped.is_set()
        signal.raise_signal(signal.SIGTERM)

    assert not told_once
    assert stopped.is_set() is at_once


async def test_what_has_ended_otherwise_is_not_stopped_any_more(
    stopped: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_DRAIN", "0.5")

    async with connect(create_app()) as client:
        signal.raise_signal(signal.SIGTERM)
        await client.get("/livez")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stopped.wait(), 0.7)


async def test_not_being_ready_is_described(client: AsyncClient) -> None:
    description = (await client.get("/openapi.json")).json()

    content = description["paths"]["/readyz"]["get"]["responses"]["503"]["content"]
    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Readiness"}}}
