"""Whoever has logged in is counted by that, and a token counts for something only once it has been read."""

from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from tests.fixtures.auth import MakeUser, log_in
from tests.fixtures.http import connect
from tests.rate_limit.test_addresses import OK, REFUSED, ask

ME = "/v1/users/me"


@pytest.fixture
async def ada(client: AsyncClient, make_user: MakeUser) -> str:
    """What she sends to be known; the login is one of the three requests of the address."""
    await make_user("ada@example.org")
    await log_in(client)
    return str(client.headers.pop("Authorization"))


async def test_somebody_with_a_session_does_not_use_up_the_address(client: AsyncClient, ada: str) -> None:
    signed_in = await ask(client, 4, ME, Authorization=ada)
    anonymous = await ask(client, 3, ME)

    assert signed_in == [OK] * 3 + [REFUSED]
    assert anonymous == [HTTPStatus.UNAUTHORIZED] * 2 + [REFUSED]


async def test_a_second_session_is_no_second_caller(app: FastAPI, client: AsyncClient, ada: str) -> None:
    await ask(client, 3, ME, Authorization=ada)

    async with connect(app, address="203.0.113.1") as elsewhere:
        await log_in(elsewhere)

        assert await ask(elsewhere, 1, ME) == [REFUSED]


async def test_tokens_that_nobody_has_signed_are_counted_by_address(client: AsyncClient, ada: str) -> None:
    forged = [(await ask(client, 1, ME, Authorization=f"{ada}{number}"))[0] for number in range(3)]

    assert forged == [HTTPStatus.UNAUTHORIZED] * 2 + [REFUSED]
