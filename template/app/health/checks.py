"""What has to work for the service to be ready."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

from fastapi import FastAPI
from structlog.stdlib import get_logger

logger = get_logger()

CHECK_SECONDS = 1.0


class State(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAIL = "fail"


Check = Callable[[], Awaitable[object]]


def add_check(app: FastAPI, name: str, check: Check) -> None:
    """The service is ready while every check returns within a second; a check that raises has failed.

    One that returns `State.DEGRADED` says that something is amiss, and that requests may come all the same.
    """
    app.state.readiness_checks[name] = check


async def run_checks(app: FastAPI) -> dict[str, State]:
    checks: dict[str, Check] = app.state.readiness_checks
    states = await asyncio.gather(*(run(name, check) for name, check in checks.items()))
    return dict(zip(checks, states, strict=True))


async def run(name: str, check: Check) -> State:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            degraded = await check() is State.DEGRADED
    except Exception as error:  # whatever it is, the service is not ready, and the probe must be answered
        logger.warning("health.check_failed", check=name, error=repr(error))
        return State.FAIL
    return State.DEGRADED if degraded else State.OK
