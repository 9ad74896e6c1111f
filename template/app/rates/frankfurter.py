"""Frankfurter: the reference rates of central banks (https://frankfurter.dev)."""

from http import HTTPStatus
from typing import Literal

from httpx2 import AsyncClient
from pydantic import BaseModel

from app.rates.schemas import Currency, Rate


class Answer(BaseModel):
    base: Currency
    rates: dict[Currency, Rate]


class Refusal(BaseModel):
    message: Literal["not found"]


async def fetch(client: AsyncClient, url: str, base: str) -> dict[str, float]:
    """Return no rates for a currency that the provider does not know; raise `ValueError` for what is no answer."""
    response = await client.get(f"{url}/latest", params={"base": base})
    if response.status_code == HTTPStatus.NOT_FOUND:
        Refusal.model_validate_json(response.content)
        return {}
    answer = Answer.model_validate_json(response.raise_for_status().content)
    if answer.base != base:
        raise ValueError(answer.base)
    return answer.rates
