"""`/livez` answers without asking anybody; `/readyz` asks for everything that the service needs."""

from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from app.health.checks import State


class Liveness(BaseModel):
    status: State


class Readiness(BaseModel):
    status: State
    checks: dict[str, State]


NOT_READY: dict[str, Any] = {"model": Readiness, "description": "A check has failed"}  # as FastAPI wants it


async def livez() -> Liveness:
    return Liveness(status=State.OK)


async def readyz(request: Request, response: Response) -> Readiness:
    checks = await request.app.state.readiness.states()
    if State.FAIL in checks.values():
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(status=State.FAIL, checks=checks)
    status = State.DEGRADED if State.DEGRADED in checks.values() else State.OK
    return Readiness(status=status, checks=checks)
