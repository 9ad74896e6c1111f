"""A resource that an owner adds: its tasks write into a ledger, wait, hang, and take their process along."""

import sys
from pathlib import Path

from tests.serving import run

ROUTER = '''"""The ledger: what tasks have done, a row each time."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from http import HTTPStatus

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.auth import CurrentUser
from app.database import Entity, SessionDep
from app.errors import ServiceError
from app.feature import add_lifespan
from app.settings import ROOT
from app.tasks import Run, TaskRead, enqueue, task

MARKS = ROOT / "marks"


class Entry(Entity):
    __tablename__ = "entries"

    name: Mapped[str] = mapped_column(String(100), index=True)


class LedgerClosed(ServiceError):
    status = HTTPStatus.CONFLICT


class BankClosed(Exception): ...


async def write(run: Run, name: str) -> None:
    """Write, and leave a mark that says which process is at it."""
    run.session.add(Entry(name=name))
    await run.session.flush()
    (MARKS / f"{name}.{run.attempt}").write_text(str(os.getpid()))


def is_held(run: Run, name: str) -> bool:
    return (MARKS / f"{name}.hold").exists() or (MARKS / f"{name}.hold.{run.attempt}").exists()


@task("ledger.book")
async def book(run: Run, name: str) -> str:
    await write(run, name)
    return name


@task("ledger.wait", soft_limit=8, hard_limit=9)
async def wait(run: Run, name: str) -> None:
    await write(run, name)
    while is_held(run, name):
        await asyncio.sleep(0.02)


@task("ledger.late", soft_limit=1, hard_limit=5)
async def late(run: Run, name: str) -> None:
    await write(run, name)
    await asyncio.sleep(60)


@task("ledger.hang", soft_limit=1, hard_limit=2, attempts=2)
async def hang(run: Run, name: str) -> None:
    await write(run, name)
    time.sleep(60)


@task("ledger.block", soft_limit=1, hard_limit=30)
async def block(run: Run, name: str) -> None:
    await write(run, name)
    time.sleep(60)


@task("ledger.die")
async def die(run: Run, name: str) -> None:
    await write(run, name)
    os.kill(os.getpid(), signal.SIGKILL)


@task("ledger.fail", retry_on=(BankClosed,))
async def fail(run: Run, name: str) -> None:
    await write(run, name)
    if run.attempt == 1:
        raise BankClosed


@task("ledger.once", key="{name}")
async def once(run: Run, name: str) -> None:
    await write(run, name)


@task("ledger.close", schedule="* * * * *")
async def close(run: Run) -> None:
    await write(run, "closed")


TASKS = {each.name: each for each in (book, wait, late, hang, block, die, fail, once)}


class Order(BaseModel):
    name: str
    refuse: bool = False


router = APIRouter(prefix="/ledger", tags=["ledger"])


@router.post("/{name}", status_code=HTTPStatus.ACCEPTED)
async def order(name: str, data: Order, session: SessionDep, user: CurrentUser) -> TaskRead:
    ordered = await enqueue(session, TASKS[name], data.name)
    if data.refuse:
        raise LedgerClosed("The ledger is closed.")
    return TaskRead.model_validate(ordered, from_attributes=True)


@asynccontextmanager
async def begin(app: FastAPI) -> AsyncGenerator[dict[str, object]]:
    while (MARKS / "begin.hold").exists():
        (MARKS / f"{os.getpid()}.1").write_text(str(os.getpid()))
        await asyncio.sleep(0.02)
    yield {}


def install(app: FastAPI) -> None:
    add_lifespan(app, begin)
    app.include_router(router, prefix="/v1")
'''


def keep_ledger(service: Path) -> None:
    """Add the resource and its migration, as an owner does."""
    (service / "marks").mkdir()
    package = service / "app" / "ledger"
    package.mkdir()
    (package / "__init__.py").write_text(ROUTER, "utf-8")
    change(service / "app" / "resources.py", "Sequence[Feature] = []", "Sequence[Feature] = [ledger]")
    change(service / "app" / "resources.py", "from app.feature", "from app import ledger\nfrom app.feature")
    database = {"DATABASE_URL": f"sqlite:///{service / 'ledger.db'}", "SERVICE_ENVIRONMENT": "development"}
    for command in (["upgrade", "head"], ["revision", "--autogenerate", "--message", "add ledger"]):
        run(service, sys.executable, "-m", "alembic", *command, check=True, variables=database)


def hurry(service: Path) -> None:
    """Have the relay believe after seconds what it usually does after minutes, and beat look every second."""
    tasks = service / "app" / "tasks"
    change(tasks / "outbox.py", "HEAD_START = timedelta(seconds=5)", "HEAD_START = timedelta(seconds=2)")
    change(tasks / "relay.py", "PATIENCE = timedelta(minutes=15)", "PATIENCE = timedelta(seconds=5)")
    change(tasks / "attempts.py", "GRACE = 10.0", "GRACE = 1.0")
    change(tasks / "attempts.py", "PAUSE, LONGEST_PAUSE = 2.0", "PAUSE, LONGEST_PAUSE = 0.5")
    change(tasks / "configuration.py", "MARGIN = 30.0", "MARGIN = 1.0")
    change(tasks / "celery.py", "crontab.from_string(definition.options.schedule)", "1.0")
    change(tasks / "beat.py", "    assert isinstance(entry.schedule, crontab)\n", "    return datetime.now()\n")


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text, file
    file.write_text(text.replace(old, new), "utf-8")
