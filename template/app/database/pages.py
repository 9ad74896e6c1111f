"""Lists in pages, the newest first: each page names the place where the next one begins."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import MISSING, BaseModel, Field

from app.errors import ServiceError

T = TypeVar("T")


class CursorMalformed(ServiceError):
    status = HTTPStatus.BAD_REQUEST


class PageParameters(BaseModel):
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before")
    total: bool = Field(default=False, description="count everything, which takes a statement more")

    def after(self) -> UUID | None:
        """Return the last identifier of the page before."""
        if self.cursor is None:
            return None
        with suppress(ValueError):
            after = UUID(bytes=urlsafe_b64decode(f"{self.cursor}=="))
            if cursor(after) == self.cursor:
                return after
        raise CursorMalformed("The cursor is not one that this service has given out.")


PageQuery = Annotated[PageParameters, Query()]


class Page(BaseModel, Generic[T]):
    """`next_cursor` is `None` on the last page; `total` is there when it was asked for."""

    items: list[T]
    next_cursor: str | None
    total: int | MISSING = MISSING


def cursor(id: UUID) -> str:
    return urlsafe_b64encode(id.bytes).decode().rstrip("=")
