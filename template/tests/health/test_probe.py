"""The container's health check says what the service says."""

from http import HTTPStatus

import pytest
from anyio.to_thread import run_sync

from app.health import probe
from tests.fixtures.http import Upstream


async def exit_code(url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("SERVER_PORT", url.rpartition(":")[2])
    return await run_sync(probe.main)


async def test_ready_is_healthy(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert await exit_code(await upstream.start(), monkeypatch) == 0
    assert upstream.asked == ["/readyz"]


async def test_not_ready_is_unhealthy(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await upstream.start(status=HTTPStatus.SERVICE_UNAVAILABLE)

    assert await exit_code(url, monkeypatch) == 1


async def test_silence_is_unhealthy(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.05)

    assert await exit_code(await upstream.start(silent=True), monkeypatch) == 1


async def test_gone_is_unhealthy(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await exit_code(gone, monkeypatch) == 1
