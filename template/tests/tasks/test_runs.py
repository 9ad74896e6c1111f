"""A task is done once what ordered it is stored, its effect is there once or not at all, and it ends some time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from app.context import RequestContext, current
from app.database import Sessions
from app.tasks import Run, Task, enqueue, task
from app.tasks.definitions import TASKS, Function
from app.tasks.models import TaskState
from app.tasks.runner import Runner
from tests.database.shelves import Shelf
from tests.fixtures.logs import Logged
from tests.fixtures.tasks import RunTasks
from tests.tasks.jobs import Outcome, Plan, build, once, plan, refuse_once

pytestmark = pytest.mark.usefixtures("tables")


async def order(client: AsyncClient, name: str, **arguments: str | bool) -> None:
    response = await client.post(f"/tests/{name}", json=arguments)
    assert response.status_code == HTTPStatus.OK, response.text


async def labels(session: AsyncSession) -> list[str]:
    return [*await session.scalars(select(Shelf.label).order_by(Shelf.label))]


async def test_it_is_done_once_what_has_ordered_it_is_stored(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    await order(client, "build", label="first")

    [built] = await run_tasks()

    assert (built.state, built.attempts, built.progress, built.result) == (TaskState.SUCCEEDED, 1, 100, "FIRST")
    assert await labels(session) == ["first"]


async def test_what_is_done_is_not_done_again(client: AsyncClient, run_tasks: RunTasks, session: AsyncSession) -> None:
    await order(client, "build", label="first")
    await run_tasks()

    assert await run_tasks() == []
    assert await labels(session) == ["first"]


async def test_what_is_undone_is_never_done(client: AsyncClient, run_tasks: RunTasks) -> None:
    response = await client.post("/tests/build", json={"label": "first"}, params={"fails": True})

    assert response.status_code == HTTPStatus.CONFLICT
    assert await run_tasks() == []


async def test_a_failure_leaves_nothing_but_its_state(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession, logged: Logged
) -> None:
    await order(client, "collapse", label="first")

    [collapsed] = await run_tasks()

    assert (collapsed.state, collapsed.detail) == (TaskState.FAILED, "It has failed.")
    assert await labels(session) == []
    [line] = [record for record in logged() if record["event"] == "tasks.run"]
    assert (line["level"], line["outcome"]) == ("error", "failed")
    assert line["exception"][0]["exc_type"] == "RuntimeError"


async def test_an_error_of_the_service_says_why(client: AsyncClient, run_tasks: RunTasks) -> None:
    await order(client, "refuse")

    [refused] = await run_tasks()

    assert (refused.state, refused.detail) == (TaskState.FAILED, "It does not fit.")


async def test_what_takes_too_long_is_broken_off(client: AsyncClient, run_tasks: RunTasks) -> None:
    await order(client, "wait")

    [waited] = await run_tasks()

    assert (waited.state, waited.detail) == (TaskState.FAILED, "It has taken more than 0.01 seconds.")


async def test_an_error_that_is_listed_is_followed_by_another_run_after_a_pause(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession, logged: Logged
) -> None:
    await order(client, "try")

    [first] = await run_tasks()
    at_once = await run_tasks()
    first.state = TaskState.QUEUED  # as the relay has it when the pause is over
    await session.merge(first)
    await session.commit()
    [second] = await run_tasks()

    assert first.due_at > datetime.now(UTC)
    assert at_once == []
    assert (second.state, second.attempts) == (TaskState.FAILED, 2)
    lines = [record for record in logged() if record["event"] == "tasks.run"]
    assert [(line["level"], line["outcome"]) for line in lines] == [("warning", "retrying"), ("error", "failed")]


async def lost(session: AsyncSession, attempts: int) -> Task:
    """Return a task whose worker has vanished while it ran."""
    task = await enqueue(session, build, "first")
    task.state, task.attempts, task.begun_by = TaskState.RUNNING, attempts, 0
    await session.commit()
    return task


async def test_what_its_worker_has_lost_is_run_again(
    client: AsyncClient, app: FastAPI, sessions: Sessions, session: AsyncSession
) -> None:
    task = await lost(session, 2)

    await Runner(app, {**app.state.opened, "sessions": sessions}).run(task.id, lost=True)

    await session.refresh(task)
    assert (task.state, task.attempts) == (TaskState.SUCCEEDED, 3)


async def test_what_takes_every_worker_along_is_given_up(
    client: AsyncClient, app: FastAPI, sessions: Sessions, session: AsyncSession, logged: Logged
) -> None:
    task = await lost(session, 3)

    await Runner(app, {**app.state.opened, "sessions": sessions}).run(task.id, lost=True)

    await session.refresh(task)
    assert (task.state, task.attempts) == (TaskState.FAILED, 3)
    assert await labels(session) == []
    assert [record["level"] for record in logged() if record["event"] == "tasks.given_up"] == ["error"]


async def test_what_runs_is_not_run_beside_itself(
    client: AsyncClient, app: FastAPI, sessions: Sessions, session: AsyncSession
) -> None:
    task = await lost(session, 1)

    await Runner(app, {**app.state.opened, "sessions": sessions}).run(task.id)

    await session.refresh(task)
    assert (task.state, task.attempts) == (TaskState.RUNNING, 1)


async def test_who_was_believed_dead_stores_nothing(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession, logged: Logged
) -> None:
    await order(client, "late")

    [late] = await run_tasks()

    assert late.state == TaskState.RUNNING
    assert await labels(session) == []
    assert [record["outcome"] for record in logged() if record["event"] == "tasks.run"] == ["superseded"]


async def test_what_a_later_message_has_begun_is_not_lost_with_an_earlier_one(
    client: AsyncClient, app: FastAPI, sessions: Sessions, session: AsyncSession
) -> None:
    task = await lost(session, 1)
    task.begun_by = 1
    await session.commit()

    await Runner(app, {**app.state.opened, "sessions": sessions}).run(task.id, lost=True)

    await session.refresh(task)
    assert (task.state, task.attempts) == (TaskState.RUNNING, 1)


async def test_what_was_cancelled_by_itself_has_failed(client: AsyncClient, run_tasks: RunTasks) -> None:
    await order(client, "cancel")

    [cancelled] = await run_tasks()

    assert (cancelled.state, cancelled.attempts) == (TaskState.FAILED, 1)


@pytest.mark.parametrize("orig", [ConnectionError(), None])
async def test_what_the_database_could_not_do_is_tried_again(
    client: AsyncClient, run_tasks: RunTasks, orig: Exception | None
) -> None:
    Outcome.error = OperationalError(None, None, orig, connection_invalidated=True) if orig else TimeoutError()
    await order(client, "fail")

    [failed] = await run_tasks()

    assert failed.state == TaskState.RETRYING


async def test_what_is_not_there_is_said_and_nothing_more(
    client: AsyncClient, app: FastAPI, sessions: Sessions, logged: Logged
) -> None:
    await Runner(app, {**app.state.opened, "sessions": sessions}).run(uuid4())

    assert [record["event"] for record in logged()] == ["tasks.unknown"]


async def test_models_and_identifiers_arrive_as_they_left(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    shelf = Plan(height=1.5, on=datetime.now(UTC).date())
    await enqueue(session, plan, uuid4(), shelf)
    await session.commit()

    [planned] = await run_tasks()

    assert planned.result == [shelf.model_dump(mode="json")]
    assert planned.queue == "plans"


async def test_what_does_not_fit_is_refused_when_it_is_ordered(session: AsyncSession) -> None:
    with pytest.raises(ValueError, match="height"):
        await enqueue(session, plan, uuid4(), {"height": "high"})  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="a task takes identifiers"):
        await enqueue(session, build, "x" * 200_000)


async def test_what_is_as_it_is_by_itself_is_not_said(session: AsyncSession) -> None:
    """A worker of the last version does not know a new parameter."""
    ordered = [await enqueue(session, once, "a", ""), await enqueue(session, once, "b", "c")]

    assert [task.arguments for task in ordered] == [{"label": "a"}, {"label": "b", "row": "c"}]


async def test_numbers_that_json_does_not_have_are_none(session: AsyncSession) -> None:
    with pytest.raises(ValueError, match="height"):
        await enqueue(session, plan, uuid4(), Plan(height=float("nan"), on=datetime.now(UTC).date()))


async def test_a_result_that_is_too_large_is_a_failure(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    await order(client, "grow")

    [grown] = await run_tasks()

    assert (grown.state, grown.result) == (TaskState.FAILED, None)


async def test_what_it_was_told_is_in_no_line_of_the_log(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession, logged: Logged
) -> None:
    ordered = await enqueue(session, plan, uuid4(), Plan(height=1, on=datetime.now(UTC).date()))
    ordered.arguments = {**ordered.arguments, "plan": {"height": "canary"}}
    await session.commit()

    [failed] = await run_tasks()

    assert failed.state == TaskState.FAILED
    assert "canary" not in str(logged())


async def no_parameter(run: Run) -> None: ...


async def private(run: Run, _id: int) -> None: ...


async def shadow(run: Run, json: str) -> None: ...


async def variadic(run: Run, *ids: int) -> None: ...


async def no_return(run: Run):  # type: ignore[no-untyped-def]  # that is the point
    ...


@pytest.mark.parametrize(
    ("function", "options", "mistake"),
    [
        (no_parameter, {"key": "orders:{id}"}, "has no parameter id"),
        (no_return, {}, "does not say what it returns"),
        (private, {}, "cannot have the parameter _id"),
        (shadow, {}, "cannot have the parameter json"),
        (variadic, {}, r"cannot have the parameter \*ids"),
        (build.function, {"schedule": "0 * * * *"}, "which knows no arguments"),
    ],
)
async def test_a_task_that_could_not_run_is_none(
    function: Function[...], options: dict[str, Any], mistake: str
) -> None:
    with pytest.raises(TypeError, match=mistake):
        task("tests.mistake", **options)(function)
    assert "tests.mistake" not in TASKS


async def test_two_tasks_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match=r"tests\.build"):
        task("tests.build")(build.function)


@pytest.fixture
def callers() -> Iterator[Callable[[str], None]]:
    """Become somebody, outside of any request."""
    token = current.set(RequestContext("tests"))

    def become(principal_id: str) -> None:
        current.set(RequestContext("tests", principal_id=principal_id))

    yield become
    current.reset(token)


async def test_of_the_same_key_only_one_is_kept(session: AsyncSession) -> None:
    first = await enqueue(session, once, "a", "b:c")

    again = await enqueue(session, once, "a", "b:c")
    others = [
        await enqueue(session, once, "a:b", "c"),
        await enqueue(session, once, "a"),
        await enqueue(session, once, "ж" * 50),
    ]

    assert again.id == first.id
    assert len({first.id, *(other.id for other in others)}) == 4


async def test_everybody_has_keys_of_their_own(session: AsyncSession, callers: Callable[[str], None]) -> None:
    callers("ada")
    hers = [await enqueue(session, once, "a"), await enqueue(session, refuse_once)]

    callers("bob")
    his = [await enqueue(session, once, "a"), await enqueue(session, refuse_once)]

    assert hers[0].id != his[0].id
    assert hers[1].id == his[1].id, "it is shared"


async def test_what_has_failed_can_be_ordered_again(
    client: AsyncClient, run_tasks: RunTasks, session: AsyncSession
) -> None:
    first = await enqueue(session, refuse_once)
    await session.commit()
    await run_tasks()

    assert (await enqueue(session, refuse_once)).id != first.id


async def test_a_task_can_order_another(client: AsyncClient, run_tasks: RunTasks, session: AsyncSession) -> None:
    await order(client, "order")

    await run_tasks()
    await run_tasks()

    assert await labels(session) == ["second"]


@pytest.mark.parametrize(("fails", "said"), [(False, ["stored"]), (True, ["undone"])])
async def test_what_waits_for_the_outcome_of_a_task_hears_of_it(
    client: AsyncClient, run_tasks: RunTasks, fails: bool, said: list[str]
) -> None:
    Outcome.said = []
    await order(client, "announce", fails=fails)

    await run_tasks()

    assert Outcome.said == said


async def test_everybody_sees_how_far_it_is(client: AsyncClient, run_tasks: RunTasks) -> None:
    await order(client, "advance")

    [advanced] = await run_tasks()

    assert (advanced.result, advanced.progress) == (40, 100)


async def test_its_line_in_the_log_names_the_request_that_ordered_it(
    client: AsyncClient, run_tasks: RunTasks, logged: Logged
) -> None:
    response = await client.post("/tests/build", json={"label": "canary"}, headers={"X-Request-ID": "order-42"})
    await run_tasks()

    text = [str(record) for record in logged() if record["event"] == "tasks.run"]
    assert response.headers["x-request-id"] == "order-42"
    assert len(text) == 1
    assert "order-42" in text[0]
    assert "canary" not in text[0].lower()
