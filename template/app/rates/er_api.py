"""ExchangeRate-API: daily rates without a key (https://www.exchangerate-api.com/docs/free)."""

from httpx2 import AsyncClient
from pydantic import BaseModel, Field

from app.rates.schemas import Currency, Rate


class Answer(BaseModel):
    error: str | None = Field(default=None, alias="error-type")
    rates: dict[Currency, Rate] = {}


async def fetch(client: AsyncClient, url: str, base: str) -> dict[str, float]:
    """Return no rates for a currency that the provider does not know."""
    response = await client.get(f"{url}/latest/{base}")
    answer = Answer.model_validate_json(response.content)
    if answer.error == "unsupported-code":
        return {}
    response.raise_for_status()
    if answer.error is not None:
        raise ValueError(answer.error)
    return answer.rates
