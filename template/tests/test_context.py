"""What waits for the outcome of a request runs for that outcome only, and before the answer leaves."""

from http import HTTPStatus

import pytest
from fastapi import FastAPI, HTTPException
from httpx2 import AsyncClient

from app.context import after_commit, after_rollback
from tests.fixtures.logs import Logged


@pytest.fixture
def done(app: FastAPI) -> list[str]:
    """What the callbacks of `/v1/orders` have done; `?fails=true` ends it in a 409."""
    done: list[str] = []

    async def announce() -> None:
        done.append("announced")

    async def forget() -> None:
        done.append("forgotten")

    @app.post("/v1/orders")
    async def create_order(fails: bool = False) -> None:
        after_commit(announce)
        after_rollback(forget)
        done.append("ordered")
        if fails:
            raise HTTPException(HTTPStatus.CONFLICT)

    return done


async def test_a_success_runs_what_waits_for_the_commit(done: list[str], client: AsyncClient) -> None:
    await client.post("/v1/orders")

    assert done == ["ordered", "announced"]


async def test_a_failure_runs_what_waits_for_the_rollback(done: list[str], client: AsyncClient) -> None:
    await client.post("/v1/orders", params={"fails": True})

    assert done == ["ordered", "forgotten"]


async def test_a_failing_callback_changes_nothing(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    done: list[str] = []

    async def fail() -> None:
        raise RuntimeError("no mail today")

    async def announce() -> None:
        done.append("announced")

    @app.post("/v1/orders")
    async def create_order() -> None:
        after_commit(fail)
        after_commit(announce)

    response = await client.post("/v1/orders")

    assert response.status_code == HTTPStatus.OK
    assert done == ["announced"]
    assert "context.callback_failed" in [record["event"] for record in logged()]


def test_outside_of_a_request_nothing_can_wait_for_its_outcome() -> None:
    async def announce() -> None: ...

    with pytest.raises(LookupError):
        after_commit(announce)
