"""Rows have an identity in the order of their creation, and times that say where they are."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.models import uuid7
from tests.database.shelves import Shelf


async def test_a_time_comes_back_aware_and_in_utc(tables: None, session: AsyncSession) -> None:
    noon_in_paris = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    shelf = Shelf(label="a", dusted_at=noon_in_paris)
    session.add(shelf)
    await session.flush()
    await session.refresh(shelf)

    assert shelf.dusted_at == noon_in_paris
    assert shelf.dusted_at.tzinfo is UTC
    assert shelf.created_at.tzinfo is UTC


async def test_no_time_stays_none(tables: None, session: AsyncSession) -> None:
    shelf = Shelf(label="a")
    session.add(shelf)
    await session.flush()
    await session.refresh(shelf)

    assert shelf.dusted_at is None


async def test_a_time_that_says_not_where_is_refused(tables: None, session: AsyncSession) -> None:
    session.add(Shelf(label="a", dusted_at=datetime(2026, 7, 1, 12)))

    with pytest.raises(StatementError, match="without a zone"):
        await session.flush()


def test_constraints_are_named_by_convention() -> None:
    assert {constraint.name for constraint in Shelf.metadata.tables["test_shelves"].constraints} == {
        "pk_test_shelves",
        "ck_test_shelves_label",
        "uq_test_shelves_label",
        "fk_test_shelves_room_id_test_rooms",
        "fk_test_shelves_planned_room_id_test_rooms",
    }


def test_identifiers_are_of_version_7_and_in_order_of_creation() -> None:
    identifiers = [uuid7() for _ in range(100)]

    assert {(id.version, id.variant) for id in identifiers} == {(7, "specified in RFC 4122")}
    assert abs((identifiers[0].int >> 80) / 1000 - datetime.now(UTC).timestamp()) < 5
    assert identifiers == sorted(identifiers)
