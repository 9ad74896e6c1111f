"""Whoever has ordered a task sees what becomes of it, and nobody else does."""

from http import HTTPStatus
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import CurrentUser, User
from app.auth.delegates import act_for
from app.database import SessionDep
from app.tasks import Run, TaskRead, enqueue, task
from tests.fixtures.auth import SignIn
from tests.fixtures.tasks import RunTasks


@task("tests.introduce", reads=True)
async def introduce(run: Run) -> list[str]:
    user = await act_for(run.session, run.principal_id, "tasks:read")
    return [user.email, *user.roles, user.method]


@pytest.fixture
async def client(app: FastAPI, client: AsyncClient, sign_in: SignIn) -> AsyncClient:
    """Somebody who is signed in, and may order an introduction."""

    @app.post("/v1/introductions")
    async def order(session: SessionDep, user: CurrentUser) -> TaskRead:
        return TaskRead.model_validate(await enqueue(session, introduce), from_attributes=True)

    await sign_in(client)
    return client


async def order(client: AsyncClient) -> str:
    """Return where the task is."""
    response = await client.post("/v1/introductions")
    assert response.status_code == HTTPStatus.OK, response.text
    return f"/v1/tasks/{response.json()['id']}"


async def test_it_is_done_on_behalf_of_who_has_ordered_it(client: AsyncClient, run_tasks: RunTasks) -> None:
    path = await order(client)
    await run_tasks()

    response = await client.get(path)

    assert response.json()["result"] == ["ada@example.org", "user", "GET"]


async def test_for_others_it_is_not_there(client: AsyncClient, sign_in: SignIn) -> None:
    path = await order(client)
    await sign_in(client, "bob@example.org", "admin")

    theirs = await client.get(path)
    unknown = await client.get(f"/v1/tasks/{uuid4()}")

    assert (theirs.status_code, unknown.status_code) == (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND)
    assert theirs.json()["type"] == "/problems/task_not_found"


async def test_nobody_sees_it_without_the_permission(client: AsyncClient, session: AsyncSession) -> None:
    path = await order(client)
    await session.execute(update(User).values(roles=["auditor"]))
    await session.commit()

    assert (await client.get(path)).status_code == HTTPStatus.FORBIDDEN


async def test_nothing_is_done_for_who_is_shut_out(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    await order(client)
    await session.execute(update(User).values(is_active=False))
    await session.commit()

    [introduced] = await run_tasks()

    assert (introduced.state, introduced.detail) == ("failed", "Whoever has ordered it is not a user any more.")


async def test_nothing_is_done_for_who_may_not_any_more(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    await order(client)
    await session.execute(update(User).values(roles=["auditor"]))
    await session.commit()

    [introduced] = await run_tasks()

    assert (introduced.state, introduced.detail) == ("failed", "It takes the permission tasks:read.")


async def test_nothing_is_done_for_nobody(client: AsyncClient, run_tasks: RunTasks, session: AsyncSession) -> None:
    task = await enqueue(session, introduce)
    task.principal_id = None
    await session.commit()

    [introduced] = await run_tasks()

    assert (introduced.state, introduced.detail) == ("failed", "Whoever has ordered it is not a user any more.")
