"""A page to try it with, which loads nothing from anywhere."""

import re
from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus

import pytest
from httpx2 import AsyncClient

from app import errors, health, main, websockets
from app.websockets.rooms import declared
from tests.fixtures.http import connect
from tests.fixtures.websockets import URL, subscribe


def hashes(texts: list[str]) -> list[str]:
    return [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]


async def test_the_page_may_run_its_own_scripts_and_nothing_else(client: AsyncClient) -> None:
    response = await client.get("/ws-demo")

    assert response.status_code == HTTPStatus.OK
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    scripts = re.findall(r"<script>(.+?)</script>", response.text, re.DOTALL)
    styles = re.findall(r"<style>(.+?)</style>", response.text, re.DOTALL)
    assert policy["script-src"].split() == hashes(scripts)
    assert policy["style-src"].split() == hashes(styles)
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    assert len(scripts) == response.text.count("<script")
    assert not re.search(r"\b(src|style|on\w+)=|href=(?!\"data:,)", response.text.partition("<script>")[0])


async def test_the_page_is_no_operation(client: AsyncClient) -> None:
    assert "/ws-demo" not in (await client.get("/openapi.json")).json()["paths"]


async def test_there_is_a_room_to_try(sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        assert await subscribe(socket, "demo")


async def test_it_is_not_there_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")
    monkeypatch.setenv("SERVICE_ALLOWED_HOSTS", "test")
    monkeypatch.setattr(main, "FEATURES", [errors, health, websockets])
    monkeypatch.setattr(main, "RESOURCES", [])
    monkeypatch.delitem(declared, "demo", raising=False)

    async with connect(main.create_app()) as client:
        response = await client.get("/ws-demo")

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert "demo" not in declared
