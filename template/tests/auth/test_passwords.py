"""Passwords: what they have to be, what they are stored as, and what hashing them costs others."""

import asyncio
from http import HTTPStatus
from threading import Event, Lock
from time import perf_counter

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import User
from app.auth.passwords import Passwords
from app.auth.settings import AuthSettings
from app.main import create_app
from tests.fixtures.auth import PASSWORD, MakeUser, act_as, log_in
from tests.fixtures.http import connect

COMPOSED, DECOMPOSED = "caf\u00e9 au lait, s'il", "cafe\u0301 au lait, s'il"


async def send_login(client: AsyncClient, email: str = "ada@example.org", password: str = PASSWORD) -> Response:
    return await client.post("/v1/auth/token", data={"username": email, "password": password})


async def register(app: FastAPI, client: AsyncClient, password: str) -> Response:
    act_as(app, "admin")
    return await client.post("/v1/users", json={"email": "ada@example.org", "password": password})


async def change(client: AsyncClient, password: str, *, current: str = PASSWORD) -> Response:
    return await client.post("/v1/users/me/password", json={"current_password": current, "new_password": password})


LENGTHS = [
    ("x" * 14, "/problems/password_too_short"),
    ("x" * 129, "/problems/password_too_long"),
    ("e\u0301" * 14, "/problems/password_too_short"),
    ("", "/problems/password_too_short"),
]


@pytest.mark.parametrize(("password", "type"), LENGTHS)
async def test_nobody_starts_with_a_password_of_the_wrong_length(
    app: FastAPI, client: AsyncClient, password: str, type: str
) -> None:
    response = await register(app, client, password)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["type"] == type


@pytest.mark.parametrize(("password", "type"), LENGTHS)
async def test_nobody_changes_to_a_password_of_the_wrong_length(
    client: AsyncClient, make_user: MakeUser, password: str, type: str
) -> None:
    await make_user()
    await log_in(client)

    response = await change(client, password)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["type"] == type
    assert (await send_login(client)).status_code == HTTPStatus.OK


async def test_a_password_of_the_wrong_length_is_no_failed_attempt(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user()
    await log_in(client)

    responses = [await change(client, "short") for _ in range(11)]

    assert {response.status_code for response in responses} == {HTTPStatus.UNPROCESSABLE_ENTITY}
    assert (await send_login(client)).status_code == HTTPStatus.OK


@pytest.mark.parametrize("password", ["x" * 15, "x" * 128, "💡" * 128, " " * 15, "\x00" * 15], ids=ascii)
async def test_any_characters_make_a_password(app: FastAPI, client: AsyncClient, password: str) -> None:
    response = await register(app, client, password)

    assert response.status_code == HTTPStatus.CREATED
    assert (await send_login(client, password=password)).status_code == HTTPStatus.OK


async def test_every_character_counts(app: FastAPI, client: AsyncClient) -> None:
    await register(app, client, "x" * 72 + "a")

    response = await send_login(client, password="x" * 72 + "b")

    assert response.status_code == HTTPStatus.UNAUTHORIZED


async def test_accents_without_end_stop_nobody(client: AsyncClient) -> None:
    started = perf_counter()

    response = await send_login(client, password="a" + "\u0301\u0316" * 50_000)

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert perf_counter() - started < 5


@pytest.mark.parametrize(("stored", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)], ids=ascii)
async def test_what_looks_the_same_is_the_same(app: FastAPI, client: AsyncClient, stored: str, typed: str) -> None:
    await register(app, client, stored)

    response = await send_login(client, password=typed)

    assert response.status_code == HTTPStatus.OK


async def test_a_login_renews_a_hash_of_other_parameters(
    app: FastAPI, make_user: MakeUser, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await make_user()
    monkeypatch.setenv("AUTH_HASH_TIME_COST", "2")
    monkeypatch.setenv("AUTH_HASH_MEMORY_KIB", "16")
    later = create_app()
    later.dependency_overrides = app.dependency_overrides

    async with connect(later) as client:
        first = await send_login(client)
        renewed = (await session.get_one(User, user.id)).password_hash
        second = await send_login(client)

    assert (first.status_code, second.status_code) == (HTTPStatus.OK, HTTPStatus.OK)
    assert user.password_hash.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert renewed.startswith("$argon2id$v=19$m=16,t=2,p=1$")
    await session.refresh(await session.get_one(User, user.id))
    assert (await session.get_one(User, user.id)).password_hash == renewed


async def test_a_password_that_has_just_been_changed_lets_nobody_in(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_user()
    verify = Passwords.verify

    async def verify_and_change(self: Passwords, password: SecretStr, hash: str | None) -> tuple[bool, str | None]:
        result = await verify(self, password, hash)
        await session.execute(update(User).values(password_hash=self.hasher.hash("another")))
        await session.commit()
        return result

    monkeypatch.setattr(Passwords, "verify", verify_and_change)
    response = await send_login(client)

    assert response.status_code == HTTPStatus.UNAUTHORIZED


async def test_who_has_just_been_deactivated_is_not_let_in(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_user()
    verify = Passwords.verify

    async def verify_and_deactivate(self: Passwords, password: SecretStr, hash: str | None) -> tuple[bool, str | None]:
        result = await verify(self, password, hash)
        await session.execute(update(User).values(is_active=False))
        await session.commit()
        return result

    monkeypatch.setattr(Passwords, "verify", verify_and_deactivate)
    response = await send_login(client)

    assert response.status_code == HTTPStatus.UNAUTHORIZED


async def test_logins_at_the_same_time_all_succeed_while_the_hash_is_renewed(
    live_app: FastAPI, live: AsyncClient
) -> None:
    live_app.state.auth.passwords.hasher = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=16, parallelism=1)])

    responses = await asyncio.gather(*(send_login(live) for _ in range(10)))

    assert {response.status_code for response in responses} == {HTTPStatus.OK}


@pytest.fixture
def verified(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The algorithm and the parameters of each hash that a password was compared with."""
    hasher = app.state.auth.passwords.hasher
    verify = hasher.verify_and_update
    parameters: list[str] = []

    def note(password: str, hash: str) -> tuple[bool, str | None]:
        parameters.append(hash.rsplit("$", 2)[0])
        result: tuple[bool, str | None] = verify(password, hash)
        return result

    monkeypatch.setattr(hasher, "verify_and_update", note)
    return parameters


@pytest.mark.parametrize(
    ("email", "password", "status"),
    [
        ("ada@example.org", PASSWORD, HTTPStatus.OK),
        ("ada@example.org", "wrong", HTTPStatus.UNAUTHORIZED),
        ("eve@example.org", PASSWORD, HTTPStatus.UNAUTHORIZED),
        ("eve@example.org", "wrong", HTTPStatus.UNAUTHORIZED),
        ("nobody@example.org", PASSWORD, HTTPStatus.UNAUTHORIZED),
        ("no address", PASSWORD, HTTPStatus.UNAUTHORIZED),
    ],
)
async def test_every_login_takes_one_verification(
    client: AsyncClient, make_user: MakeUser, verified: list[str], email: str, password: str, status: HTTPStatus
) -> None:
    await make_user("ada@example.org")
    await make_user("eve@example.org", is_active=False)

    response = await send_login(client, email, password)

    assert response.status_code == status
    assert verified == ["$argon2id$v=19$m=8,t=1,p=1"]


class Hashing:
    """Verifies any password, no sooner than the event loop has gone on for ten milliseconds."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lock = Lock()
        self.running = 0
        self.most = 0
        self.stopped = False

    def verify(self, password: str, hash: str) -> tuple[bool, None]:
        went_on = Event()
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.loop.call_soon_threadsafe(self.loop.call_later, 0.01, went_on.set)
        self.stopped = self.stopped or not went_on.wait(5)
        with self.lock:
            self.running -= 1
        return True, None


async def test_many_logins_stop_nobody_else(live: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    hashing = Hashing()
    monkeypatch.setattr(PasswordHash, "verify_and_update", lambda self, password, hash: hashing.verify(password, hash))

    responses = await asyncio.gather(*[send_login(live) for _ in range(20)])

    assert {response.status_code for response in responses} == {HTTPStatus.OK}
    assert not hashing.stopped
    assert hashing.most <= Passwords(AuthSettings()).limiter.total_tokens <= 4


@pytest.fixture(params=[0, 3])
def queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("AUTH_HASH_QUEUE", str(request.param))
    return int(request.param)


async def test_who_would_wait_too_long_is_asked_to_come_back(
    queue: int, live: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = queue + int(Passwords(AuthSettings()).limiter.total_tokens)
    go_on = Event()
    monkeypatch.setattr(PasswordHash, "verify_and_update", lambda self, password, hash: (go_on.wait(30), None))

    logins = [asyncio.create_task(send_login(live)) for _ in range(places + 1)]
    (refused,), others = await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
    go_on.set()
    responses = [*await asyncio.gather(*others), await send_login(live)]

    assert refused.result().status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert refused.result().headers["Retry-After"] == "1"
    assert refused.result().json()["type"] == "/problems/too_many_logins"
    assert {response.status_code for response in responses} == {HTTPStatus.OK}


async def test_who_is_asked_to_come_back_has_not_failed(
    app: FastAPI, client: AsyncClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_user()
    with monkeypatch.context() as full:
        full.setattr(app.state.auth.passwords, "queue", -100)

        refused = [await send_login(client) for _ in range(11)]

    assert {response.status_code for response in refused} == {HTTPStatus.SERVICE_UNAVAILABLE}
    assert (await send_login(client)).status_code == HTTPStatus.OK


async def test_no_log_tells_who_logs_in_or_how(
    client: AsyncClient, make_user: MakeUser, capsys: pytest.CaptureFixture[str]
) -> None:
    await make_user()
    old = await log_in(client)
    await send_login(client, password="hunter2 hunter2 hunter2")
    await send_login(client, "hunter3@example.org", PASSWORD)
    new = (await client.post("/v1/auth/refresh", json={"refresh_token": old["refresh_token"]})).json()
    await client.post("/v1/auth/refresh", json={"refresh_token": old["refresh_token"]})
    await change(client, "hunter4", current="hunter5")
    await change(client, "hunter6 hunter6 hunter6")
    await client.get("/v1/users/me", headers={"Authorization": f"Bearer {old['access_token']}x"})

    logged = "".join(capsys.readouterr())
    assert logged.count("http.request") == 8
    assert [word for word in ("hunter", "example.org", PASSWORD) if word in logged] == []
    assert [token for token in (*old.values(), *new.values()) if len(str(token)) > 10 and str(token) in logged] == []
