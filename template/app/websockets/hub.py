"""Who is in which room of this process, and what they are told."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Annotated, ParamSpec, Protocol

import orjson
from fastapi import Depends
from fastapi.requests import HTTPConnection
from pydantic import BaseModel

from app.context import RequestContext, after_commit, current
from app.errors import ServiceError
from app.http.addresses import network
from app.redis import Server
from app.websockets.rooms import Room
from app.websockets.schemas import Joined, Left, Message
from app.websockets.settings import MOST_BYTES, WebSocketsSettings

P = ParamSpec("P")


class TooManyConnections(ServiceError):
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self) -> None:
        super().__init__("There are too many connections open: close one, or try again.", headers={"Retry-After": "5"})


class Member(Protocol):
    """One connection."""

    id: str
    context: RequestContext

    def put(self, frame: str, size: int) -> None:
        """Have a frame sent, of so many bytes, without waiting for it."""

    def end(self, code: int, reason: str, *, at_once: bool = False) -> None:
        """Have the connection closed once what has been put is sent, or without that (RFC 6455, section 7.4)."""

    async def review(self) -> None:
        """Leave the rooms in which it may not be any more; call it in its context."""


class Backplane(Protocol):
    async def publish(self, room: str, frame: str) -> None:
        """Have the other processes deliver a frame to whoever is in the room there."""


class Hub:
    def __init__(self, settings: WebSocketsSettings, server: Server | None = None) -> None:
        self.settings = settings
        self.server = server
        self.backplane: Backplane | None = None
        self.rooms: dict[str, set[Member]] = {}
        self.members: set[Member] = set()
        self.by_address: Counter[str] = Counter()
        self.by_principal: Counter[str] = Counter()

    @contextmanager
    def admit(self, member: Member, address: str | None) -> Iterator[None]:
        """Count a connection for as long as it is there; raise `TooManyConnections` where it is one too many."""
        settings, principal_id = self.settings, member.context.principal_id
        counted = [(self.by_address, network(address), settings.connections_per_address)]
        if principal_id is not None:
            counted.append((self.by_principal, principal_id, settings.connections_per_principal))
        if len(self.members) >= settings.max_connections or any(counts[key] >= most for counts, key, most in counted):
            raise TooManyConnections
        self.members.add(member)
        for counts, key, _ in counted:
            counts[key] += 1
        try:
            yield
        finally:
            self.members.discard(member)
            for counts, key, _ in counted:
                counts[key] -= 1
                if not counts[key]:
                    del counts[key]

    def join(self, address: str, member: Member) -> None:
        self.rooms.setdefault(address, set()).add(member)

    def leave(self, address: str, member: Member) -> None:
        members = self.rooms[address]
        members.discard(member)
        if not members:
            del self.rooms[address]

    async def publish(self, address: str, frame: Message | Joined | Left, *, but: Member | None = None) -> None:
        """Tell everybody in a room, of this process at once and of the others as soon as they hear of it.

        Raise `orjson.JSONEncodeError` where the data is too deep, `ValueError` where it is too long.
        """
        encoded = orjson.dumps(dict(frame))
        if len(encoded) > MOST_BYTES:
            raise ValueError(f"A message has at most {MOST_BYTES} bytes.")
        text = encoded.decode()
        self.deliver(address, text, but=but)
        if self.backplane is not None:
            await self.backplane.publish(address, text)

    def deliver(self, address: str, text: str, *, but: Member | None = None) -> None:
        members = self.rooms.get(address)
        if members:
            size = len(text.encode())
            for member in members:
                if member is not but:
                    member.put(text, size)


def announce(room: Room[P], data: BaseModel, *args: P.args, **kwargs: P.kwargs) -> None:
    """Tell everybody in the room of these parameters once the work of this request is stored, and nobody else ever."""
    hub: Hub | None = current.get().opened.get("websockets")
    if hub is not None:  # it is not where commands are
        address = room.address(*args, **kwargs)
        after_commit(partial(hub.publish, address, Message(room=address, data=data.model_dump(mode="json"))))


async def get_hub(connection: HTTPConnection) -> Hub:
    hub: Hub = connection.state.websockets
    return hub


HubDep = Annotated[Hub, Depends(get_hub)]
