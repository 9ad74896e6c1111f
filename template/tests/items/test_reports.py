"""A report is written later, and whoever has ordered it finds it where the answer has said."""

from http import HTTPStatus

from httpx2 import AsyncClient

from tests.fixtures.tasks import RunTasks
from tests.items.test_items import create


async def test_a_report_is_there_once_it_is_written(client: AsyncClient, run_tasks: RunTasks) -> None:
    first, second = await create(client, name="Lamp"), await create(client, name="Chair")

    ordered = await client.post("/v1/items/reports")
    before = await client.get(ordered.headers["Location"])
    await run_tasks()
    after = await client.get(ordered.headers["Location"])

    assert ordered.status_code == HTTPStatus.ACCEPTED
    assert ordered.headers["Location"] == f"/v1/tasks/{ordered.json()['id']}"
    assert before.json() == ordered.json()
    assert (before.json()["state"], before.json()["result"]) == ("pending", None)
    assert after.json()["state"] == "succeeded"
    assert after.json()["result"] == {"items": 2, "total_cents": first["price_cents"] + second["price_cents"]}


async def test_a_report_of_nothing_is_one_too(client: AsyncClient, run_tasks: RunTasks) -> None:
    ordered = await client.post("/v1/items/reports")
    await run_tasks()

    report = await client.get(ordered.headers["Location"])

    assert report.json()["result"] == {"items": 0, "total_cents": 0}
