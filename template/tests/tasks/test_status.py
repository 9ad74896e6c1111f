"""Whoever has ordered a task sees what becomes of it."""

from http import HTTPStatus
from uuid import uuid4

import pytest
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app.tasks import Task, enqueue

# {%- if auth +%}
from tests.fixtures.auth import SignIn

# {%- endif +%}
from tests.fixtures.tasks import RunTasks
from tests.tasks.jobs import build

pytestmark = pytest.mark.usefixtures("tables")


# {% if auth %}
@pytest.fixture
async def client(client: AsyncClient, sign_in: SignIn) -> AsyncClient:
    await sign_in(client)
    return client


# {% endif %}
@pytest.fixture
async def ordered(client: AsyncClient, session: AsyncSession) -> Task:
    task = await enqueue(session, build, "first")
    # {% if auth %}
    task.principal_id = (await client.get("/v1/users/me")).json()["id"]
    # {% endif %}
    await session.commit()
    return task


async def test_what_becomes_of_it_is_there_to_see(client: AsyncClient, ordered: Task, run_tasks: RunTasks) -> None:
    path = f"/v1/tasks/{ordered.id}"

    before = (await client.get(path)).json()
    await run_tasks()
    after = (await client.get(path)).json()

    assert (before["id"], before["name"], before["state"]) == (str(ordered.id), "tests.build", "pending")
    assert after == {
        **before,
        "state": "succeeded",
        "attempts": 1,
        "progress": 100,
        "result": "FIRST",
        "started_at": after["started_at"],
        "finished_at": after["finished_at"],
    }
    assert before["created_at"] <= after["started_at"] <= after["finished_at"]


async def test_what_was_never_ordered_is_not_there(client: AsyncClient) -> None:
    response = await client.get(f"/v1/tasks/{uuid4()}")

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.json()["type"] == "/problems/task_not_found"
