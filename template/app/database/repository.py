"""The queries that every table needs."""

from typing import Generic, TypeVar
from uuid import UUID

from pydantic import MISSING, BaseModel
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.models import Entity
from app.database.pages import Page, PageQuery, cursor

Model = TypeVar("Model", bound=Entity)
Read = TypeVar("Read", bound=BaseModel)


class Repository(Generic[Model]):
    model: type[Model]

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def find(self, id: UUID) -> Model | None:
        return await self.session.get(self.model, id)

    async def add(self, instance: Model) -> Model:
        """Add and flush, so that defaults and constraints speak up now."""
        self.session.add(instance)
        await self.session.flush()
        return instance

    async def delete(self, id: UUID) -> bool:
        """Return whether there was one."""
        deleted = await self.session.execute(delete(self.model).where(self.model.id == id).returning(self.model.id))
        return deleted.first() is not None

    async def page(self, query: PageQuery, read: type[Read], *where: ColumnElement[bool]) -> Page[Read]:
        """Select what `read` shows, and no more, of the rows after the cursor: the newest come first."""
        columns = self.model.__mapper__.columns  # of the table: those of the model would take a third longer
        fields = [columns[name].label(name) for name in read.model_fields]
        statement = select(columns.id.label("cursor_id"), *fields).where(*where)
        if (after := query.after()) is not None:
            statement = statement.where(columns.id < after)
        statement = statement.order_by(columns.id.desc()).limit(query.limit + 1)
        rows = (await self.session.execute(statement)).all()
        total = await self.count(*where) if query.total else MISSING
        shown = rows[: query.limit]
        return Page[Read](
            items=[read.model_validate(row, from_attributes=True) for row in shown],
            next_cursor=cursor(shown[-1].cursor_id) if len(rows) > query.limit else None,
            total=total,
        )

    async def count(self, *where: ColumnElement[bool]) -> int:
        return (await self.session.scalars(select(func.count()).select_from(self.model).where(*where))).one()
