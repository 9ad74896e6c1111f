"""Items are kept for a while, and never longer than they are true."""

from http import HTTPStatus

import pytest
from httpx2 import AsyncClient
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.items.test_items import LAMP, create


@pytest.fixture
def asked(engine: AsyncEngine) -> list[str]:
    """The statements that read items."""
    statements: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if "FROM items" in statement:
            statements.append(statement)

    return statements


@pytest.mark.parametrize("path", ["/v1/items/{id}", "/v1/items", "/v1/items?limit=5"])
async def test_what_is_known_is_not_asked_of_the_database_again(
    client: AsyncClient, asked: list[str], path: str
) -> None:
    path = path.format(id=(await create(client))["id"])

    first, second = await client.get(path), await client.get(path)

    assert first.json() == second.json()
    assert len(asked) == 1


async def test_a_change_is_seen_at_once(client: AsyncClient) -> None:
    item = await create(client)
    path = f"/v1/items/{item['id']}"
    await client.get(path)
    await client.get("/v1/items")

    changed = await client.patch(path, json={"price_cents": 5})

    assert (await client.get(path)).json() == changed.json()
    assert (await client.get("/v1/items")).json()["items"] == [changed.json()]


async def test_a_creation_and_a_deletion_are_seen_at_once(client: AsyncClient) -> None:
    assert (await client.get("/v1/items")).json()["items"] == []

    item = await create(client)
    created = (await client.get("/v1/items")).json()["items"]
    await client.delete(f"/v1/items/{item['id']}")
    deleted = await client.get(f"/v1/items/{item['id']}")

    assert created == [item]
    assert deleted.status_code == HTTPStatus.NOT_FOUND
    assert (await client.get("/v1/items")).json()["items"] == []


async def test_what_was_refused_changes_nothing(client: AsyncClient, asked: list[str]) -> None:
    await create(client)
    await client.get("/v1/items")
    asked.clear()

    refused = await client.post("/v1/items", json=LAMP)
    await client.get("/v1/items")

    assert refused.status_code == HTTPStatus.CONFLICT
    assert asked == []


async def test_a_client_asks_whether_its_own_is_still_good(client: AsyncClient) -> None:
    item = await create(client)
    path = f"/v1/items/{item['id']}"
    tag = (await client.get(path)).headers["ETag"]

    same = await client.get(path, headers={"If-None-Match": tag})
    await client.patch(path, json={"price_cents": 5})
    changed = await client.get(path, headers={"If-None-Match": tag})

    assert same.status_code == HTTPStatus.NOT_MODIFIED
    assert changed.json()["price_cents"] == 5
