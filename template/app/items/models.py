"""The table of the items."""

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import OwnerId

# {%- endif +%}
from app.database import Entity


class Item(Entity):
    __tablename__ = "items"
    # {% if not auth %}
    __table_args__ = (UniqueConstraint("name"),)
    # {% endif %}
    # {% if auth %}
    __table_args__ = (UniqueConstraint("owner_id", "name"),)
    # {% endif %}

    # {% if auth %}
    owner_id: Mapped[OwnerId]
    # {% endif %}
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(1000))
    price_cents: Mapped[int]
