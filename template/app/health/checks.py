"""What has to work for the service to be ready."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from time import monotonic

from fastapi import FastAPI
from structlog.stdlib import get_logger

logger = get_logger()

CHECK_SECONDS = 1.0
FRESH_SECONDS = 2.0


class State(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAIL = "fail"


Check = Callable[[], Awaitable[object]]


class Readiness:
    """Asks all checks at the same time, and not again for two seconds, however many probes there are."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self.draining = False
        self.asked: asyncio.Task[Mapping[str, State]] | None = None
        self.fresh_until = 0.0

    async def states(self) -> Mapping[str, State]:
        if self.asked is None or monotonic() > self.fresh_until:
            self.asked = asyncio.create_task(self.ask())
            self.fresh_until = monotonic() + FRESH_SECONDS
        # A probe that hangs up does not take the answer from the others.
        states = await asyncio.shield(self.asked)
        return {**states, "shutdown": State.FAIL} if self.draining else states

    async def ask(self) -> Mapping[str, State]:
        states = await asyncio.gather(*(run(name, check) for name, check in self.checks.items()))
        return dict(zip(self.checks, states, strict=True))


def add_check(app: FastAPI, name: str, check: Check) -> None:
    """The service is ready while every check returns within a second; a check that raises has failed.

    One that returns `State.DEGRADED` says that something is amiss, and that requests may come all the same.
    """
    readiness: Readiness = app.state.readiness
    readiness.checks[name] = check


async def run(name: str, check: Check) -> State:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            degraded = await check() is State.DEGRADED
    except Exception as error:  # whatever it is, the service is not ready, and the probe must be answered
        logger.warning("health.check_failed", check=name, error=repr(error))
        return State.FAIL
    return State.DEGRADED if degraded else State.OK
