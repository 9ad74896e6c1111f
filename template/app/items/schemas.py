"""What callers send and get."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1F\x7F]*$")]
Description = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]*$")]
PriceCents = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1, description="in cents")]


class ItemCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Description | None = None
    price_cents: PriceCents


class ItemUpdate(BaseModel):
    """A field that is left out stays as it is; `null` clears the description."""

    model_config = ConfigDict(extra="forbid")

    name: Name | MISSING = MISSING
    description: Description | MISSING | None = MISSING
    price_cents: PriceCents | MISSING = MISSING


class ItemRead(BaseModel):
    id: UUID
    name: Name
    description: Description | None
    price_cents: PriceCents
    created_at: datetime
    updated_at: datetime
