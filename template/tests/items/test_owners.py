"""Items belong to whoever has made them; for everybody else they are not there."""

from http import HTTPStatus

import pytest
from httpx2 import AsyncClient

from tests.fixtures.auth import SignIn
from tests.items.test_items import LAMP, create


@pytest.fixture
async def stranger(client: AsyncClient, sign_in: SignIn) -> dict[str, str]:
    """What somebody else sends to be somebody else."""
    mine = client.headers["Authorization"]
    await sign_in(client, "bob@example.org")
    theirs = {"Authorization": client.headers["Authorization"]}
    client.headers["Authorization"] = mine
    return theirs


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_the_item_of_somebody_else_is_not_there(
    client: AsyncClient, stranger: dict[str, str], method: str
) -> None:
    item = await create(client)
    path = f"/v1/items/{item['id']}"

    response = await client.request(
        method, path, json={"price_cents": 1} if method == "PATCH" else None, headers=stranger
    )

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.json()["type"] == "/problems/item_not_found"
    assert response.json()["detail"] == f"There is no item {item['id']}."
    assert (await client.get(path)).json() == item


async def test_everybody_lists_and_exports_their_own(client: AsyncClient, stranger: dict[str, str]) -> None:
    await create(client)

    listed = await client.get("/v1/items", params={"total": True}, headers=stranger)
    exported = await client.get("/v1/items/export", headers=stranger)

    assert listed.json() == {"items": [], "next_cursor": None, "total": 0}
    assert exported.text == "name,description,price_cents\r\n"
    assert (await client.get("/v1/items", params={"total": True})).json()["total"] == 1


async def test_a_name_is_taken_for_its_owner_alone(client: AsyncClient, stranger: dict[str, str]) -> None:
    await create(client)

    theirs = await client.post("/v1/items", json=LAMP, headers=stranger)
    again = await client.post("/v1/items", json=LAMP)

    assert theirs.status_code == HTTPStatus.CREATED
    assert again.status_code == HTTPStatus.CONFLICT


async def test_nobody_chooses_the_owner(client: AsyncClient, stranger: dict[str, str]) -> None:
    owner = (await client.get("/v1/users/me", headers=stranger)).json()["id"]

    response = await client.post("/v1/items", json={**LAMP, "owner_id": owner})

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize(
    ("permission", "seen", "changed"),
    [
        ("items:read-all", HTTPStatus.OK, HTTPStatus.NOT_FOUND),
        ("items:write-all", HTTPStatus.NOT_FOUND, HTTPStatus.OK),
        ("items:*", HTTPStatus.OK, HTTPStatus.OK),
    ],
)
async def test_some_reach_what_belongs_to_others(
    client: AsyncClient,
    stranger: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    permission: str,
    seen: HTTPStatus,
    changed: HTTPStatus,
) -> None:
    item = await create(client)
    monkeypatch.setattr("app.auth.roles.ROLES", {"user": ["items:read", "items:write", permission]})

    read = await client.get(f"/v1/items/{item['id']}", headers=stranger)
    written = await client.patch(f"/v1/items/{item['id']}", json={"price_cents": 5}, headers=stranger)

    assert (read.status_code, written.status_code) == (seen, changed)
