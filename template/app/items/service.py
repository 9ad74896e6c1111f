"""What can be done with items."""

import csv
import io
from collections.abc import AsyncGenerator
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import checkpoint_if_cancelled
from anyio.to_thread import run_sync
from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncResult, AsyncSession

# {%- if cache +%}
# {% endif +%}
# {% if cache %}
from app.cache import cached, invalidate

# {%- endif +%}
from app.database import Page, PageQuery, SessionDep
from app.errors import ServiceError
from app.items.models import Item
from app.items.repository import ItemRepository

# {%- if websockets +%}
from app.items.rooms import tell

# {%- endif +%}
from app.items.schemas import ItemCreate, ItemRead, ItemUpdate

# Two at a time, in threads: more would take the processor from everybody else's requests.
hashing = CapacityLimiter(2)


class ItemNotFound(ServiceError):
    status = HTTPStatus.NOT_FOUND

    def __init__(self, id: UUID) -> None:
        super().__init__(f"There is no item {id}.")


class ItemService:
    def __init__(self, session: AsyncSession) -> None:
        self.items = ItemRepository(session)

    async def create(self, data: ItemCreate) -> Item:
        # {% if cache %}
        invalidate("items")
        # {% endif %}
        item = await self.items.add(Item(**data.model_dump()))
        # {% if websockets %}
        tell("created", item)
        # {% endif %}
        return item

    # {% if cache %}
    @cached("items:page:{query}", ttl="1m", tags=["items"])
    # {% endif %}
    async def page(self, query: PageQuery) -> Page[ItemRead]:
        return await self.items.page(query, ItemRead)

    # {% if cache %}
    @cached("items:{id}", ttl="5m", tags=["items"])
    # {% endif %}
    async def read(self, id: UUID) -> ItemRead:
        return ItemRead.model_validate(await self.get(id), from_attributes=True)

    async def get(self, id: UUID) -> Item:
        item = await self.items.find(id)
        if item is None:
            raise ItemNotFound(id)
        return item

    async def update(self, id: UUID, data: ItemUpdate) -> Item:
        # {% if cache %}
        invalidate("items")
        # {% endif %}
        item = await self.get(id)
        for name, value in data.model_dump().items():
            setattr(item, name, value)
        await self.items.add(item)
        # {% if websockets %}
        tell("changed", item)
        # {% endif %}
        return item

    async def delete(self, id: UUID) -> None:
        # {% if cache %}
        invalidate("items")
        # {% endif %}
        # {% if websockets %}
        item = await self.get(id)
        # {% endif %}
        if not await self.items.delete(id):
            raise ItemNotFound(id)
        # {% if websockets %}
        tell("deleted", item)
        # {% endif %}

    async def export(self) -> AsyncGenerator[str]:
        """Ask the database, and return CSV in pieces (RFC 4180)."""
        return write_csv(await self.items.lines())

    async def checksum(self) -> str:
        """Return the SHA-256 of the export."""
        digest = sha256()
        async for part in await self.export():
            await run_sync(digest.update, part.encode(), limiter=hashing)
        return digest.hexdigest()


async def write_csv(lines: AsyncResult[*tuple[Any, ...]]) -> AsyncGenerator[str]:  # cells of any type
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(lines.keys())
    pieces = aiter(lines.partitions())
    while True:
        await checkpoint_if_cancelled()  # where the client has left
        with CancelScope(shield=True):  # a query that is broken off would take its connection along
            rows = await anext(pieces, None)
        if rows is None:
            break
        writer.writerows(rows)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


async def get_service(session: SessionDep) -> ItemService:
    return ItemService(session)


ItemServiceDep = Annotated[ItemService, Depends(get_service)]
