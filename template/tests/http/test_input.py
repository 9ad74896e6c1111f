"""Whatever callers send, they learn what is wrong with it."""

import json
from collections.abc import AsyncGenerator
from http import HTTPStatus
from types import SimpleNamespace
from typing import Annotated

import pytest
from fastapi import Body, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse, StreamingResponse
from httpx2 import AsyncClient
from pydantic import Field, Json

from app import main
from app.schemas import Int64, Line, Schema, Text
from tests.fixtures.http import connect

PATH = "/tests/orders"
JSON = {"Content-Type": "application/json"}


class Order(Schema):
    number: Int64 = 1
    weight: float = 1.0
    name: Line = "a name"
    note: Text = ""
    parts: list[str] = Field(default_factory=list)


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    @app.post(PATH)
    async def create_order(order: Order) -> Order:
        return order

    return app


async def test_a_body_of_the_right_form_is_taken(client: AsyncClient) -> None:
    order = {"number": 2**63 - 1, "weight": 1.5, "name": "Zoë 🚀", "note": "two\r\n\tlines", "parts": ["a"]}

    response = await client.post(PATH, json=order)

    assert response.status_code == HTTPStatus.OK
    assert response.json() == order


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json"])
async def test_what_is_not_announced_as_json_is_not_read(client: AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}

    response = await client.post(PATH, content=b'{"number": "\xff"}', headers=headers)

    assert response.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/unsupported_media_type"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.orders+json"])
async def test_json_has_several_names(client: AsyncClient, content_type: str) -> None:
    response = await client.post(PATH, content=b"{}", headers={"Content-Type": content_type})

    assert response.status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{'number': 1}",
        b'{"name": "\xff"}',
        "{}".encode("utf-16"),
        "{}".encode("utf-32-be"),
        b'{"number": ' + b"1" * 5000 + b"}",
        b'{"parts": ' + b"[" * 100_000,
    ],
    ids=["cut off", "no JSON", "no UTF-8", "UTF-16", "UTF-32", "a long number", "deep"],
)
async def test_what_is_no_json_is_malformed(client: AsyncClient, content: bytes) -> None:
    response = await client.post(PATH, content=content, headers=JSON)

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert response.json()["type"] == "/problems/malformed_json"


@pytest.mark.parametrize(
    ("content", "pointer", "code"),
    [
        (b'{"weight": NaN}', "/body/weight", "finite_number"),
        (b'{"weight": -Infinity}', "/body/weight", "finite_number"),
        (b'{"weight": 1e400}', "/body/weight", "finite_number"),
        (b'{"name": NaN}', "/body/name", "string_type"),
        (b'{"number": 9223372036854775808}', "/body/number", "less_than_equal"),
        (b'{"number": -9223372036854775809}', "/body/number", "greater_than_equal"),
        (b'{"number": 1.0}', "/body/number", "int_type"),
        (b'{"number": "1"}', "/body/number", "int_type"),
        (b'{"number": true}', "/body/number", "int_type"),
        (b'{"name": "a\\u0000b"}', "/body/name", "string_pattern_mismatch"),
        (b'{"name": "a\\nb"}', "/body/name", "string_pattern_mismatch"),
        (b'{"note": "a\\u001bb"}', "/body/note", "string_pattern_mismatch"),
        (b'{"note": "\\ud800"}', "/body/note", "string_unicode"),
        (b'{"parts": ["\\ud800"]}', "/body/parts/0", "string_unicode"),
        (b'{"\\ud800": 1}', "/body", "string_unicode"),
        (b'{"colour": "red"}', "/body/colour", "extra_forbidden"),
        (b"[]", "/body", "model_attributes_type"),
        (b"null", "/body", "model_attributes_type"),
        (b"", "/body", "missing"),
    ],
)
async def test_what_is_wrong_is_pointed_at(client: AsyncClient, content: bytes, pointer: str, code: str) -> None:
    response = await client.post(PATH, content=content, headers=JSON)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, response.text
    assert [(error["pointer"], error["code"]) for error in response.json()["errors"]] == [(pointer, code)]


async def test_a_key_that_is_no_text_is_no_obstacle(app: FastAPI, client: AsyncClient) -> None:
    @app.post("/tests/weights")
    async def create_weights(weights: dict[str, int]) -> dict[str, int]:
        return weights

    response = await client.post("/tests/weights", content=b'{"\\ud800": "a"}', headers=JSON)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert [error["code"] for error in response.json()["errors"]] == ["int_parsing"]


async def test_of_two_equal_keys_the_last_one_counts(client: AsyncClient) -> None:
    response = await client.post(PATH, content=b'{"number": 1, "number": 2}', headers=JSON)

    assert response.json()["number"] == 2


async def test_an_endpoint_may_take_larger_bodies(app: FastAPI, client: AsyncClient) -> None:
    @app.post("/tests/catalogues", max_body_size=3_000_000)
    async def create_catalogue(order: Order) -> int:
        return len(order.note)

    response = await client.post("/tests/catalogues", json={"note": "a" * 2_000_000})

    assert response.json() == 2_000_000


async def in_pieces() -> AsyncGenerator[bytes]:
    yield b'{"note": "'
    for _ in range(200):
        yield b"a" * 10


async def test_a_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(app: FastAPI) -> None:
        app.add_middleware(CORSMiddleware, allow_origins=["https://example.org"])

    monkeypatch.setenv("SERVICE_MAX_BODY_BYTES", "1000")
    monkeypatch.setattr(main, "RESOURCES", [SimpleNamespace(install=install)])
    app = main.create_app()

    @app.post(PATH)
    async def create_order(order: Order) -> Order:
        return order

    async with connect(app) as client:
        headers = {**JSON, "Origin": "https://example.org"}
        fitting = await client.post(PATH, content=json.dumps({"note": "a" * 900}), headers=headers)
        announced = await client.post(PATH, content=json.dumps({"note": "a" * 1000}), headers=headers)
        chunked = await client.post(PATH, content=in_pieces(), headers=headers)

    assert fitting.status_code == HTTPStatus.OK
    for response in (announced, chunked):
        assert response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["access-control-allow-origin"] == "https://example.org"
        assert response.json()["detail"] == "Content Too Large"
        assert response.json()["instance"] == PATH


@pytest.mark.parametrize("headers", [{"Content-Length": "1000001"}, {"Transfer-Encoding": "chunked"}])
async def test_a_body_that_nobody_would_read_does_not_break_off_a_stream(
    app: FastAPI, client: AsyncClient, headers: dict[str, str]
) -> None:
    @app.get("/tests/export")
    async def export() -> StreamingResponse:
        return StreamingResponse(in_pieces())

    small = await client.request("GET", "/tests/export", content=b"{}")
    large = await client.request("GET", "/tests/export", content=in_pieces(), headers=headers)

    assert small.status_code == HTTPStatus.OK
    assert large.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert large.headers["content-type"] == "application/problem+json"


async def test_what_says_something_else_in_plain_text_keeps_it(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/tickets")
    async def get_tickets() -> PlainTextResponse:
        return PlainTextResponse("sold out", HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "60"})

    response = await client.get("/tests/tickets")

    assert (response.text, response.headers["retry-after"]) == ("sold out", "60")


async def test_bytes_and_json_in_a_field_are_judged_as_what_they_are(app: FastAPI, client: AsyncClient) -> None:
    @app.post("/tests/files")
    async def create_file(content: Annotated[bytes, Body(media_type="application/octet-stream")], limit: int) -> int:
        return len(content)

    @app.post("/tests/notes")
    async def create_note(meta: Annotated[Json[dict[str, int]], Body(embed=True)]) -> int:
        return len(meta)

    octets = {"Content-Type": "application/octet-stream"}
    file = await client.post("/tests/files", params={"limit": "x"}, content=b"x", headers=octets)
    note = await client.post("/tests/notes", json={"meta": "{x"})

    assert [error["pointer"] for error in file.json()["errors"]] == ["/query/limit"]
    assert [error["pointer"] for error in note.json()["errors"]] == ["/body/meta"]
