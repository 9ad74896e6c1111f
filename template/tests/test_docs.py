"""The longer examples in the documentation do what they say."""

import re
from http import HTTPStatus
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from app import main
from app.settings import ROOT
from tests.fixtures.http import connect


def install_example(page: str, monkeypatch: pytest.MonkeyPatch, *, number: int = 0) -> FastAPI:
    """Build a service with a resource that a page shows whole."""
    text = ROOT.joinpath("docs", page).read_text("utf-8")
    example = re.findall(r"```python\n(from .+?)```", text, re.DOTALL)[number]
    resource: dict[str, object] = {}
    exec(compile(example, page, "exec"), resource)
    monkeypatch.setattr(main, "RESOURCES", [SimpleNamespace(**resource)])
    return main.create_app()


async def test_a_second_version_stands_beside_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(install_example("versions.md", monkeypatch)) as client:
        old = await client.get("/v1/orders")
        new = await client.get("/v2/orders")
        paths = (await client.get("/openapi.json")).json()["paths"]

    assert old.json() == [{"number": 7}]
    assert old.headers["deprecation"] == "@1798761600"
    assert old.headers["sunset"] == "Fri, 31 Dec 2027 23:59:59 GMT"
    assert old.headers["link"] == '</v2/orders>; rel="successor-version"'
    assert new.json() == {"orders": [{"number": 7}]}
    assert new.headers.keys().isdisjoint({"deprecation", "sunset"})
    assert paths["/v1/orders"]["get"]["deprecated"]
    assert "deprecated" not in paths["/v2/orders"]["get"]


def test_a_secret_is_missed_in_production_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = install_example("settings.md", monkeypatch).state.order_settings
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")

    assert list(type(settings).mistakes()) == ["ORDERS_KEY: production needs a key"]


@pytest.mark.parametrize(("flag", "status"), [("", HTTPStatus.NOT_FOUND), ("true", HTTPStatus.OK)])
async def test_a_flag_decides_whether_a_router_is_there(
    monkeypatch: pytest.MonkeyPatch, flag: str, status: HTTPStatus
) -> None:
    monkeypatch.setenv("FLAGS_BETA_API", flag)

    async with connect(install_example("settings.md", monkeypatch, number=1)) as client:
        response = await client.get("/beta/orders")

    assert response.status_code == status
