"""Everybody hears of their own items, and of those of others who may read them."""

import pytest
from httpx2 import AsyncClient

from tests.fixtures.auth import MakeUser, SignIn, log_in
from tests.fixtures.websockets import URL, hear, hear_nothing, say, subscribe
from tests.items.test_items import create


@pytest.fixture
async def rooms(sockets: AsyncClient, make_user: MakeUser, sign_in: SignIn) -> tuple[str, str]:
    """That of Ada, and that of Bob, who is the client."""
    ada, bob = await make_user("ada@example.org"), await sign_in(sockets, "bob@example.org")
    return f"items:{ada.id}", f"items:{bob.id}"


async def test_a_stranger_hears_nothing(sockets: AsyncClient, rooms: tuple[str, str]) -> None:
    theirs, mine = rooms
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, mine)
        refused = await say(socket, "subscribe", room=theirs)
        await log_in(sockets, "ada@example.org")

        await create(sockets)

        assert (refused["type"], refused["code"]) == ("error", "forbidden")
        await hear_nothing(socket)


async def test_who_may_read_everything_hears_everything(
    sockets: AsyncClient, rooms: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.auth.roles.ROLES", {"user": ["items:read", "items:write", "items:read-all"]})
    theirs, _ = rooms
    async with sockets.websocket(URL) as socket:
        await subscribe(socket, theirs)
        await log_in(sockets, "ada@example.org")

        item = await create(sockets)

        assert (await hear(socket))["data"] == {"event": "created", "id": item["id"]}


async def test_who_may_read_nothing_hears_nothing_of_their_own_either(
    sockets: AsyncClient, rooms: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.auth.roles.ROLES", {"user": ["items:write"]})
    async with sockets.websocket(URL) as socket:
        assert (await say(socket, "subscribe", room=rooms[1]))["code"] == "forbidden"
