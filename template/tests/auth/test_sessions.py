"""Sessions begin with a login, go on with refreshes, and end at once."""

import asyncio
from collections import Counter
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import event, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.pool import QueuePool

from app.auth import CurrentUser
from app.auth.models import AuditEntry, RefreshToken, User, UserSession
from tests.fixtures.auth import PASSWORD, MakeUser, log_in
from tests.fixtures.logs import Logged

REUSED = "/problems/token_reused"
INVALID = "/problems/token_invalid"


@pytest.fixture
async def tokens(client: AsyncClient, make_user: MakeUser) -> dict[str, Any]:
    """Those of a user who has logged in as the client."""
    await make_user()
    return await log_in(client)


async def refresh(client: AsyncClient, tokens: dict[str, Any]) -> Response:
    return await client.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})


async def is_signed_in(client: AsyncClient, tokens: dict[str, Any]) -> bool:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return (await client.get("/v1/users/me", headers=headers)).is_success


async def age(session: AsyncSession, column: InstrumentedAttribute[Any], seconds: float) -> None:
    """Let so much time go by for the times in a column."""
    times = (await session.execute(select(column.class_.id, column).where(column.is_not(None)))).all()
    for id, time in times:
        statement = update(column.class_).where(column.class_.id == id)
        await session.execute(statement.values({column.key: time - timedelta(seconds=seconds)}))
    await session.commit()


async def test_a_login_gives_both_tokens(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user()

    response = await client.post("/v1/auth/token", data={"username": "ada@example.org", "password": PASSWORD})

    assert response.status_code == HTTPStatus.OK
    assert response.headers["Cache-Control"] == "no-store"
    tokens = response.json()
    assert tokens.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 900
    assert tokens["refresh_token"].startswith("rt_")
    assert await is_signed_in(client, tokens)


async def test_the_description_says_how_to_log_in(client: AsyncClient) -> None:
    description = (await client.get("/openapi.json")).json()

    assert description["components"]["securitySchemes"]["Bearer"]["flows"]["password"]["tokenUrl"] == "v1/auth/token"
    assert description["paths"]["/v1/users/me"]["get"]["security"] == [{"Bearer": []}]
    assert "security" not in description["paths"]["/v1/auth/token"]["post"]


@pytest.mark.parametrize(
    "form",
    [
        {"username": "ada@example.org"},
        {"password": PASSWORD},
        {"username": "ada@example.org", "password": PASSWORD, "grant_type": "client_credentials"},
        {"username": "a\0b", "password": PASSWORD},
        {"username": f"{'a' * 320}@example.org", "password": PASSWORD},
    ],
    ids=repr,
)
async def test_a_form_that_is_wrong_is_refused(client: AsyncClient, form: dict[str, str]) -> None:
    response = await client.post("/v1/auth/token", data=form)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["type"] == "/problems/validation_failed"


@pytest.mark.parametrize(("codec", "half"), [("raw_unicode_escape", "\\ud800"), ("utf-7", "+2AA-")])
async def test_half_a_character_is_refused_in_any_codec(client: AsyncClient, codec: str, half: str) -> None:
    field = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = field.format("username", "ada@example.org") + field.format("password", half) + "--x--\r\n"

    response = await client.post(
        "/v1/auth/token",
        content=body.encode(),
        headers={"Content-Type": f"multipart/form-data; boundary=x; charset={codec}"},
    )

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("email", ["ada@example.org", "bob@example.org", "nobody@example.org", "nonsense"])
async def test_nobody_learns_which_accounts_exist(client: AsyncClient, make_user: MakeUser, email: str) -> None:
    await make_user("ada@example.org")
    await make_user("bob@example.org", is_active=False)

    response = await client.post("/v1/auth/token", data={"username": email, "password": "wrong"})

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert {**response.json(), "request_id": ""} == {
        "type": "/problems/login_failed",
        "title": "Login failed",
        "status": 401,
        "detail": "E-mail address or password is wrong.",
        "instance": "/v1/auth/token",
        "request_id": "",
    }


async def test_who_is_not_active_does_not_log_in(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user(is_active=False)

    response = await client.post("/v1/auth/token", data={"username": "ada@example.org", "password": PASSWORD})

    assert response.status_code == HTTPStatus.UNAUTHORIZED


async def test_capitals_in_an_address_do_not_matter(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user("ada@example.org")

    tokens = await log_in(client, "Ada@EXAMPLE.org")

    assert await is_signed_in(client, tokens)


async def test_only_the_hash_of_a_refresh_token_is_stored(
    app: FastAPI, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    stored = (await session.scalars(select(RefreshToken.token_hash))).all()

    assert stored == app.state.auth.tokens.hashes(tokens["refresh_token"])
    assert len(tokens["refresh_token"]) == len("rt_") + 43  # 256 bits


async def test_a_refresh_gives_new_tokens_for_the_same_session(client: AsyncClient, tokens: dict[str, Any]) -> None:
    response = await refresh(client, tokens)

    assert response.status_code == HTTPStatus.OK
    assert response.json()["refresh_token"] != tokens["refresh_token"]
    assert await is_signed_in(client, response.json())
    assert len((await client.get("/v1/auth/sessions")).json()["items"]) == 1


async def test_a_token_that_comes_again_at_once_is_refused_and_nothing_else(
    client: AsyncClient, tokens: dict[str, Any]
) -> None:
    child = (await refresh(client, tokens)).json()

    response = await refresh(client, tokens)

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.json()["type"] == REUSED
    assert await is_signed_in(client, child)
    assert (await refresh(client, child)).is_success


async def test_a_token_that_comes_again_later_ends_the_session_for_good(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any], logged: Logged
) -> None:
    child = (await refresh(client, tokens)).json()
    await age(session, RefreshToken.used_at, 11)

    response = await refresh(client, tokens)

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.json()["type"] == REUSED
    assert not await is_signed_in(client, child)
    again = [await refresh(client, child), await refresh(client, tokens)]
    assert [answer.json()["type"] for answer in again] == [INVALID, REUSED]
    (line,) = [line for line in logged() if line["event"] == "auth.refresh_reuse"]
    assert line["family_id"] == str(await session.scalar(select(UserSession.id)))
    noted = await session.scalar(select(AuditEntry.target_id).where(AuditEntry.action == "refresh_reuse"))
    assert str(noted) == line["family_id"]


async def test_of_many_refreshes_at_the_same_time_one_succeeds(live: AsyncClient, engine: AsyncEngine) -> None:
    tokens = await log_in(live)

    responses = await asyncio.gather(*(refresh(live, tokens) for _ in range(10)))

    assert Counter(response.status_code for response in responses) == {HTTPStatus.OK: 1, HTTPStatus.UNAUTHORIZED: 9}
    assert {response.json().get("type") for response in responses} == {None, REUSED}
    async with engine.connect() as connection:
        used = (await connection.scalars(select(RefreshToken.used_at.is_not(None)))).all()
    assert sorted(used) == [False, True]


@pytest.mark.parametrize("text", ["", "rt_", "rt_" + "A" * 43, "A" * 200], ids=len)
async def test_what_is_no_refresh_token_is_refused(client: AsyncClient, text: str) -> None:
    response = await refresh(client, {"refresh_token": text})

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.json()["type"] == INVALID


@pytest.mark.parametrize(
    ("column", "days"), [(RefreshToken.expires_at, 7), (UserSession.expires_at, 30)], ids=["idle", "absolute"]
)
async def test_a_refresh_comes_too_late(
    client: AsyncClient,
    session: AsyncSession,
    tokens: dict[str, Any],
    column: InstrumentedAttribute[Any],
    days: int,
) -> None:
    await age(session, column, days * 24 * 3600)

    response = await refresh(client, tokens)

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.json()["type"] == INVALID


async def test_a_refresh_token_does_not_outlive_its_session(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    await age(session, UserSession.expires_at, 25 * 24 * 3600)

    await refresh(client, tokens)

    ends = await session.scalar(select(UserSession.expires_at))
    assert await session.scalar(select(RefreshToken.expires_at).where(RefreshToken.used_at.is_(None))) == ends


async def test_a_session_that_is_too_old_ends(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    await age(session, UserSession.expires_at, 30 * 24 * 3600)

    assert not await is_signed_in(client, tokens)


async def test_who_is_not_active_is_out_with_an_open_session(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    await session.execute(update(User).values(is_active=False))
    await session.commit()

    assert not await is_signed_in(client, tokens)
    assert (await refresh(client, tokens)).json()["type"] == INVALID


async def test_a_login_forgets_sessions_that_are_over(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    await age(session, UserSession.expires_at, 30 * 24 * 3600)

    await log_in(client)

    assert len((await session.scalars(select(UserSession))).all()) == 1
    assert len((await session.scalars(select(RefreshToken))).all()) == 1


async def test_a_refresh_forgets_tokens_that_have_expired(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    child = (await refresh(client, tokens)).json()
    await session.execute(
        update(RefreshToken).where(RefreshToken.used_at.is_not(None)).values(expires_at=RefreshToken.created_at)
    )
    await session.commit()

    await refresh(client, child)

    assert len((await session.scalars(select(RefreshToken))).all()) == 2


async def test_a_logout_is_felt_at_once(client: AsyncClient, tokens: dict[str, Any]) -> None:
    elsewhere = await log_in(client)
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    response = await client.post("/v1/auth/logout")

    assert response.status_code == HTTPStatus.NO_CONTENT
    assert not await is_signed_in(client, tokens)
    assert (await refresh(client, tokens)).status_code == HTTPStatus.UNAUTHORIZED
    assert await is_signed_in(client, elsewhere)


async def test_a_logout_can_end_all_sessions(client: AsyncClient, make_user: MakeUser, tokens: dict[str, Any]) -> None:
    await make_user("bob@example.org")
    others = await log_in(client, "bob@example.org")
    elsewhere = await log_in(client)

    response = await client.post("/v1/auth/logout", params={"everywhere": True})

    assert response.status_code == HTTPStatus.NO_CONTENT
    assert not await is_signed_in(client, tokens)
    assert not await is_signed_in(client, elsewhere)
    assert await is_signed_in(client, others)


async def test_sessions_are_listed_with_device_and_last_use(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    await age(session, UserSession.last_used_at, 3600)
    client.headers["User-Agent"] = "Lynx/2.9"
    await log_in(client)
    await refresh(client, tokens)

    listed = (await client.get("/v1/auth/sessions")).json()["items"]

    assert [one["device"] == "Lynx/2.9" for one in listed] == [True, False]
    assert [one["current"] for one in listed] == [True, False]
    assert listed[1]["last_used_at"] > listed[0]["created_at"] > listed[1]["created_at"]


async def test_a_session_that_cannot_be_refreshed_any_more_is_not_listed(
    client: AsyncClient, session: AsyncSession, tokens: dict[str, Any]
) -> None:
    await age(session, UserSession.last_used_at, 8 * 24 * 3600)
    await log_in(client)

    listed = (await client.get("/v1/auth/sessions")).json()["items"]

    assert [one["current"] for one in listed] == [True]


async def test_a_session_can_be_ended_from_another(client: AsyncClient, tokens: dict[str, Any]) -> None:
    elsewhere = await log_in(client)
    current, other = (await client.get("/v1/auth/sessions")).json()["items"]

    response = await client.delete(f"/v1/auth/sessions/{other['id']}")

    assert response.status_code == HTTPStatus.NO_CONTENT
    assert not await is_signed_in(client, tokens)
    assert await is_signed_in(client, elsewhere)
    assert (await client.get("/v1/auth/sessions")).json()["items"] == [current]


async def test_the_session_of_somebody_else_is_none(
    client: AsyncClient, make_user: MakeUser, tokens: dict[str, Any]
) -> None:
    (own,) = (await client.get("/v1/auth/sessions")).json()["items"]
    await make_user("bob@example.org", "admin")
    await log_in(client, "bob@example.org")

    theirs = await client.delete(f"/v1/auth/sessions/{own['id']}")
    unknown = await client.delete(f"/v1/auth/sessions/{uuid4()}")

    assert theirs.status_code == unknown.status_code == HTTPStatus.NOT_FOUND
    assert theirs.json()["type"] == unknown.json()["type"] == "/problems/session_not_found"
    assert await is_signed_in(client, tokens)


async def test_user_and_session_are_read_in_one_statement(
    client: AsyncClient, engine: AsyncEngine, tokens: dict[str, Any]
) -> None:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    await client.get("/v1/users/me")
    event.remove(engine.sync_engine, "before_cursor_execute", note)

    (statement,) = statements
    assert "users" in statement
    assert "user_sessions" in statement
    assert "password_hash" not in statement


async def test_no_connection_is_held_while_an_endpoint_works(live_app: FastAPI, live: AsyncClient) -> None:
    await log_in(live)
    pool = live_app.state.database_engine.pool
    assert isinstance(pool, QueuePool)

    @live_app.get("/tests/held")
    async def get_held(user: CurrentUser) -> int:
        return pool.checkedout()

    response = await live.get("/tests/held")

    assert response.json() == 0


async def test_who_is_calling_is_in_the_log(client: AsyncClient, tokens: dict[str, Any], logged: Logged) -> None:
    logged()

    await client.get("/v1/users/me")

    (line,) = logged()
    assert line["user_id"] == (await client.get("/v1/users/me")).json()["id"]
