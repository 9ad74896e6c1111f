"""Items can be created, read, listed, changed, deleted and exported."""

import asyncio
from collections.abc import AsyncGenerator
from hashlib import sha256
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from anyio import CapacityLimiter, create_task_group
from httpx2 import AsyncClient
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.items import service
from app.items.models import Item

LAMP = {"name": "Lamp", "description": "It glows.", "price_cents": 1999}


async def create(client: AsyncClient, **fields: object) -> dict[str, Any]:  # JSON
    response = await client.post("/v1/items", json={**LAMP, **fields})
    assert response.status_code == HTTPStatus.CREATED, response.text
    created: dict[str, Any] = response.json()
    return created


async def multiply(client: AsyncClient, session: AsyncSession, number: int) -> None:
    """Store an item so many times, with the numbers from 0 in names and prices."""
    item = await session.get_one(Item, UUID((await create(client))["id"]))
    copies = [
        {**common, "name": f"Lamp {n} 💡", "price_cents": n}
        for common in [{name: getattr(item, name) for name in Item.__mapper__.columns.keys() if name != "id"}]  # noqa: SIM118
        for n in range(number)
    ]
    await session.delete(item)
    await session.execute(insert(Item), copies)
    await session.commit()


async def test_a_created_item_is_where_its_location_says(client: AsyncClient) -> None:
    response = await client.post("/v1/items", json=LAMP)

    assert response.status_code == HTTPStatus.CREATED
    assert response.json().items() >= LAMP.items()
    found = await client.get(response.headers["Location"])
    assert found.status_code == HTTPStatus.OK
    assert found.json() == response.json()


async def test_two_items_cannot_share_a_name(client: AsyncClient) -> None:
    await create(client)

    response = await client.post("/v1/items", json=LAMP)

    assert response.status_code == HTTPStatus.CONFLICT
    assert response.json()["type"] == "/problems/conflict"
    assert [item["name"] for item in (await client.get("/v1/items")).json()["items"]] == ["Lamp"]


async def test_an_item_cannot_take_the_name_of_another(client: AsyncClient) -> None:
    await create(client)
    other = await create(client, name="Chair")

    response = await client.patch(f"/v1/items/{other['id']}", json={"name": "Lamp"})

    assert response.status_code == HTTPStatus.CONFLICT


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\x00b"},
        {"name": "a\nb"},
        {"name": None},
        {"description": "x" * 1001},
        {"description": "a\x00b"},
        {"description": "a\x01b"},
        {"price_cents": -1},
        {"price_cents": 2**31},
        {"price_cents": 1.5},
        {"price_cents": "5"},
        {"price_cents": True},
        {"price_cents": None},
        {"id": str(uuid4())},
        {"created_at": "2026-11-22T00:00:00Z"},
    ],
    ids=repr,
)
async def test_what_does_not_fit_is_refused(client: AsyncClient, fields: dict[str, object]) -> None:
    item = await create(client)

    created = await client.post("/v1/items", json={**LAMP, **fields})
    updated = await client.patch(f"/v1/items/{item['id']}", json=fields)

    assert created.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert updated.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await client.get(f"/v1/items/{item['id']}")).json() == item


async def test_a_change_leaves_alone_what_it_does_not_name(client: AsyncClient) -> None:
    item = await create(client)

    response = await client.patch(f"/v1/items/{item['id']}", json={"price_cents": 5})

    assert response.status_code == HTTPStatus.OK
    changed = response.json()
    assert changed["updated_at"] > item["updated_at"]
    assert changed == {**item, "price_cents": 5, "updated_at": changed["updated_at"]}
    assert (await client.get(f"/v1/items/{item['id']}")).json() == changed


async def test_null_clears_the_description(client: AsyncClient) -> None:
    item = await create(client)

    response = await client.patch(f"/v1/items/{item['id']}", json={"description": None})

    assert response.json()["description"] is None


async def test_an_empty_change_changes_nothing(client: AsyncClient) -> None:
    item = await create(client)

    response = await client.patch(f"/v1/items/{item['id']}", json={})

    assert response.json() == item


async def test_a_deleted_item_is_gone(client: AsyncClient) -> None:
    item = await create(client)

    response = await client.delete(f"/v1/items/{item['id']}")

    assert response.status_code == HTTPStatus.NO_CONTENT
    assert (await client.get(f"/v1/items/{item['id']}")).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_item_is_not_found(client: AsyncClient, method: str) -> None:
    response = await client.request(method, f"/v1/items/{uuid4()}", json={} if method == "PATCH" else None)

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.json()["type"] == "/problems/item_not_found"


async def test_the_list_is_read_page_by_page(client: AsyncClient) -> None:
    for number in range(5):
        await create(client, name=f"Lamp {number}")

    first = (await client.get("/v1/items", params={"limit": 3, "total": True})).json()
    rest = (await client.get("/v1/items", params={"limit": 3, "cursor": first["next_cursor"]})).json()

    assert [item["name"] for item in first["items"]] == ["Lamp 4", "Lamp 3", "Lamp 2"]
    assert first["total"] == 5
    assert [item["name"] for item in rest["items"]] == ["Lamp 1", "Lamp 0"]
    assert rest["next_cursor"] is None
    assert "total" not in rest


async def test_the_export_has_a_line_for_each_item(client: AsyncClient) -> None:
    await create(client, name='Lamp, "big"')
    await create(client, name="Chair", description=None)

    response = await client.get("/v1/items/export")

    assert response.status_code == HTTPStatus.OK
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.text.split("\r\n") == [
        "name,description,price_cents",
        '"Lamp, ""big""",It glows.,1999',
        "Chair,,1999",
        "",
    ]


async def test_the_export_is_read_in_pieces(client: AsyncClient, session: AsyncSession) -> None:
    await multiply(client, session, 2500)

    response = await client.get("/v1/items/export")

    assert [line.split(",")[-1] for line in response.text.splitlines()[1:]] == [str(number) for number in range(2500)]


async def test_the_description_knows_the_location_and_the_export(client: AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]

    assert "Location" in paths["/v1/items"]["post"]["responses"]["201"]["headers"]
    assert paths["/v1/items/export"]["get"]["responses"]["200"]["content"].keys() == {"text/csv"}


async def test_the_checksum_is_that_of_the_export(client: AsyncClient, session: AsyncSession) -> None:
    await multiply(client, session, 2500)

    export = await client.get("/v1/items/export")
    checksum = await client.get("/v1/items/export/checksum")

    assert checksum.json() == {"sha256": sha256(export.content).hexdigest()}


class SlowLines:
    """Lines of which the first piece is still being fetched."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.arrived = False

    def keys(self) -> list[str]:
        return ["name"]

    async def partitions(self) -> AsyncGenerator[list[tuple[str]]]:
        self.asked.set()
        await asyncio.sleep(0.01)
        self.arrived = True
        yield [("Lamp",)]


async def read_all(pieces: AsyncGenerator[str]) -> None:
    async for _ in pieces:
        pass


async def test_a_query_is_not_broken_off_when_its_reader_leaves() -> None:
    lines = SlowLines()

    async with create_task_group() as group:
        group.start_soon(read_all, service.write_csv(cast("Any", lines)))
        await lines.asked.wait()
        group.cancel_scope.cancel()

    assert lines.arrived


async def test_checksums_wait_for_a_thread_of_their_own(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "hashing", CapacityLimiter(1))
    async with service.hashing:
        asked = asyncio.create_task(client.get("/v1/items/export/checksum"))
        _, waiting = await asyncio.wait({asked}, timeout=0.1)

    response = await asked

    assert waiting == {asked}
    assert response.status_code == HTTPStatus.OK


async def test_an_empty_table_exports_its_header(client: AsyncClient) -> None:
    response = await client.get("/v1/items/export")

    assert response.text == "name,description,price_cents\r\n"
