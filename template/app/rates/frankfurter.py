"""Frankfurter: the reference rates of central banks (https://frankfurter.dev)."""

from http import HTTPStatus

from httpx2 import AsyncClient
from pydantic import BaseModel

from app.rates.schemas import Currency, Rate


class Answer(BaseModel):
    rates: dict[Currency, Rate]


async def fetch(client: AsyncClient, url: str, base: str) -> dict[str, float]:
    """Return no rates for a currency that the provider does not know."""
    response = await client.get(f"{url}/latest", params={"base": base})
    if response.status_code == HTTPStatus.NOT_FOUND:
        return {}
    return Answer.model_validate_json(response.raise_for_status().content).rates
