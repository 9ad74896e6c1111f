"""Rates come from whichever providers answer, and the caller learns which did."""

import asyncio
import json
from http import HTTPStatus

import pytest
from httpx2 import Response

from app.main import create_app

# {%- if auth +%}
from tests.fixtures.auth import act_as

# {%- endif +%}
from tests.fixtures.http import Upstream, connect

FRANKFURTER = json.dumps({"base": "EUR", "date": "2026-11-20", "rates": {"GBP": 0.88, "USD": 1.16}})
FRANKFURTER_UNKNOWN = json.dumps({"message": "not found"})
ER_API = json.dumps({"result": "success", "base_code": "EUR", "rates": {"GBP": 0.89, "JPY": 181.5}})
ER_API_UNKNOWN = json.dumps({"result": "error", "error-type": "unsupported-code"})


async def get(path: str, *, times: int = 1) -> Response:
    """Ask a service that has just read its settings, and return its last answer."""
    app = create_app()
    # {% if auth %}
    act_as(app, "user")
    # {% endif %}
    async with connect(app) as client:
        answers = [await client.get(path) for _ in range(times)]
    return answers[-1]


@pytest.fixture
async def frankfurter(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """One provider that answers."""
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start(FRANKFURTER))


async def test_the_first_provider_wins_and_the_second_adds(
    upstream: Upstream, frankfurter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(ER_API))

    response = await get("/v1/rates/EUR?symbols=GBP,JPY")

    assert sorted(upstream.asked) == ["/latest/EUR", "/latest?base=EUR"]

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {
        "base": "EUR",
        "rates": {"GBP": 0.88, "JPY": 181.5},
        "providers": {"frankfurter": "ok", "er_api": "ok"},
    }


async def test_without_symbols_all_rates_are_returned(frankfurter: None) -> None:
    response = await get("/v1/rates/EUR")

    assert response.json()["rates"] == {"GBP": 0.88, "USD": 1.16, "EUR": 1.0}


# {% if cache %}
async def test_a_provider_that_has_answered_is_not_asked_again(upstream: Upstream, frankfurter: None) -> None:
    response = await get("/v1/rates/EUR", times=2)

    assert response.json()["rates"]["GBP"] == 0.88
    assert upstream.asked == ["/latest?base=EUR"]


async def test_a_provider_that_has_failed_is_asked_again(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start("", status=HTTPStatus.NOT_IMPLEMENTED))

    await get("/v1/rates/EUR", times=2)

    assert upstream.asked == ["/latest?base=EUR"] * 2


# {% endif %}
async def test_the_providers_are_asked_at_the_same_time(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    both_asked = asyncio.Barrier(2)
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start(FRANKFURTER, barrier=both_asked))
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(ER_API, barrier=both_asked))

    response = await get("/v1/rates/EUR")

    assert response.json()["providers"] == {"frankfurter": "ok", "er_api": "ok"}


async def test_a_silent_provider_is_not_waited_for(
    upstream: Upstream, frankfurter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(silent=True))
    monkeypatch.setenv("RATES_TIMEOUT", "0.5")

    response = await get("/v1/rates/EUR?symbols=USD")

    assert response.status_code == HTTPStatus.OK
    assert response.json()["providers"] == {"frankfurter": "ok", "er_api": "timeout"}


async def test_a_provider_that_answers_byte_by_byte_is_not_waited_for(
    upstream: Upstream, frankfurter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(ER_API, pause=0.05))
    monkeypatch.setenv("RATES_TIMEOUT", "0.5")

    response = await get("/v1/rates/EUR?symbols=USD")

    assert response.json()["providers"] == {"frankfurter": "ok", "er_api": "timeout"}


async def test_the_time_out_of_the_client_counts_too(
    upstream: Upstream, frankfurter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(silent=True))
    monkeypatch.setenv("HTTP_CLIENT_TIMEOUT", "0.5")

    response = await get("/v1/rates/EUR?symbols=USD")

    assert response.json()["providers"] == {"frankfurter": "ok", "er_api": "timeout"}


@pytest.mark.parametrize("status", [HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.FOUND])
async def test_a_page_instead_of_an_answer_is_an_error(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, status: HTTPStatus
) -> None:
    both = json.dumps({"base": "EUR", "base_code": "EUR", "rates": {"GBP": 0.88}})
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start(both, status=status))
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(both, status=status))

    response = await get("/v1/rates/EUR")

    assert response.status_code == HTTPStatus.BAD_GATEWAY


@pytest.mark.parametrize(
    "answer",
    [
        "<html>sorry</html>",
        "{}",
        '{"base_code": "EUR", "rates": {"GBP": "cheap"}}',
        '{"base_code": "EUR", "rates": {"GBP": 1e999}}',
        '{"base_code": "EUR", "rates": {"GBP": -1}}',
        '{"base_code": "CHF", "rates": {"GBP": 1}}',
        '{"result": "error", "error-type": "quota-reached"}',
        pytest.param(json.dumps({"base_code": "EUR", "rates": {"GBP": 1.0}, "more": "x" * 10_000}), id="huge"),
    ],
)
async def test_a_wrong_answer_harms_only_its_provider(
    upstream: Upstream, frankfurter: None, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(answer))
    monkeypatch.setenv("HTTP_CLIENT_MAX_RESPONSE_BYTES", "5000")

    response = await get("/v1/rates/EUR?symbols=GBP")

    assert response.json() == {
        "base": "EUR",
        "rates": {"GBP": 0.88},
        "providers": {"frankfurter": "ok", "er_api": "error"},
    }


async def test_the_rates_of_another_currency_are_no_answer(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start(FRANKFURTER))

    response = await get("/v1/rates/CHF")

    assert response.status_code == HTTPStatus.BAD_GATEWAY


async def test_a_provider_that_fails_or_is_gone_is_an_error(
    upstream: Upstream, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATES_FRANKFURTER_URL", gone)
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start("{}", status=HTTPStatus.INTERNAL_SERVER_ERROR))

    response = await get("/v1/rates/EUR")

    assert response.status_code == HTTPStatus.BAD_GATEWAY
    assert response.json()["type"] == "/problems/rates_unavailable"


async def test_without_a_provider_the_answer_names_the_settings() -> None:
    response = await get("/v1/rates/EUR")

    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "RATES_FRANKFURTER_URL" in response.json()["detail"]
    assert "RATES_ER_API_URL" in response.json()["detail"]


async def test_a_base_that_nobody_knows_is_not_found(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATES_FRANKFURTER_URL", await upstream.start(FRANKFURTER_UNKNOWN, status=HTTPStatus.NOT_FOUND))
    monkeypatch.setenv("RATES_ER_API_URL", await upstream.start(ER_API_UNKNOWN, status=HTTPStatus.NOT_FOUND))

    response = await get("/v1/rates/XXX")

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.json()["type"] == "/problems/currency_unknown"


async def test_a_symbol_that_nobody_knows_is_not_found(frankfurter: None) -> None:
    response = await get("/v1/rates/EUR?symbols=GBP,XXX")

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert "XXX" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/rates/eur", "/v1/rates/EURO", "/v1/rates/EUR?symbols=GBP,"])
async def test_what_is_no_currency_code_is_refused(frankfurter: None, path: str) -> None:
    response = await get(path)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
