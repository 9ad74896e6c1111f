"""Nobody guesses for long, and nobody else has to wait for that."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import LoginThrottle
from tests.fixtures.auth import PASSWORD, MakeUser, log_in
from tests.fixtures.http import connect

ADA = "ada@example.org"


async def guess(client: AsyncClient, email: str = ADA, password: str = "wrong") -> Response:
    return await client.post("/v1/auth/token", data={"username": email, "password": password})


async def guess_often(client: AsyncClient, times: int, email: str = ADA) -> list[int]:
    return [(await guess(client, email.format(number))).status_code for number in range(times)]


async def fail(client: AsyncClient, session: AsyncSession, times: int, email: str = ADA) -> None:
    """Fail so often, in truth only the first time and the last."""
    await guess_often(client, 1, email)
    await session.execute(update(LoginThrottle).values(failures=times - 1))
    await session.commit()
    await guess(client, email.format("last"))


async def wait(session: AsyncSession, **ago: float) -> None:
    """Let so much time go by."""
    for throttle in await session.scalars(select(LoginThrottle)):
        throttle.last_at -= timedelta(**ago)
        if throttle.retry_at is not None:
            throttle.retry_at -= timedelta(**ago)
    await session.commit()


@pytest.mark.parametrize("email", [ADA, "nobody@example.org"])
async def test_an_account_waits_after_ten_failures(client: AsyncClient, make_user: MakeUser, email: str) -> None:
    await make_user(ADA)

    failures = await guess_often(client, 10, email)
    refused = await guess(client, email, PASSWORD)

    assert failures == [HTTPStatus.UNAUTHORIZED] * 10
    assert refused.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert refused.json()["type"] == "/problems/too_many_failures"
    assert 25 <= int(refused.headers["Retry-After"]) <= 30


async def test_an_account_waits_wherever_the_guesses_come_from(
    app: FastAPI, make_user: MakeUser, session: AsyncSession
) -> None:
    await make_user(ADA)
    async with connect(app, address="203.0.113.1") as here:
        await fail(here, session, 9)

    async with connect(app, address="203.0.113.2") as there:
        statuses = await guess_often(there, 2)

    assert statuses == [HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS]


async def test_an_account_does_not_wait_for_another(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession
) -> None:
    await make_user("bob@example.org")
    await fail(client, session, 11)

    response = await guess(client, "bob@example.org", PASSWORD)

    assert response.status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    ("address", "neighbour"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("203.0.113.1", "::ffff:203.0.113.1"),
        ("2001:db8::1", "2001:db8::ffff:1"),
    ],
    ids=["IPv4", "IPv4 as IPv6", "a network of IPv6"],
)
async def test_an_address_waits_after_twenty_failures(
    app: FastAPI, make_user: MakeUser, session: AsyncSession, address: str, neighbour: str
) -> None:
    await make_user(ADA)
    async with connect(app, address=address) as client:
        await fail(client, session, 20, "user{}@example.org")

    async with connect(app, address=neighbour) as client:
        refused = await guess(client, ADA, PASSWORD)

    assert refused.status_code == HTTPStatus.TOO_MANY_REQUESTS


@pytest.mark.parametrize(
    ("address", "other"), [("203.0.113.1", "203.0.113.2"), ("::ffff:203.0.113.1", "::ffff:203.0.113.2")]
)
async def test_an_address_does_not_wait_for_another(
    app: FastAPI, make_user: MakeUser, session: AsyncSession, address: str, other: str
) -> None:
    await make_user(ADA)
    async with connect(app, address=address) as client:
        await fail(client, session, 21, "user{}@example.org")

    async with connect(app, address=other) as client:
        response = await guess(client, ADA, PASSWORD)

    assert response.status_code == HTTPStatus.OK


async def test_a_header_makes_no_other_address(client: AsyncClient) -> None:
    failures = await guess_often(client, 20, "user{}@example.org")

    client.headers["X-Forwarded-For"] = "198.51.100.7"
    response = await guess(client)

    assert failures == [HTTPStatus.UNAUTHORIZED] * 20
    assert response.status_code == HTTPStatus.TOO_MANY_REQUESTS


async def test_who_has_waited_may_try_again(client: AsyncClient, make_user: MakeUser, session: AsyncSession) -> None:
    await make_user(ADA)
    await fail(client, session, 10)
    refused = await guess(client, ADA, PASSWORD)

    await wait(session, seconds=31)

    assert refused.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert (await guess(client, ADA, PASSWORD)).status_code == HTTPStatus.OK


@pytest.mark.parametrize(("failures", "seconds"), [(10, 30), (11, 60), (12, 120), (15, 900), (5000, 900)])
async def test_each_further_failure_doubles_the_wait(
    client: AsyncClient, session: AsyncSession, failures: int, seconds: int
) -> None:
    await fail(client, session, failures)
    refused = await guess(client)

    assert seconds - 5 <= int(refused.headers["Retry-After"]) <= seconds


async def test_who_has_to_wait_takes_nobodys_turn(app: FastAPI, client: AsyncClient, session: AsyncSession) -> None:
    await fail(client, session, 10)
    app.state.auth.passwords.queue = -100  # full

    refused = await guess(client)

    assert refused.status_code == HTTPStatus.TOO_MANY_REQUESTS


async def test_who_waits_is_not_counted(client: AsyncClient, session: AsyncSession) -> None:
    await fail(client, session, 10)
    await guess_often(client, 5)

    assert set(await session.scalars(select(LoginThrottle.failures))) == {10}


async def test_a_login_forgets_the_failures_of_the_account(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession
) -> None:
    await make_user(ADA)
    await fail(client, session, 9)
    await log_in(client, ADA)

    statuses = await guess_often(client, 2)

    assert statuses == [HTTPStatus.UNAUTHORIZED] * 2
    assert set(await session.scalars(select(LoginThrottle.failures))) == {2, 11}  # of the account, of the address


async def test_a_login_does_not_forget_the_failures_of_the_address(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession
) -> None:
    await make_user(ADA)
    await fail(client, session, 19, "user{}@example.org")
    await log_in(client, ADA)

    statuses = await guess_often(client, 2, "user{}@example.com")

    assert statuses == [HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS]


async def test_who_is_not_active_is_counted_like_everybody(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession
) -> None:
    await make_user(ADA, is_active=False)
    await fail(client, session, 9)

    statuses = [(await guess(client, ADA, PASSWORD)).status_code for _ in range(2)]

    assert statuses == [HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS]


async def test_failures_are_forgotten_after_an_hour(client: AsyncClient, session: AsyncSession) -> None:
    await fail(client, session, 10)
    await wait(session, minutes=61)

    statuses = await guess_often(client, 2)

    assert statuses == [HTTPStatus.UNAUTHORIZED] * 2
    assert set(await session.scalars(select(LoginThrottle.failures))) == {2}


async def test_what_is_forgotten_leaves_no_rows(
    client: AsyncClient, make_user: MakeUser, session: AsyncSession
) -> None:
    await guess(client, "nobody@example.org")
    await wait(session, minutes=61)
    await make_user(ADA)

    await log_in(client, ADA)

    last = await session.scalars(select(LoginThrottle.last_at))
    assert all(at > datetime.now(UTC) - timedelta(minutes=1) for at in last)


async def test_guesses_at_the_same_time_are_all_counted(live_app: FastAPI, live: AsyncClient) -> None:
    live_app.state.auth.passwords.limiter.total_tokens = 1  # with more, so many may be looked at already

    responses = await asyncio.gather(*(guess(live) for _ in range(15)))

    statuses = Counter(response.status_code for response in responses)
    assert statuses == {HTTPStatus.UNAUTHORIZED: 10, HTTPStatus.TOO_MANY_REQUESTS: 5}


async def test_the_current_password_cannot_be_guessed_either(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user(ADA)
    await log_in(client, ADA)
    change = {"current_password": "wrong", "new_password": "a new password, long enough"}

    responses = [await client.post("/v1/users/me/password", json=change) for _ in range(11)]

    statuses = Counter(response.status_code for response in responses)
    assert statuses == {HTTPStatus.FORBIDDEN: 10, HTTPStatus.TOO_MANY_REQUESTS: 1}


async def test_logins_at_the_same_time_are_no_failures(live: AsyncClient) -> None:
    responses = await asyncio.gather(*(guess(live, ADA, PASSWORD) for _ in range(22)))  # an address may fail 20 times

    assert Counter(response.status_code for response in responses) == {HTTPStatus.OK: 22}


async def test_neither_address_nor_account_can_be_read_from_the_table(
    client: AsyncClient, session: AsyncSession
) -> None:
    await guess(client)

    assert {len(key) for key in await session.scalars(select(LoginThrottle.key))} == {64}
