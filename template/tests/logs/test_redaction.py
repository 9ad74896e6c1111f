"""Secrets are in no record, wherever they came from."""

import logging
from http import HTTPStatus
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header
from httpx2 import AsyncClient
from pydantic import BaseModel, SecretStr, ValidationError
from structlog.stdlib import get_logger

from app.schemas import Schema
from tests.fixtures.logs import Logged

CANARY = "hunter2"


class Credentials(Schema):
    name: str
    password: str


class Quote(BaseModel):
    price: int


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    @app.post("/tests/sessions/{name}")
    async def create_session(
        name: str, credentials: Credentials, authorization: Annotated[str | None, Header()] = None
    ) -> None:
        raise RuntimeError(f"authorization={authorization!r}, {credentials.password=}, {CANARY}@example.org")

    return app


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ada", "password": CANARY},
        {"name": CANARY},
        {"name": "ada", "password": [CANARY]},
        {"name": "ada", "password": "a", CANARY: CANARY},
        CANARY,
    ],
)
async def test_what_a_caller_sends_is_not_logged(
    logged: Logged, app: FastAPI, client: AsyncClient, body: object
) -> None:
    headers = {
        "Authorization": f"Bearer {CANARY}-{CANARY}",
        "Cookie": f"session={CANARY}",
        "User-Agent": f"{CANARY}\x1b[31m",
        "X-API-Key": CANARY,
        "Referer": f"https://example.org/?token={CANARY}",
        "X-Forwarded-For": CANARY,
    }

    response = await client.post(
        f"/tests/sessions/{CANARY}%0A%1B", params={"token": CANARY}, headers=headers, json=body
    )
    await client.get(f"/{CANARY}")

    assert response.status_code in {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.INTERNAL_SERVER_ERROR}
    records = logged()
    assert CANARY not in str(records)
    assert [record["event"] for record in records if record["event"] == "http.request"] == ["http.request"] * 2


@pytest.mark.parametrize(
    "event",
    [
        {"password": CANARY},
        {"user_email": CANARY},
        {"headers": {"Set-Cookie": CANARY, "accept": ["text/plain"]}},
        {"headers": [{"authorization": CANARY}]},
        {"url": f"https://ada:{CANARY}@example.org/"},
        {"url": f"https://example.org/orders?page={CANARY}"},
        {"note": f"Basic {CANARY}aGVsbG8="},
        {"note": f"sent to {CANARY}@example.org"},
        {"note": f'{{"api_key": "{CANARY}", "page": 1}}'},
        {"note": f"secret={CANARY}; page=1"},
        {"value": SecretStr(CANARY)},
        {"value": SimpleNamespace(token=CANARY)},
        {"note": f"Authorization: Bearer {CANARY}"},
        {"note": f"Proxy-Authorization=Basic {CANARY}"},
        {"note": f"Cookie: theme=dark; session={CANARY}"},
        {"note": f"https://example.org/?filter[name]={CANARY}"},
        {"key": CANARY},
        {"signing_key": CANARY},
        {"headers": [("cookie", CANARY), (b"x-api-key", CANARY.encode())]},
        {"orders": {f"{CANARY}@example.org": 1}},
        {"value": ValueError(f"DETAIL:  Failing row contains ({CANARY}).")},
    ],
)
def test_a_record_of_ones_own_may_be_careless(logged: Logged, app: FastAPI, event: dict[str, Any]) -> None:
    get_logger().info("orders.shipped", **event)
    logging.getLogger("some.library").warning("shipped %s", event, extra={"token": CANARY})

    records = logged()
    assert [record["event"][:7] for record in records] == ["orders.", "shipped"]
    assert CANARY not in str(records)


def test_a_library_that_quotes_its_input_is_cut_short(logged: Logged, app: FastAPI) -> None:
    try:
        Quote.model_validate({"price": CANARY})
    except ValidationError:
        get_logger().exception("quotes.refused")

    (record,) = logged()
    assert "ValidationError" in str(record)
    assert "Input should be a valid integer" in str(record)
    assert CANARY not in str(record)


def test_everything_else_is_left_as_it_is(logged: Logged, app: FastAPI) -> None:
    harmless = {
        "order_id": 7,
        "paid": True,
        "weight": 1.5,
        "parts": ["a", {"b": None}],
        "tokens_used": 7,
        "email_sent": True,
        "why": "Is it lost? Ask the carrier: https://example.org/track/7 (basic service)",
    }

    get_logger().info("orders.shipped", **harmless)

    (record,) = logged()
    assert {name: record[name] for name in harmless} == harmless
