"""Tasks that only the tests have."""

import asyncio
from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from app.context import after_commit, after_rollback
from app.errors import ServiceError
from app.tasks import Run, enqueue, task
from app.tasks.models import Task
from tests.database.shelves import Shelf


class ShelfTooHigh(ServiceError):
    pass


class Plan(BaseModel):
    model_config = ConfigDict(strict=True)

    height: float
    on: date


class Outcome:
    """What the callbacks of runs have done."""

    said: list[str]
    error: Exception


@task("tests.build")
async def build(run: Run, label: str) -> str:
    run.session.add(Shelf(label=label))
    await run.session.flush()
    return label.upper()


@task("tests.collapse")
async def collapse(run: Run, label: str) -> None:
    run.session.add(Shelf(label=label))
    await run.session.flush()
    raise RuntimeError("collapsed")


@task("tests.refuse")
async def refuse(run: Run) -> None:
    raise ShelfTooHigh("It does not fit.")


@task("tests.try", retry_on=(ConnectionError,), attempts=2)
async def try_again(run: Run) -> None:
    raise ConnectionError


@task("tests.wait", soft_limit=0.01)
async def wait(run: Run) -> None:
    await asyncio.sleep(5)


@task("tests.plan", queue="plans")
async def plan(run: Run, id: UUID, plan: Plan, note: str = "none") -> list[Plan]:
    assert (type(id), type(plan), note) == (UUID, Plan, "none")
    return [plan]


@task("tests.once", key="shelves:{label}:{row}")
async def once(run: Run, label: str, row: str = "") -> None: ...


@task("tests.refuse-once", key="one", shared=True)
async def refuse_once(run: Run) -> None:
    raise ShelfTooHigh("It does not fit.")


@task("tests.fail")
async def fail(run: Run) -> None:
    raise Outcome.error


@task("tests.cancel")
async def cancel(run: Run) -> None:
    nap = asyncio.create_task(asyncio.sleep(5))
    nap.cancel()
    await nap


@task("tests.grow")
async def grow(run: Run) -> str:
    return "x" * 200_000


@task("tests.order")
async def order_another(run: Run) -> None:
    await enqueue(run.session, build, "second")


@task("tests.announce")
async def announce(run: Run, fails: bool) -> None:
    async def say(word: str) -> None:
        Outcome.said.append(word)

    after_commit(lambda: say("stored"))
    after_rollback(lambda: say("undone"))
    if fails:
        raise RuntimeError


@task("tests.late")
async def late(run: Run) -> None:
    """Be overtaken by a second run of the same task."""
    run.session.add(Shelf(label="late"))
    await run.session.flush()
    async with run.sessions.begin() as session:
        task = await session.get(Task, run.id)
        assert task is not None
        task.attempts += 1


@task("tests.advance")
async def advance(run: Run) -> int:
    await run.progress(40)
    async with run.reading() as session:
        task = await session.get(Task, run.id)
    assert task is not None
    return task.progress


class Gate:
    """Keeps whoever waits for it."""

    opened: asyncio.Event


@task("tests.pass")
async def pass_gate(run: Run) -> None:
    await Gate.opened.wait()


@task("tests.nightly", schedule="0 3 * * *")
async def nightly(run: Run) -> None: ...
