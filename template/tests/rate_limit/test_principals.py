"""Whoever is known to be calling is counted, and not the address that they share with others."""

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from tests.fixtures.http import connect
from tests.rate_limit.test_addresses import OK, REFUSED, ask

ADA, BOB = {"X-Tests-Name": "ada"}, {"X-Tests-Name": "bob"}


async def test_the_limit_of_somebody_is_not_passed(client: AsyncClient) -> None:
    statuses = await ask(client, 5, **ADA)
    refused = await client.get("/tests/orders", headers=ADA)

    assert statuses == [OK] * 3 + [REFUSED] * 2
    assert refused.json()["type"] == "/problems/rate_limit_exceeded"
    assert refused.headers["ratelimit"] == f'"default";r=0;t={refused.headers["retry-after"]}'


async def test_everybody_at_an_address_has_a_limit_of_their_own(client: AsyncClient) -> None:
    await ask(client, 4, **ADA)

    assert await ask(client, 4, **BOB) == [OK] * 3 + [REFUSED]


async def test_who_is_known_does_not_use_up_the_address(client: AsyncClient) -> None:
    await ask(client, 4, **ADA)
    await ask(client, 3, **BOB)

    assert await ask(client, 4) == [OK] * 3 + [REFUSED]


async def test_somebody_is_the_same_at_another_address(app: FastAPI, client: AsyncClient) -> None:
    await ask(client, 3, **ADA)

    async with connect(app, address="203.0.113.1") as elsewhere:
        assert await ask(elsewhere, 1, **ADA) == [REFUSED]


async def test_an_answer_says_what_is_left_to_who_is_known(client: AsyncClient) -> None:
    await ask(client, 2)

    response = await client.get("/tests/orders", headers=ADA)

    assert response.headers["ratelimit"].startswith('"default";r=2;')


@pytest.mark.parametrize("path", ["/tests/prints", "/tests/late-prints"])
async def test_a_route_counts_who_is_known(client: AsyncClient, path: str) -> None:
    ours = await ask(client, 3, path, **ADA)
    theirs = await ask(client, 1, path, **BOB)
    anonymous = await ask(client, 3, path)

    assert ours == [OK, OK, REFUSED]
    assert theirs == [OK]
    assert anonymous == [OK, OK, REFUSED]


async def test_who_is_over_the_limit_uses_up_nothing_of_the_address_either(client: AsyncClient) -> None:
    await ask(client, 3, **ADA)

    refused = await ask(client, 3, "/tests/late-prints", **ADA)

    assert refused == [REFUSED] * 3
    assert await ask(client, 3, "/tests/late-prints") == [OK, OK, REFUSED]
