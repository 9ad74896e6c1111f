"""A report is about the items of whoever has ordered it, who alone can see it."""

from http import HTTPStatus

from httpx2 import AsyncClient
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import User
from tests.fixtures.auth import SignIn, log_in
from tests.fixtures.tasks import RunTasks
from tests.items.test_items import create


async def test_everybody_gets_their_own(client: AsyncClient, sign_in: SignIn, run_tasks: RunTasks) -> None:
    await create(client)
    mine = await client.post("/v1/items/reports")
    await sign_in(client, "bob@example.org")

    theirs = await client.post("/v1/items/reports")
    await run_tasks()

    assert (await client.get(theirs.headers["Location"])).json()["result"]["items"] == 0
    assert (await client.get(mine.headers["Location"])).status_code == HTTPStatus.NOT_FOUND
    await log_in(client)
    assert (await client.get(mine.headers["Location"])).json()["result"]["items"] == 1


async def test_who_is_shut_out_meanwhile_gets_none(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    await client.post("/v1/items/reports")
    await session.execute(update(User).values(is_active=False))
    await session.commit()

    [report] = await run_tasks()

    assert (report.state, report.detail) == ("failed", "Whoever has ordered it is not a user any more.")
