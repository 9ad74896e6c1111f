"""The description of the service is made for what generates clients from it."""

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from app import health, main
from app.settings import ROOT
from scripts import openapi
from tests.fixtures.http import connect


def install(app: FastAPI) -> None:
    @app.get("/tests/orders", tags=["orders"])
    async def list_orders() -> list[str]:
        return []


def package(name: str, docstring: str, install: Callable[[FastAPI], None]) -> ModuleType:
    module = ModuleType(f"app.{name}", docstring)
    vars(module).update(install=install)
    return module


async def test_it_says_whose_the_service_is(client: AsyncClient) -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    information = (await client.get("/openapi.json")).json()["info"]

    assert information.get("contact") == next(iter(metadata.get("authors", ())), None)
    assert information.get("license", {}).get("identifier") == metadata.get("license")


async def test_the_tags_in_use_are_described_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = package("orders", "Orders, and what becomes of them.\n\nThere is more to say.", install)
    invoices = package("invoices", "Nothing is here yet.", lambda app: None)
    monkeypatch.setattr(main, "RESOURCES", [orders, invoices])

    async with connect(main.create_app()) as client:
        tags = (await client.get("/openapi.json")).json()["tags"]

    descriptions = {tag["name"]: tag["description"] for tag in tags}
    assert descriptions["orders"] == "Orders, and what becomes of them."
    assert descriptions["health"] == health.__doc__
    assert "invoices" not in descriptions
    assert "errors" not in descriptions


async def test_an_operation_is_called_like_its_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "RESOURCES", [SimpleNamespace(install=install)])

    async with connect(main.create_app()) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]

    assert paths["/tests/orders"]["get"]["operationId"] == "list_orders"


def test_no_two_operations_have_the_same_name(app: FastAPI) -> None:
    names = [operation["operationId"] for path in app.openapi()["paths"].values() for operation in path.values()]

    assert sorted(names) == sorted(set(names))


def test_it_can_be_written_to_a_file(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "openapi.json"
    monkeypatch.setattr(sys, "argv", ["openapi", str(file)])

    openapi.main()

    assert capsys.readouterr().out == ""
    text = file.read_text("utf-8")
    assert json.loads(text) == app.openapi()
    assert text.startswith("{\n  ")
    assert text.endswith("\n}\n")
