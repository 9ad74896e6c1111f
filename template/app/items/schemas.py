"""What callers send and get."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, BaseModel, Field

from app.schemas import Int32, Line, Schema, Text

Name = Annotated[Line, Field(min_length=1, max_length=100, examples=["Desk lamp"])]
Description = Annotated[Text, Field(max_length=1000, examples=["It glows."])]
PriceCents = Annotated[Int32, Field(ge=0, description="in cents", examples=[1999])]


class ItemCreate(Schema):
    name: Name
    description: Description | None = None
    price_cents: PriceCents


class ItemUpdate(Schema):
    """A field that is left out stays as it is; `null` clears the description."""

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


class Checksum(BaseModel):
    sha256: str
