"""The service answers to its own names, and to no more requests at once than it can serve."""

import asyncio
from http import HTTPStatus
from time import perf_counter

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient
from httpx2 import AsyncClient

from app.main import create_app
from tests.fixtures.http import connect


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("SERVICE_ALLOWED_HOSTS", "test,*.example.org,[::1]")
    monkeypatch.setenv("SERVICE_MAX_CONCURRENCY", "2")
    app = create_app()

    @app.get("/tests/orders")
    async def list_orders() -> None: ...

    @app.websocket("/tests/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    return app


@pytest.mark.parametrize("host", ["test", "TEST:8000", "eu.example.org", "a.b.example.org:443", "[::1]:80"])
async def test_it_answers_to_its_names(client: AsyncClient, host: str) -> None:
    response = await client.get("/tests/orders", headers={"Host": host})

    assert response.status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    "host",
    ["example.org", "evilexample.org", "test.evil.com", "test:80:80", "", "test ", "test\n", "te%73t", "t\xe9st"],
)
async def test_another_name_is_refused(client: AsyncClient, host: str) -> None:
    response = await client.get("/tests/orders", headers=[(b"Host", host.encode("latin-1"))])

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/host_not_allowed"


async def test_two_names_are_one_too_many(client: AsyncClient) -> None:
    response = await client.get("/tests/orders", headers=[("Host", "test"), ("Host", "test")])

    assert response.status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_ask_by_address(client: AsyncClient, path: str) -> None:
    response = await client.get(path, headers={"Host": "10.0.0.7:8000"})

    assert "status" in response.json()


def test_a_socket_is_held_to_the_same_names(app: FastAPI) -> None:
    client = TestClient(app)

    with client.websocket_connect("/tests/socket", headers={"Host": "test"}):
        pass
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/tests/socket", headers={"Host": "evil.example"}),
    ):
        pass


async def test_without_names_any_name_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_ALLOWED_HOSTS", raising=False)

    async with connect(create_app()) as client:
        response = await client.get("/nowhere", headers={"Host": "anything"})

    assert response.status_code == HTTPStatus.NOT_FOUND


async def test_what_is_too_much_is_refused_at_once(app: FastAPI, client: AsyncClient) -> None:
    both_work, over = asyncio.Barrier(3), asyncio.Event()

    @app.get("/tests/slow")
    async def get_slow() -> None:
        await both_work.wait()
        await over.wait()

    working = [asyncio.create_task(client.get("/tests/slow")) for _ in range(2)]
    await both_work.wait()

    started = perf_counter()
    refused = await client.get("/tests/orders")
    seconds = perf_counter() - started
    alive = await client.get("/livez")
    over.set()
    served = await asyncio.gather(*working)
    afterwards = await client.get("/tests/orders")

    assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["type"] == "/problems/overloaded"
    assert seconds < 0.1
    assert alive.status_code == HTTPStatus.OK
    assert [response.status_code for response in [*served, afterwards]] == [HTTPStatus.OK] * 3


async def test_failures_give_their_place_back(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/broken")
    async def get_broken() -> None:
        raise RuntimeError("broken")

    for _ in range(3):
        await client.get("/tests/broken")
    response = await client.get("/tests/orders")

    assert response.status_code == HTTPStatus.OK
