"""A list is read page by page, whatever is inserted meanwhile."""

import base64
from http import HTTPStatus
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Page, PageQuery, Repository, SessionDep
from tests.database.shelves import Shelf


class ShelfRead(BaseModel):
    label: str
    kind: str | None


class ShelfRepository(Repository[Shelf]):
    model = Shelf


@pytest.fixture
async def shelves(app: FastAPI, session: AsyncSession, tables: None) -> ShelfRepository:
    """Five shelves, and `/tests/shelves` that lists those whose label is beyond `above`."""

    @app.get("/tests/shelves")
    async def list_shelves(query: PageQuery, session: SessionDep, above: str = "") -> Page[ShelfRead]:
        return await ShelfRepository(session).page(query, ShelfRead, Shelf.label > above)

    shelves = ShelfRepository(session)
    for number in range(1, 6):
        await shelves.add(Shelf(id=UUID(int=number), label=f"{number}"))
    await session.commit()
    return shelves


async def read(client: AsyncClient, **parameters: str) -> tuple[str, str]:
    """Return the labels of a page in one string, and its `next_cursor`."""
    page = (await client.get("/tests/shelves", params=parameters)).json()
    return "".join(shelf["label"] for shelf in page["items"]), page["next_cursor"]


async def test_the_newest_come_first_and_the_last_page_says_so(client: AsyncClient, shelves: ShelfRepository) -> None:
    first, cursor = await read(client, limit="2")
    second, cursor = await read(client, limit="2", cursor=cursor)
    third, cursor = await read(client, limit="2", cursor=cursor)

    assert (first, second, third) == ("54", "32", "1")
    assert cursor is None


async def test_a_page_that_ends_with_the_last_row_is_the_last(client: AsyncClient, shelves: ShelfRepository) -> None:
    labels, cursor = await read(client, limit="5")

    assert labels == "54321"
    assert cursor is None


async def test_what_is_inserted_and_deleted_meanwhile_hides_and_repeats_nothing(
    client: AsyncClient, shelves: ShelfRepository
) -> None:
    first, cursor = await read(client, limit="2")
    await shelves.add(Shelf(id=UUID(int=6), label="6"))
    await shelves.delete(UUID(int=4))
    await shelves.session.commit()

    second, cursor = await read(client, limit="2", cursor=cursor)

    assert (first, second) == ("54", "32")


async def test_a_filter_holds_for_every_page_and_for_the_total(client: AsyncClient, shelves: ShelfRepository) -> None:
    first, cursor = await read(client, limit="2", above="2")
    second, cursor = await read(client, limit="2", above="2", cursor=cursor)
    counted = (await client.get("/tests/shelves", params={"above": "2", "total": "true"})).json()

    assert (first, second) == ("54", "3")
    assert cursor is None
    assert counted["total"] == 3


async def test_twenty_are_a_page_unless_told_otherwise(client: AsyncClient, shelves: ShelfRepository) -> None:
    for number in range(10, 26):
        await shelves.add(Shelf(id=UUID(int=number), label=f"{number}"))
    await shelves.session.commit()

    page = (await client.get("/tests/shelves")).json()

    assert len(page["items"]) == 20
    assert "total" not in page


async def test_an_empty_list_is_a_page(client: AsyncClient, shelves: ShelfRepository) -> None:
    response = await client.get("/tests/shelves", params={"above": "9", "total": True})

    assert response.json() == {"items": [], "next_cursor": None, "total": 0}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", ""])
async def test_a_limit_is_1_to_100(client: AsyncClient, shelves: ShelfRepository, limit: str) -> None:
    response = await client.get("/tests/shelves", params={"limit": limit})

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "=",
        "\x00",
        "é",
        "AAAA",
        "A" * 21,
        "A" * 23,
        pytest.param("A" * 10_000, id="long"),
        "+" * 22,
        "A" * 20 + "==",
        "A" * 22 + "\n",
        base64.urlsafe_b64encode(b"' OR 1=1 --   ;;").decode() + "x",
        "1' OR '1'='1",
        "00000000-0000-0000-0000-000000000001",
    ],
    ids=repr,
)
async def test_a_cursor_that_nobody_gave_out_is_refused(
    client: AsyncClient, shelves: ShelfRepository, cursor: str
) -> None:
    response = await client.get("/tests/shelves", params={"cursor": cursor})

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert response.json()["type"] == "/problems/cursor_malformed"
