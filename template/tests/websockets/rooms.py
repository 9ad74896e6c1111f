"""Rooms, and somebody in them who needs no connection."""

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

from app.context import RequestContext
from app.errors import ServiceError
from app.websockets import Action, room

LOBBY, NEWS = "tests-lobby", "tests-news"


class RoomClosed(ServiceError):
    status = HTTPStatus.CONFLICT


@room(LOBBY, presence=True)
async def lobby(action: Action) -> bool:
    return True


@room(NEWS)
async def news(action: Action) -> bool:
    """Everybody may listen, and nobody may speak."""
    return action is Action.SUBSCRIBE


@room("tests-letterbox")
async def letterbox(action: Action) -> bool:
    """Everybody may speak, and nobody may listen."""
    return action is Action.PUBLISH


@room("tests-orders:{id}")
async def orders(action: Action, id: UUID) -> bool:
    return True


@room("tests-closed")
async def closed(action: Action) -> bool:
    raise RoomClosed("It opens at nine.")


@room("tests-broken")
async def broken(action: Action) -> bool:
    raise RuntimeError("hunter2")


class Listener:
    def __init__(self, principal_id: str | None = None) -> None:
        self.id = "listener"
        self.context = RequestContext("tests", principal_id=principal_id)
        self.heard: list[Any] = []  # JSON

    def put(self, frame: str, size: int) -> None:
        self.heard.append(json.loads(frame)["data"])

    def end(self, code: int, reason: str, *, at_once: bool = False) -> None: ...

    async def review(self) -> None: ...
