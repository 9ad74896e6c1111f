"""Every answer says what browsers and caches may do with it."""

import re
from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus

import pytest
from fastapi import FastAPI, Response
from httpx2 import ASGITransport, AsyncClient
from starlette.middleware.base import BaseHTTPMiddleware

from app import errors, health, main

POLICY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-site",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    @app.get("/tests/broken")
    async def get_broken() -> None:
        raise RuntimeError("broken")

    @app.post("/tests/orders")
    async def create_order(number: int) -> int:
        return number

    return app


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", HTTPStatus.OK),
        ("GET", "/nowhere", HTTPStatus.NOT_FOUND),
        ("POST", "/livez", HTTPStatus.METHOD_NOT_ALLOWED),
        ("POST", "/tests/orders", HTTPStatus.UNPROCESSABLE_ENTITY),
        ("GET", "/tests/broken", HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
async def test_every_answer_has_the_policy(client: AsyncClient, method: str, path: str, status: HTTPStatus) -> None:
    response = await client.request(method, path)

    assert response.status_code == status
    assert {name: response.headers.get(name) for name in POLICY} == POLICY
    assert re.fullmatch(r"app;dur=\d+\.\d", response.headers["server-timing"])
    assert response.headers.keys().isdisjoint({"server", "x-powered-by", "strict-transport-security"})


async def test_an_endpoint_may_say_something_else(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/catalogue")
    async def get_catalogue(response: Response) -> None:
        response.headers["Cache-Control"] = "private, max-age=60"

    response = await client.get("/tests/catalogue")

    assert response.headers.get_list("cache-control") == ["private, max-age=60"]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer x"}, {"Cookie": "session=x"}])
@pytest.mark.parametrize(
    ("policy", "private"),
    [
        ("public, max-age=60", "private, max-age=60"),
        ("max-age=60, Public", "private, max-age=60"),
        ("s-maxage=60, must-revalidate", "private, must-revalidate"),
        ("max-age=60", "private, max-age=60"),
        ("public", "private"),
        ("private, max-age=60", "private, max-age=60"),
        ("no-store", "no-store"),
    ],
)
async def test_what_somebody_signed_in_gets_is_for_nobody_else(
    app: FastAPI, client: AsyncClient, headers: dict[str, str], policy: str, private: str
) -> None:
    @app.get("/tests/catalogue")
    async def get_catalogue(response: Response) -> None:
        response.headers["Cache-Control"] = policy

    anonymous = await client.get("/tests/catalogue")
    signed_in = await client.get("/tests/catalogue", headers=headers)

    assert anonymous.headers["cache-control"] == policy
    assert signed_in.headers["cache-control"] == private


@pytest.mark.parametrize(
    ("environment", "url", "policy"),
    [
        ("production", "https://test", "max-age=31536000"),
        ("production", "http://test", None),
        ("development", "https://test", None),
    ],
)
async def test_in_production_a_browser_stays_with_https(
    monkeypatch: pytest.MonkeyPatch, environment: str, url: str, policy: str | None
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)
    monkeypatch.setenv("SERVICE_ALLOWED_HOSTS", "test")
    monkeypatch.setattr(main, "FEATURES", [errors, health])
    monkeypatch.setattr(main, "RESOURCES", [])

    async with AsyncClient(transport=ASGITransport(main.create_app()), base_url=url) as client:
        response = await client.get("/livez")

    assert response.headers.get("strict-transport-security") == policy


async def test_the_documentation_may_load_its_own_assets_and_nothing_else(client: AsyncClient) -> None:
    response = await client.get("/docs")

    policy = dict(directive.split(" ", 1) for directive in response.headers["content-security-policy"].split("; "))
    (script,) = re.findall(r"<script>(.+?)</script>", response.text, re.DOTALL)
    (source,) = re.findall(r"https://\S+\.js\b", response.text)
    (style,) = re.findall(r"https://\S+\.css\b", response.text)
    (icon,) = re.findall(r"https://\S+\.png\b", response.text)
    assert source in policy["script-src"].split()
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy["script-src"]
    assert style in policy["style-src"].split()
    assert icon in policy["img-src"].split()
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"


def test_no_middleware_is_built_on_the_slow_base(app: FastAPI) -> None:
    classes = [middleware.cls for middleware in app.user_middleware]

    assert classes
    assert not any(isinstance(cls, type) and issubclass(cls, BaseHTTPMiddleware) for cls in classes)
