"""What callers send and get."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, BaseModel, ConfigDict, Field

from app.schemas import Int32, Line, Schema, Text

Name = Annotated[Line, Field(min_length=1, max_length=100)]
Description = Annotated[Text, Field(max_length=1000)]
PriceCents = Annotated[Int32, Field(ge=0, description="in cents")]


class ItemCreate(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Desk lamp", "price_cents": 1999}]})

    name: Name
    description: Description | None = None
    price_cents: PriceCents


class ItemUpdate(Schema):
    """A field that is left out stays as it is; `null` clears the description."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price_cents": 1499}]})

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


# {% if tasks %}
class ItemReport(BaseModel):
    items: int
    total_cents: int


# {% endif %}
class Checksum(BaseModel):
    sha256: str
