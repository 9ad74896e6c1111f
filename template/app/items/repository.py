"""The queries of the items."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncResult

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import Conditions, own

# {%- endif +%}
from app.database import Repository
from app.items.models import Item


class ItemRepository(Repository[Item]):
    model = Item

    # {% if auth %}
    def visible(self) -> Conditions:
        return own("items", self.columns.owner_id)

    # {% endif %}
    async def lines(self) -> AsyncResult[str, str | None, int]:
        """Ask for all items, the oldest first; they are read while they are used, a thousand at a time."""
        statement = select(Item.name, Item.description, Item.price_cents).where(*self.visible()).order_by(Item.id)
        return await self.session.stream(statement.execution_options(yield_per=1000))
