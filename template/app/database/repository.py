"""The queries that every table needs."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import MISSING, BaseModel
from sqlalchemy import Column, ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from app.database.models import Entity
from app.database.pages import Page, PageQuery, cursor

Model = TypeVar("Model", bound=Entity)
Read = TypeVar("Read", bound=BaseModel)
Conditions = Sequence[ColumnElement[bool]]


class Repository(Generic[Model]):
    model: type[Model]

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    @property
    def columns(self) -> ReadOnlyColumnCollection[str, Column[Any]]:  # of many types
        """Return those of the table: with one of the model's, a page would take a tenth longer."""
        return self.model.__mapper__.columns

    def visible(self) -> Conditions:
        """Return what holds for every row of this repository: it finds, lists and deletes no others."""
        return ()

    async def find(self, id: UUID) -> Model | None:
        return await self.session.scalar(select(self.model).where(self.model.id == id, *self.visible()))

    async def add(self, instance: Model) -> Model:
        """Add and flush, so that defaults and constraints speak up now."""
        self.session.add(instance)
        await self.session.flush()
        return instance

    async def delete(self, id: UUID) -> bool:
        """Return whether there was one."""
        statement = delete(self.model).where(self.model.id == id, *self.visible()).returning(self.model.id)
        return (await self.session.execute(statement)).first() is not None

    async def page(self, query: PageQuery, read: type[Read], *where: ColumnElement[bool]) -> Page[Read]:
        """Select what `read` shows, and no more, of the rows after the cursor: the newest come first."""
        fields = [self.columns[name].label(name) for name in read.model_fields]
        statement = select(self.columns.id.label("cursor_id"), *fields).where(*self.visible(), *where)
        if (after := query.after()) is not None:
            statement = statement.where(self.columns.id < after)
        statement = statement.order_by(self.columns.id.desc()).limit(query.limit + 1)
        rows = (await self.session.execute(statement)).all()
        total = await self.count(*where) if query.total else MISSING
        shown = rows[: query.limit]
        return Page[Read](
            items=[read.model_validate(row, from_attributes=True) for row in shown],
            next_cursor=cursor(shown[-1].cursor_id) if len(rows) > query.limit else None,
            total=total,
        )

    async def count(self, *where: ColumnElement[bool]) -> int:
        statement = select(func.count()).select_from(self.model).where(*self.visible(), *where)
        return (await self.session.scalars(statement)).one()
