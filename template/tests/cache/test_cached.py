"""What is kept, for whom, and until when."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from starlette.types import Message

from app.settings import project
from tests.cache.conftest import Shelf
from tests.fixtures.http import connect as connect_to
from tests.fixtures.logs import Logged

SHELVES = "/tests/shelves"


async def test_what_is_known_is_not_looked_for_again(client: AsyncClient, shelf: Shelf) -> None:
    first = await client.get(SHELVES)
    second = await client.get(SHELVES)

    assert first.json() == second.json() == "old"
    assert shelf.looks == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": "a"}, {"name": "b"}),
        ({"row": "a:b", "name": "c"}, {"row": "a", "name": "b:c"}),
        ({"row": "*", "name": "a"}, {"row": "b", "name": "a"}),
        ({"name": "{row}", "row": "a"}, {"name": "a", "row": "a"}),
        ({"name": "%3A"}, {"name": ":"}),
        ({"name": "a", "row": ""}, {"name": "", "row": "a"}),
    ],
)
async def test_no_argument_passes_for_another(
    client: AsyncClient, shelf: Shelf, one: dict[str, str], other: dict[str, str]
) -> None:
    await client.get(SHELVES, params=one)
    shelf.content = "new"

    response = await client.get(SHELVES, params=other)

    assert response.json() == "new"


@pytest.mark.parametrize(
    "stranger",
    [{}, {"Principal": "bob"}, {"Principal": "ada:"}, {"Principal": "ada", "Permissions": "shelves:read-all"}],
)
async def test_nobody_sees_what_is_kept_for_somebody_else(
    client: AsyncClient, shelf: Shelf, stranger: dict[str, str]
) -> None:
    await client.get(SHELVES, headers={"Principal": "ada", "Permissions": "shelves:read"})
    shelf.content = "new"

    theirs = await client.get(SHELVES, headers=stranger)
    mine = await client.get(SHELVES, headers={"Principal": "ada", "Permissions": "shelves:read"})

    assert theirs.json() == "new"
    assert mine.json() == "old"


async def test_what_is_shared_is_kept_once_for_all(client: AsyncClient, shelf: Shelf) -> None:
    await client.get(SHELVES, params={"shared": True}, headers={"Principal": "ada"})
    await client.get(SHELVES, params={"shared": True}, headers={"Principal": "bob"})

    assert shelf.looks == 1


async def test_what_has_changed_is_looked_for_again(client: AsyncClient) -> None:
    await client.get(SHELVES)

    await client.put(SHELVES, params={"content": "new"})

    assert (await client.get(SHELVES)).json() == "new"


async def test_a_tag_may_name_a_single_one(client: AsyncClient) -> None:
    await client.get(SHELVES, params={"name": "a:b"})
    await client.get(SHELVES, params={"name": "c"})

    await client.put(SHELVES, params={"content": "new", "tag": "shelves:a%3Ab"})

    assert (await client.get(SHELVES, params={"name": "a:b"})).json() == "new"
    assert (await client.get(SHELVES, params={"name": "c"})).json() == "old"


async def test_what_is_undone_was_never_there(client: AsyncClient, shelf: Shelf) -> None:
    await client.get(SHELVES)

    failed = await client.put(SHELVES, params={"content": "new", "fails": True})

    assert failed.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert (await client.get(SHELVES)).json() == "old"
    assert shelf.looks == 2, "what is undone forgets nothing; the request that failed has looked itself"


async def test_who_changes_something_sees_it_before_it_is_stored(client: AsyncClient) -> None:
    await client.get(SHELVES)

    response = await client.put(SHELVES, params={"content": "new"})

    assert response.json() == "new"


async def test_who_writes_is_not_told_what_is_kept_for_readers(client: AsyncClient, shelf: Shelf) -> None:
    await client.get(SHELVES)
    shelf.content = "new"

    assert (await client.post(SHELVES)).json() == "new"


async def test_outside_of_requests_nothing_is_kept(client: AsyncClient, app: FastAPI, shelf: Shelf) -> None:
    await client.get(SHELVES)
    shelf.content = "new"
    sent: list[str] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message.get("text", ""))

    scope = {"type": "websocket", "path": SHELVES, "headers": [], "query_string": b"", "client": ("127.0.0.1", 1)}
    await app({**scope, "state": {"cache": object()}}, receive, send)

    assert "new" in sent


async def test_a_reader_who_is_late_does_not_bring_back_what_was(client: AsyncClient, shelf: Shelf) -> None:
    shelf.gate.clear()
    reader = asyncio.create_task(client.get(SHELVES))
    await until(lambda: shelf.looks == 1)
    writer = asyncio.create_task(client.put(SHELVES, params={"content": "new"}))
    await until(lambda: shelf.looks == 2)

    shelf.gate.set()
    late, _ = await asyncio.gather(reader, writer)

    assert late.json() == "old"
    assert (await client.get(SHELVES)).json() == "new"


async def test_who_comes_after_a_change_does_not_wait_for_what_was(client: AsyncClient, shelf: Shelf) -> None:
    shelf.gate.clear()
    early = asyncio.create_task(client.get(SHELVES))
    await until(lambda: shelf.looks == 1)
    await client.delete(SHELVES)
    shelf.content = "new"

    late = asyncio.create_task(client.get(SHELVES))
    await until(lambda: shelf.looks == 2)
    shelf.gate.set()

    assert (await early).json() == "old"
    assert (await late).json() == "new"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # a condition of any kind
            await asyncio.sleep(0)


async def ask_at_once(client: AsyncClient, shelf: Shelf, number: int = 200) -> list[Response]:
    shelf.gate.clear()
    requests = [asyncio.create_task(client.get(SHELVES)) for _ in range(number)]
    await until(lambda: shelf.looks > 0)
    await asyncio.sleep(0.1)  # all the others have arrived
    shelf.gate.set()
    return await asyncio.gather(*requests)


async def test_many_who_miss_it_at_the_same_time_look_once(client: AsyncClient, shelf: Shelf) -> None:
    responses = await ask_at_once(client, shelf)

    assert [response.json() for response in responses] == ["old"] * 200
    assert shelf.looks == 1


async def test_a_failure_is_everybodys_and_is_not_kept(client: AsyncClient, shelf: Shelf) -> None:
    shelf.content = "broken"
    responses = await ask_at_once(client, shelf, 20)
    shelf.content = "mended"

    after = await client.get(SHELVES)

    assert {response.status_code for response in responses} == {HTTPStatus.INTERNAL_SERVER_ERROR}
    assert after.json() == "mended"


async def test_who_is_broken_off_takes_nobody_along(client: AsyncClient, shelf: Shelf) -> None:
    shelf.gate.clear()
    first = asyncio.create_task(client.get(SHELVES))
    await until(lambda: shelf.looks == 1)
    others = [asyncio.create_task(client.get(SHELVES)) for _ in range(5)]
    await asyncio.sleep(0.1)  # they wait for the first

    first.cancel()
    await until(lambda: shelf.looks == 2)
    shelf.gate.set()

    assert [response.json() for response in await asyncio.gather(*others)] == ["old"] * 5
    assert shelf.looks == 2


async def test_what_grows_old_is_served_while_it_is_renewed(
    client: AsyncClient, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.get(SHELVES, params={"shared": True})
    shelf.content = "new"
    monkeypatch.setattr("app.cache.loading.time", lambda: 2e9)

    old = await client.get(SHELVES, params={"shared": True})
    await until(lambda: shelf.looks == 2)
    await asyncio.sleep(0.05)  # until it is kept
    new = await client.get(SHELVES, params={"shared": True})

    assert old.json() == "old"
    assert new.json() == "new"


async def test_what_cannot_be_renewed_goes_on_being_served(
    client: AsyncClient, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    await client.get(SHELVES, params={"shared": True})
    shelf.content = "broken"
    monkeypatch.setattr("app.cache.loading.time", lambda: 2e9)

    first = await client.get(SHELVES, params={"shared": True})
    await until(lambda: shelf.looks == 2)
    second = await client.get(SHELVES, params={"shared": True})

    assert first.json() == second.json() == "old"
    assert "cache.refresh_failed" in {line["event"] for line in logged()}


async def test_the_service_says_whether_its_redis_answers(client: AsyncClient, store: str) -> None:
    checks = (await client.get("/readyz")).json()["checks"]

    assert checks.get("cache") == {"memory": None, "redis": "ok"}[store]


async def test_another_version_reads_nothing_of_this_one(
    app: FastAPI, client: AsyncClient, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.get(SHELVES)
    monkeypatch.setattr("app.cache.loading.project", lambda: project()._replace(version="2"))
    shelf.content = "new"

    async with connect_to(app) as other:
        response = await other.get(SHELVES)

    assert response.json() == "new"
