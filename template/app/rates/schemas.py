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

    base: Currency
    rates: dict[Currency, Rate]
    providers: dict[str, ProviderStatus]
