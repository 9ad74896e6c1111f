"""Pages of other origins may call the service where the settings say so."""

from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from pydantic import ValidationError

from app.http.cors import CorsSettings
from app.main import create_app
from tests.fixtures.http import connect

ORIGIN = "https://shop.example"
PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-request-id"}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("CORS_ORIGINS", f"{ORIGIN}, https://ok.io")
    app = create_app()

    @app.get("/tests/broken")
    async def get_broken() -> None:
        raise RuntimeError("broken")

    return app


async def test_nobody_is_allowed_until_somebody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORS_ORIGINS", raising=False)

    async with connect(create_app()) as client:
        simple = await client.get("/livez", headers={"Origin": ORIGIN})
        preflight = await client.options("/livez", headers={"Origin": ORIGIN, **PREFLIGHT})

    assert preflight.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    for response in (simple, preflight):
        assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/tests/broken"])
async def test_a_named_origin_may_read_every_answer(client: AsyncClient, path: str) -> None:
    response = await client.get(path, headers={"Origin": ORIGIN})

    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-expose-headers"] == "X-Request-ID"
    assert "access-control-allow-credentials" not in response.headers
    assert response.headers["vary"] == "Origin"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_named_origin_is_told_what_it_may_do(client: AsyncClient) -> None:
    response = await client.options("/livez", headers={"Origin": ORIGIN, **PREFLIGHT})

    assert response.status_code == HTTPStatus.OK
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert "X-Request-ID" in response.headers["access-control-allow-headers"]
    assert response.headers["access-control-max-age"] == "600"


@pytest.mark.parametrize("origin", ["null", "https://ok.io.evil.com", "http://ok.io", "https://ok.io:444"])
async def test_another_origin_is_not(client: AsyncClient, origin: str) -> None:
    simple = await client.get("/livez", headers={"Origin": origin})
    preflight = await client.options("/livez", headers={"Origin": origin, **PREFLIGHT})

    assert "access-control-allow-origin" not in simple.headers
    assert "access-control-allow-origin" not in preflight.headers
    assert preflight.status_code == HTTPStatus.BAD_REQUEST
    assert preflight.headers["content-type"] == "application/problem+json"
    assert preflight.json()["detail"] == "Disallowed CORS origin"


async def test_everything_about_it_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", ORIGIN)
    monkeypatch.setenv("CORS_CREDENTIALS", "true")
    monkeypatch.setenv("CORS_METHODS", "GET")
    monkeypatch.setenv("CORS_HEADERS", "X-Order")
    monkeypatch.setenv("CORS_EXPOSED_HEADERS", "X-Total,X-Next")
    monkeypatch.setenv("CORS_MAX_AGE", "5")

    async with connect(create_app()) as client:
        simple = await client.get("/livez", headers={"Origin": ORIGIN})
        preflight = await client.options("/livez", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"})

    assert simple.headers["access-control-allow-credentials"] == "true"
    assert simple.headers["access-control-expose-headers"] == "X-Total, X-Next"
    assert preflight.headers["access-control-allow-methods"] == "GET"
    assert "X-Order" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-max-age"] == "5"


@pytest.mark.parametrize(
    ("origins", "credentials", "environment"),
    [
        ("*", "true", "development"),
        ("*", "false", "production"),
        ("http://shop.example", "false", "production"),
        ("https://shop.example/", "false", "development"),
        ("https://.*", "false", "development"),
        ("shop.example", "false", "development"),
        ("null", "false", "development"),
    ],
)
def test_a_door_that_stands_open_is_refused(
    monkeypatch: pytest.MonkeyPatch, origins: str, credentials: str, environment: str
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", origins)
    monkeypatch.setenv("CORS_CREDENTIALS", credentials)
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)

    with pytest.raises(ValidationError) as caught:
        CorsSettings()

    assert [mistake.partition(":")[0] for mistake in CorsSettings.explain(caught.value)] == ["CORS_ORIGINS"]
    assert origins not in str(caught.value)
