"""The queries of the items."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncResult

from app.database import Repository
from app.items.models import Item


class ItemRepository(Repository[Item]):
    model = Item

    async def lines(self) -> AsyncResult[str, str | None, int]:
        """Ask for all items, the oldest first; they are read while they are used, a thousand at a time."""
        statement = select(Item.name, Item.description, Item.price_cents).order_by(Item.id)
        return await self.session.stream(statement.execution_options(yield_per=1000))
