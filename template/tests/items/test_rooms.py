"""Whoever listens hears of each change to an item once it is stored."""

from http import HTTPStatus
from uuid import uuid4

import pytest
from httpx2 import AsyncClient

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from tests.fixtures.auth import SignIn

# {%- endif +%}
from tests.fixtures.websockets import URL, hear, hear_nothing, say, subscribe
from tests.items.test_items import LAMP, create


@pytest.fixture
async def room(
    sockets: AsyncClient,
    # {% if auth %}
    sign_in: SignIn,
    # {% endif %}
) -> str:
    """That of the client."""
    name = "items"
    # {% if auth %}
    user = await sign_in(sockets)
    name = f"items:{user.id}"
    # {% endif %}
    return name


async def test_every_change_is_heard(sockets: AsyncClient, room: str) -> None:
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, room)

        item = await create(sockets)
        created = await hear(socket)
        await sockets.patch(f"/v1/items/{item['id']}", json={"price_cents": 5})
        changed = await hear(socket)
        await sockets.delete(f"/v1/items/{item['id']}")
        deleted = await hear(socket)

        assert created["data"] == {"event": "created", "id": item["id"]}
        assert changed["data"] == {"event": "changed", "id": item["id"]}
        assert deleted["data"] == {"event": "deleted", "id": item["id"]}
        assert {frame["room"] for frame in (created, changed, deleted)} == {room}


async def test_what_has_failed_is_not_heard(sockets: AsyncClient, room: str) -> None:
    item, chair = await create(sockets), await create(sockets, name="Chair")
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, room)

        failed = [
            await sockets.post("/v1/items", json=LAMP),
            await sockets.patch(f"/v1/items/{chair['id']}", json={"name": item["name"]}),
            await sockets.patch(f"/v1/items/{uuid4()}", json={"price_cents": 5}),
            await sockets.delete(f"/v1/items/{uuid4()}"),
        ]

        assert [response.status_code for response in failed] == [
            HTTPStatus.CONFLICT,
            HTTPStatus.CONFLICT,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.NOT_FOUND,
        ]
        await hear_nothing(socket)


async def test_only_the_service_speaks(sockets: AsyncClient, room: str) -> None:
    async with sockets.websocket(URL) as socket:
        answer = await say(socket, "publish", room=room, data="hi")

        assert answer["code"] == "forbidden"
