"""Users see to their own account, and administrators to those of others."""

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import AuditEntry, User
from app.auth.roles import ROLES
from tests.fixtures.auth import PASSWORD, MakeUser, SignIn, act_as, log_in

NEW_PASSWORD = "staple battery horse correct"
FIELDS = {"id", "email", "name", "roles", "is_active", "created_at", "updated_at"}


@pytest.fixture
async def ada(client: AsyncClient, sign_in: SignIn) -> User:
    """An administrator, who is the client."""
    return await sign_in(client, "ada@example.org", "admin")


async def create(client: AsyncClient, **fields: object) -> dict[str, Any]:
    response = await client.post("/v1/users", json={"email": "bob@example.org", "password": PASSWORD, **fields})
    assert response.status_code == HTTPStatus.CREATED, response.text
    created: dict[str, Any] = response.json()
    return created


async def test_an_account_can_be_read_and_its_name_changed(client: AsyncClient, ada: User) -> None:
    response = await client.patch("/v1/users/me", json={"name": "Ada"})

    assert response.status_code == HTTPStatus.OK
    assert response.json().keys() == FIELDS
    assert response.json()["name"] == "Ada"
    assert (await client.get("/v1/users/me")).json() == response.json()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"email": "eve@example.org"},
        {"roles": ["admin"]},
        {"is_active": True},
        {"id": str(uuid4())},
        {"created_at": "2026-11-22T00:00:00Z"},
        {"password_hash": "x"},
        {"is_superuser": True},
    ],
    ids=repr,
)
async def test_nothing_else_of_an_account_can_be_changed(
    client: AsyncClient, sign_in: SignIn, fields: dict[str, object]
) -> None:
    await sign_in(client)
    before = (await client.get("/v1/users/me")).json()

    response = await client.patch("/v1/users/me", json=fields)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await client.get("/v1/users/me")).json() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"roles": None},
        {"is_active": None},
        {"email": "eve@example.org"},
        {"id": str(uuid4())},
        {"password_hash": "x"},
    ],
    ids=repr,
)
async def test_an_administrator_cannot_change_everything_either(
    client: AsyncClient, ada: User, fields: dict[str, object]
) -> None:
    bob = await create(client)

    response = await client.patch(f"/v1/users/{bob['id']}", json=fields)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await client.get(f"/v1/users/{bob['id']}")).json() == bob


async def test_an_empty_change_changes_nothing(client: AsyncClient, ada: User) -> None:
    before = (await client.get("/v1/users/me")).json()

    response = await client.patch("/v1/users/me", json={})

    assert response.json() == before


async def test_a_new_password_ends_every_other_session(client: AsyncClient, ada: User) -> None:
    elsewhere = client.headers["Authorization"]
    await log_in(client)

    response = await client.post(
        "/v1/users/me/password", json={"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    )

    assert response.status_code == HTTPStatus.NO_CONTENT
    assert (await client.get("/v1/users/me")).is_success
    other = await client.get("/v1/users/me", headers={"Authorization": elsewhere})
    assert other.status_code == HTTPStatus.UNAUTHORIZED
    old = await client.post("/v1/auth/token", data={"username": "ada@example.org", "password": PASSWORD})
    assert old.status_code == HTTPStatus.UNAUTHORIZED
    await log_in(client, password=NEW_PASSWORD)


async def test_a_new_password_needs_the_current_one(client: AsyncClient, ada: User) -> None:
    response = await client.post(
        "/v1/users/me/password", json={"current_password": NEW_PASSWORD, "new_password": NEW_PASSWORD}
    )

    assert response.status_code == HTTPStatus.FORBIDDEN
    assert response.json()["type"] == "/problems/reauthentication_required"
    await log_in(client, password=PASSWORD)


async def test_a_new_password_has_to_be_long_enough(client: AsyncClient, ada: User) -> None:
    response = await client.post("/v1/users/me/password", json={"current_password": PASSWORD, "new_password": "x" * 14})

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["type"] == "/problems/password_too_short"
    await log_in(client, password=PASSWORD)


async def test_an_administrator_makes_users_who_log_in(client: AsyncClient, ada: User) -> None:
    response = await client.post("/v1/users", json={"email": "Bob@Example.org", "password": PASSWORD})

    assert response.status_code == HTTPStatus.CREATED
    bob = response.json()
    assert bob.keys() == FIELDS
    assert (bob["email"], bob["roles"], bob["is_active"]) == ("bob@example.org", ["user"], True)
    assert (await client.get(response.headers["Location"])).json() == bob
    await log_in(client, "bob@example.org")


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "nonsense"},
        {"email": f"{'a' * 320}@example.org"},
        {"email": None},
        {"password": None},
        {"password": "x" * 14},
        {"roles": ["nonsense"]},
        {"roles": "admin"},
        {"roles": ["user"] * 21},
        {"is_active": False},
        {"id": str(uuid4())},
    ],
    ids=repr,
)
async def test_a_user_that_does_not_fit_is_refused(client: AsyncClient, ada: User, fields: dict[str, object]) -> None:
    response = await client.post("/v1/users", json={"email": "bob@example.org", "password": PASSWORD, **fields})

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert len((await client.get("/v1/users")).json()["items"]) == 1


@pytest.mark.parametrize(
    "email", [" Bob@Example.org ", "jose\u0301@example.org", "ada@xn--bcher-kva.de", "\u0390@straße.de"]
)
async def test_who_is_made_with_an_address_logs_in_with_it(client: AsyncClient, ada: User, email: str) -> None:
    await create(client, email=email)

    tokens = await log_in(client, email)

    assert tokens["token_type"] == "bearer"


async def test_an_address_is_not_too_long_for_its_column(client: AsyncClient, ada: User) -> None:
    label = "\u0390" * 30
    email = f"{label}@{label}.{label}.{label}.example.org"

    response = await client.post("/v1/users", json={"email": email, "password": PASSWORD})

    assert response.status_code in {HTTPStatus.CREATED, HTTPStatus.UNPROCESSABLE_ENTITY}


@pytest.mark.parametrize("email", ["bob@example.org", "BOB@example.org"])
async def test_two_users_cannot_share_an_address(client: AsyncClient, ada: User, email: str) -> None:
    await create(client)

    response = await client.post("/v1/users", json={"email": email, "password": PASSWORD})

    assert response.status_code == HTTPStatus.CONFLICT


async def test_of_many_who_make_the_same_user_one_succeeds(live_app: FastAPI, live: AsyncClient) -> None:
    act_as(live_app, "admin")
    user = {"email": "bob@example.org", "password": PASSWORD}

    responses = await asyncio.gather(*(live.post("/v1/users", json=user) for _ in range(5)))

    assert Counter(response.status_code for response in responses) == {HTTPStatus.CREATED: 1, HTTPStatus.CONFLICT: 4}


async def test_users_are_listed_in_pages(client: AsyncClient, ada: User) -> None:
    bob = await create(client)

    first = (await client.get("/v1/users", params={"limit": 1, "total": True})).json()
    rest = (await client.get("/v1/users", params={"limit": 1, "cursor": first["next_cursor"]})).json()

    assert first["items"] == [bob]
    assert first["total"] == 2
    assert [user["id"] for user in rest["items"]] == [str(ada.id)]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_an_unknown_user_is_not_found(client: AsyncClient, ada: User, method: str) -> None:
    response = await client.request(method, f"/v1/users/{uuid4()}", json={} if method == "PATCH" else None)

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.json()["type"] == "/problems/user_not_found"


async def test_who_is_deactivated_is_out_at_once(client: AsyncClient, ada: User) -> None:
    bob = await create(client)
    admin = client.headers["Authorization"]
    tokens = await log_in(client, "bob@example.org")

    response = await client.patch(f"/v1/users/{bob['id']}", json={"is_active": False}, headers={"Authorization": admin})

    assert response.status_code == HTTPStatus.OK
    assert (await client.get("/v1/users/me")).status_code == HTTPStatus.UNAUTHORIZED
    refreshed = await client.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == HTTPStatus.UNAUTHORIZED


async def test_who_is_let_in_again_has_to_log_in(client: AsyncClient, ada: User) -> None:
    bob = await create(client)
    admin = {"Authorization": client.headers["Authorization"]}
    await log_in(client, "bob@example.org")

    await client.patch(f"/v1/users/{bob['id']}", json={"is_active": False}, headers=admin)
    await client.patch(f"/v1/users/{bob['id']}", json={"is_active": True}, headers=admin)

    assert (await client.get("/v1/users/me")).status_code == HTTPStatus.UNAUTHORIZED
    await log_in(client, "bob@example.org")


async def test_a_demotion_is_felt_at_once(client: AsyncClient, ada: User) -> None:
    bob = await create(client, roles=["admin"])
    admin = {"Authorization": client.headers["Authorization"]}
    await log_in(client, "bob@example.org")
    before = await client.get("/v1/users")

    await client.patch(f"/v1/users/{bob['id']}", json={"roles": ["user"]}, headers=admin)

    after = await client.get("/v1/users")
    assert before.status_code == HTTPStatus.OK
    assert after.status_code == HTTPStatus.FORBIDDEN
    assert (await client.get("/v1/users/me")).json()["roles"] == ["user"]


async def test_no_answer_shows_a_hash(client: AsyncClient, ada: User, session: AsyncSession) -> None:
    bob = await create(client)
    hashes = (await session.scalars(select(User.password_hash))).all()

    answers = [await client.get(path) for path in ("/v1/users/me", "/v1/users", f"/v1/users/{bob['id']}", "/v1/audit")]

    assert len(hashes) == 2
    assert not [answer for answer in answers for hash in hashes if hash in answer.text or "argon2" in answer.text]


@pytest.fixture
async def clerk(client: AsyncClient, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> AsyncClient:
    """Somebody who may write users, but not all that an administrator may."""
    monkeypatch.setitem(cast("dict[str, list[str]]", ROLES), "clerk", [*ROLES["user"], "users:*"])
    await sign_in(client, "clerk@example.org", "clerk")
    return client


async def test_nobody_gives_a_role_that_may_do_more(clerk: AsyncClient, session: AsyncSession) -> None:
    created = await clerk.post(
        "/v1/users", json={"email": "eve@example.org", "password": PASSWORD, "roles": ["user", "admin"]}
    )
    me = (await clerk.get("/v1/users/me")).json()
    promoted = await clerk.patch(f"/v1/users/{me['id']}", json={"roles": ["admin"]})

    assert created.status_code == promoted.status_code == HTTPStatus.FORBIDDEN
    assert created.json()["type"] == "/problems/role_not_yours"
    denied = await session.scalars(select(AuditEntry.details).where(AuditEntry.action == "denied"))
    assert [details["roles"] for details in denied] == [["user", "admin"], ["clerk", "admin"]]
    assert [user["roles"] for user in (await clerk.get("/v1/users")).json()["items"]] == [["clerk"]]


async def test_nobody_changes_somebody_who_may_do_more(clerk: AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user("ada@example.org", "admin")

    response = await clerk.patch(f"/v1/users/{ada.id}", json={"is_active": False})

    assert response.status_code == HTTPStatus.FORBIDDEN
    assert (await clerk.get(f"/v1/users/{ada.id}")).json()["is_active"]


async def test_a_role_that_may_do_less_can_be_given(clerk: AsyncClient) -> None:
    bob = await create(clerk, roles=["user"])

    response = await clerk.patch(f"/v1/users/{bob['id']}", json={"roles": ["clerk", "user", "user"]})

    assert response.json()["roles"] == ["clerk", "user"]


async def test_a_role_that_no_longer_exists_grants_nothing(client: AsyncClient, sign_in: SignIn) -> None:
    await sign_in(client, "ada@example.org", "emperor")

    response = await client.get("/v1/users")

    assert response.status_code == HTTPStatus.FORBIDDEN
