"""Tables that only the tests have."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, MetaData
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Entity


class Local(Entity):
    """Its tables are none of the service's own, whose history does not know them."""

    __abstract__ = True
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)


class Room(Local):
    __tablename__ = "test_rooms"


class Shelf(Local):
    __tablename__ = "test_shelves"

    label: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str | None] = mapped_column("class")
    dusted_at: Mapped[datetime | None]
    room_id: Mapped[UUID | None] = mapped_column(ForeignKey("test_rooms.id"))
    planned_room_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("test_rooms.id", deferrable=True, initially="DEFERRED")
    )
    version: Mapped[int] = mapped_column()

    __table_args__ = (CheckConstraint("label <> ''", "label"),)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # a class variable for SQLAlchemy alone
