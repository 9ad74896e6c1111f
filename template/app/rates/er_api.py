"""ExchangeRate-API: daily rates without a key (https://www.exchangerate-api.com/docs/free)."""

from http import HTTPStatus
from typing import Literal

from httpx2 import AsyncClient
from pydantic import BaseModel, Field

from app.rates.schemas import Currency, Rate


class Answer(BaseModel):
    base_code: Currency
    rates: dict[Currency, Rate]


class Refusal(BaseModel):
    error_type: Literal["unsupported-code"] = Field(alias="error-type")


async def fetch(client: AsyncClient, url: str, base: str) -> dict[str, float]:
    """Return no rates for a currency that the provider does not know; raise `ValueError` for what is no answer."""
    response = await client.get(f"{url}/latest/{base}")
    if response.status_code == HTTPStatus.NOT_FOUND:
        Refusal.model_validate_json(response.content)
        return {}
    answer = Answer.model_validate_json(response.raise_for_status().content)
    if answer.base_code != base:
        raise ValueError(answer.base_code)
    return answer.rates
