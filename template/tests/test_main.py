"""The application is what its features and resources make of it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import SimpleNamespace

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from httpx2 import AsyncClient
from starlette.types import ASGIApp, Receive, Scope, Send

from app import errors, main
from app.feature import add_lifespan
from app.settings import project
from tests.fixtures.http import connect
from tests.fixtures.logs import Logged


class Broken:
    """Middleware of the owner's that fails."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")


async def test_it_is_named_after_its_project(client: AsyncClient) -> None:
    information = (await client.get("/openapi.json")).json()["info"]

    assert (information["title"], information["version"], information["description"]) == project()


def test_it_starts_and_stops_when_its_server_says_so(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.get("/livez").status_code == HTTPStatus.OK


async def test_lifespans_add_up(app: FastAPI) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, str]]:
        yield {"orders": "open"}

    add_lifespan(app, lifespan)

    async with app.router.lifespan_context(app) as state:
        assert state is not None
        assert state["orders"] == "open"
        assert "http_client" in state


async def test_what_is_open_is_there_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, str]]:
        yield {"orders": "open"}

    resource = SimpleNamespace(install=lambda app: app.include_router(APIRouter(lifespan=lifespan)))
    monkeypatch.setattr(main, "RESOURCES", [resource])
    app = main.create_app()

    async with connect(app):
        assert app.state.opened["orders"] == "open"
        assert "http_client" in app.state.opened


async def test_a_resource_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(app: FastAPI) -> None:
        @app.get("/tests/orders")
        async def list_orders() -> list[str]:
            return []

    monkeypatch.setattr(main, "RESOURCES", [SimpleNamespace(install=install)])

    async with connect(main.create_app()) as client:
        response = await client.get("/tests/orders")

    assert response.status_code == HTTPStatus.OK


async def test_the_owners_middleware_stands_inside_the_request(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "RESOURCES", [SimpleNamespace(install=lambda app: app.add_middleware(Broken))])

    async with connect(main.create_app()) as client:
        response = await client.get("/livez")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert [record["event"] for record in logged()] == ["http.unhandled_error", "http.request"]


async def test_every_answer_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(app: FastAPI) -> None:
        @app.post("/tests/orders")
        async def create_order(number: int) -> int:
            return number

    monkeypatch.setattr(main, "RESOURCES", [SimpleNamespace(install=install)])

    async with connect(main.create_app()) as client:
        description = (await client.get("/openapi.json")).json()

    responses = description["paths"]["/tests/orders"]["post"]["responses"]
    assert responses.keys() == {"200", "4XX", "5XX"}
    assert responses["4XX"]["content"] == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    assert "request_id" in description["components"]["schemas"]["Problem"]["properties"]
    assert "HTTPValidationError" not in description["components"]["schemas"]


@pytest.mark.parametrize(
    ("environment", "docs", "status"),
    [
        ("development", "", HTTPStatus.OK),
        ("development", "false", HTTPStatus.NOT_FOUND),
        ("production", "", HTTPStatus.NOT_FOUND),
        ("production", "true", HTTPStatus.OK),
    ],
)
def test_the_description_is_not_shown_in_production(
    monkeypatch: pytest.MonkeyPatch, environment: str, docs: str, status: HTTPStatus
) -> None:
    monkeypatch.setenv("SERVICE_DOCS", docs)
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)
    monkeypatch.setenv("SERVICE_ALLOWED_HOSTS", "testserver")
    monkeypatch.setattr(main, "FEATURES", [errors])
    monkeypatch.setattr(main, "RESOURCES", [])
    client = TestClient(main.create_app())

    assert {path: client.get(path).status_code for path in ("/docs", "/openapi.json")} == dict.fromkeys(
        ("/docs", "/openapi.json"), status
    )
