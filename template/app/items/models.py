"""The table of the items."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Entity


class Item(Entity):
    __tablename__ = "items"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    description: Mapped[str | None] = mapped_column(String(1000))
    price_cents: Mapped[int]
