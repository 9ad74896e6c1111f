"""The audit log tells who did what, and what was refused."""

from http import HTTPStatus
from typing import Any

import pytest
from httpx2 import AsyncClient

from app.auth.models import User
from tests.fixtures.auth import PASSWORD, MakeUser, log_in


@pytest.fixture
async def ada(client: AsyncClient, make_user: MakeUser) -> User:
    """An administrator, who is the client."""
    user = await make_user("ada@example.org", "admin")
    await log_in(client)
    return user


async def entries(client: AsyncClient, action: str) -> list[dict[str, Any]]:
    listed = (await client.get("/v1/audit", params={"limit": 100})).json()["items"]
    return [entry for entry in listed if entry["action"] == action]


async def test_what_an_administrator_does_is_noted(client: AsyncClient, ada: User) -> None:
    user = {"email": "bob@example.org", "password": PASSWORD}
    bob = (await client.post("/v1/users", json=user)).json()
    response = await client.patch(f"/v1/users/{bob['id']}", json={"roles": ["admin"]})

    (entry,) = await entries(client, "user_updated")

    assert entry["actor_id"] == str(ada.id)
    assert entry["target_id"] == bob["id"]
    assert entry["request_id"] == response.headers["X-Request-ID"]
    assert entry["address"] == "127.0.0.1"
    assert entry["details"] == {"roles": ["admin"]}
    assert len(await entries(client, "user_created")) == 1


async def test_logins_and_what_ends_them_are_noted(client: AsyncClient, ada: User) -> None:
    await client.post("/v1/auth/logout")
    await log_in(client)
    await client.post("/v1/auth/logout", params={"everywhere": True})
    await log_in(client)
    await client.post("/v1/users/me/password", json={"current_password": PASSWORD, "new_password": f"new {PASSWORD}"})

    assert len(await entries(client, "login")) == 3
    assert len(await entries(client, "logout")) == 1
    assert len(await entries(client, "logout_everywhere")) == 1
    assert len(await entries(client, "password_changed")) == 1


async def test_what_fails_is_not_noted_as_done(client: AsyncClient, ada: User) -> None:
    user = {"email": "ada@example.org", "password": PASSWORD}

    response = await client.post("/v1/users", json=user)

    assert response.status_code == HTTPStatus.CONFLICT
    assert await entries(client, "user_created") == []


async def test_a_login_that_fails_is_noted(client: AsyncClient, ada: User) -> None:
    known = await client.post("/v1/auth/token", data={"username": "ada@example.org", "password": "wrong"})
    unknown = await client.post("/v1/auth/token", data={"username": "eve@example.org", "password": "wrong"})

    second, first = await entries(client, "login_failed")

    assert known.status_code == unknown.status_code == HTTPStatus.UNAUTHORIZED
    assert (first["actor_id"], first["target_id"]) == (None, str(ada.id))
    assert (second["actor_id"], second["target_id"]) == (None, None)


async def test_what_is_denied_is_noted(client: AsyncClient, make_user: MakeUser, ada: User) -> None:
    admin = client.headers["Authorization"]
    bob = await make_user("bob@example.org")
    await log_in(client, "bob@example.org")
    response = await client.patch(f"/v1/users/{ada.id}", json={"is_active": False})
    client.headers["Authorization"] = admin

    (entry,) = await entries(client, "denied")

    assert response.status_code == HTTPStatus.FORBIDDEN
    assert entry["actor_id"] == str(bob.id)
    assert entry["details"] == {"permission": "users:write"}
    assert entry["request_id"] == response.headers["X-Request-ID"]


async def test_a_guess_at_the_current_password_is_noted(client: AsyncClient, ada: User) -> None:
    change = {"current_password": "wrong", "new_password": f"new {PASSWORD}"}

    response = await client.post("/v1/users/me/password", json=change)

    assert response.status_code == HTTPStatus.FORBIDDEN
    assert len(await entries(client, "password_change_failed")) == 1


async def test_the_log_is_read_in_pages_the_newest_first(client: AsyncClient, ada: User) -> None:
    await client.post("/v1/users", json={"email": "bob@example.org", "password": PASSWORD})

    first = (await client.get("/v1/audit", params={"limit": 1})).json()
    rest = (await client.get("/v1/audit", params={"limit": 1, "cursor": first["next_cursor"]})).json()

    assert [entry["action"] for entry in (*first["items"], *rest["items"])] == ["user_created", "login"]
    assert rest["next_cursor"] is None


async def test_neither_secrets_nor_names_are_noted(client: AsyncClient, ada: User) -> None:
    user = {"email": "bob@example.org", "password": PASSWORD, "name": "Bob"}
    created = await client.post("/v1/users", json=user)
    await client.patch(created.headers["Location"], json={"name": "Robert", "roles": []})

    text = (await client.get("/v1/audit")).text

    assert [word for word in (PASSWORD, "@", "Bob", "Robert") if word in text] == []
    assert len(await entries(client, "user_updated")) == 1
