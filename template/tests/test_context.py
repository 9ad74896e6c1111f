"""What waits for the outcome of a request runs for that outcome only, and before the answer leaves."""

import asyncio
from asyncio import CancelledError
from http import HTTPStatus

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from httpx2 import AsyncClient
from starlette.types import Message, Scope

from app.context import RequestContext, after_commit, after_rollback, current
from tests.fixtures.logs import Logged


@pytest.fixture
def done(app: FastAPI) -> list[str]:
    """What the callbacks of `/tests/orders` have done; `?fails=true` ends it in a 409."""
    done: list[str] = []

    async def announce() -> None:
        done.append("announced")

    async def forget() -> None:
        done.append("forgotten")

    @app.post("/tests/orders")
    async def create_order(fails: bool = False) -> None:
        after_commit(announce)
        after_rollback(forget)
        done.append("ordered")
        if fails:
            raise HTTPException(HTTPStatus.CONFLICT)

    return done


async def test_it_runs_before_the_answer_leaves(done: list[str], app: FastAPI) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        done.append(message["type"])

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/tests/orders",
        "query_string": b"",
        "headers": [],
        "client": None,
    }
    await app(scope, receive, send)

    assert done == ["ordered", "announced", "http.response.start", "http.response.body"]


async def test_who_is_broken_off_takes_no_callback_along() -> None:
    context = RequestContext("tests")
    done: list[str] = []
    waiting, begun = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        begun.set()
        await waiting.wait()
        done.append("first")

    async def second() -> None:
        done.append("second")
        finished.set()

    finished = asyncio.Event()
    context.on_commit.extend([first, second])
    settling = asyncio.create_task(context.settle(committed=True))
    await begun.wait()
    settling.cancel()
    await context.settle(committed=False)
    waiting.set()
    async with asyncio.timeout(5):
        await finished.wait()

    assert done == ["first", "second"]


async def test_callbacks_run_in_their_order_and_may_add_more(app: FastAPI, client: AsyncClient) -> None:
    done: list[str] = []

    async def first() -> None:
        done.append("first")
        after_commit(third)

    async def second() -> None:
        done.append("second")

    async def third() -> None:
        done.append("third")

    @app.post("/tests/orders")
    async def create_order() -> None:
        after_commit(first)
        after_commit(second)

    await client.post("/tests/orders")

    assert done == ["first", "second", "third"]


async def test_a_request_that_is_broken_off_counts_as_failed(
    done: list[str], app: FastAPI, client: AsyncClient
) -> None:
    async def forget() -> None:
        done.append("forgotten")

    @app.post("/tests/parcels")
    async def create_parcel() -> None:
        after_rollback(forget)
        raise CancelledError

    with pytest.raises(CancelledError):
        await client.post("/tests/parcels")

    assert done == ["forgotten"]


async def test_nothing_can_wait_for_an_outcome_that_is_known(app: FastAPI, client: AsyncClient) -> None:
    async def announce() -> None: ...

    async def work_later() -> None:
        with pytest.raises(RuntimeError, match="too late"):
            after_commit(announce)
        current.get().principal_id = "worked"

    seen: list[RequestContext] = []

    @app.post("/tests/orders")
    async def create_order(background: BackgroundTasks) -> None:
        seen.append(current.get())
        background.add_task(work_later)

    await client.post("/tests/orders")

    assert seen[0].principal_id == "worked"


async def test_a_success_runs_what_waits_for_the_commit(done: list[str], client: AsyncClient) -> None:
    await client.post("/tests/orders")

    assert done == ["ordered", "announced"]


async def test_a_failure_runs_what_waits_for_the_rollback(done: list[str], client: AsyncClient) -> None:
    await client.post("/tests/orders", params={"fails": True})

    assert done == ["ordered", "forgotten"]


async def test_a_failing_callback_changes_nothing(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    done: list[str] = []

    async def fail() -> None:
        raise RuntimeError("no mail today")

    async def announce() -> None:
        done.append("announced")

    @app.post("/tests/orders")
    async def create_order() -> None:
        after_commit(fail)
        after_commit(announce)

    response = await client.post("/tests/orders")

    assert response.status_code == HTTPStatus.OK
    assert done == ["announced"]
    assert "context.callback_failed" in [record["event"] for record in logged()]


async def test_an_outcome_is_final() -> None:
    done: list[str] = []

    async def forget() -> None:
        done.append("forgotten")

    context = RequestContext("0123456789abcdef", on_rollback=[forget])

    await context.settle(committed=True)
    await context.settle(committed=False)

    assert done == []


def test_outside_of_a_request_nothing_can_wait_for_its_outcome() -> None:
    async def announce() -> None: ...

    with pytest.raises(LookupError):
        after_commit(announce)
