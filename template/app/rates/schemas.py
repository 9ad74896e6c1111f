"""What the endpoint returns, and what it accepts from providers."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ProviderStatus(StrEnum):
    OK = "ok"
    TIMEOUT = "timeout"
    ERROR = "error"


class RatesRead(BaseModel):
    """What one unit of `base` is worth in each currency, and how each provider fared."""

    base: Currency = Field(examples=["CHF"])
    rates: dict[Currency, Rate] = Field(examples=[{"EUR": 1.07, "GBP": 0.94}])
    providers: dict[str, ProviderStatus] = Field(examples=[{"frankfurter": "ok", "er_api": "timeout"}])
