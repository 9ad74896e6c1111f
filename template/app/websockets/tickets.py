"""Tickets: what a browser connects with, for it can send no header; each is good once, for half a minute."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus
from time import monotonic, time
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI
from fastapi.requests import HTTPConnection
from pydantic import BaseModel

from app.auth import CurrentUser
from app.auth.state import Auth
from app.auth.tokens import AccessToken, TokenInvalid
from app.errors import ServiceError
from app.feature import State, add_lifespan
from app.redis import RedisUnavailable, Server
from app.settings import project
from app.websockets.hub import Hub

SECONDS = 30
PREFIX = "ticket."  # of the subprotocol that it is shown as


class TicketsUnavailable(ServiceError):
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("Tickets cannot be kept right now: try again.", headers={"Retry-After": "1"})


class Store(Protocol):
    async def put(self, ticket: str, holder: str) -> None: ...

    async def take(self, ticket: str) -> str | None:
        """Return what has been put, to one of all who ask for it."""


class MemoryStore:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[float, str]] = {}  # the oldest first

    async def put(self, ticket: str, holder: str) -> None:
        now = monotonic()
        while self.kept and (oldest := next(iter(self.kept))) and self.kept[oldest][0] < now:
            del self.kept[oldest]
        self.kept[ticket] = now + SECONDS, holder

    async def take(self, ticket: str) -> str | None:
        until, holder = self.kept.pop(ticket, (0.0, None))
        return holder if monotonic() < until else None


class RedisStore:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.prefix = f"{project().name}:ticket:"

    def key(self, ticket: str) -> str:
        return self.prefix + sha256(ticket.encode()).hexdigest()

    async def put(self, ticket: str, holder: str) -> None:
        try:
            await self.server.ask(lambda redis: redis.send("SET", self.key(ticket), holder, "EX", SECONDS))
        except RedisUnavailable:
            raise TicketsUnavailable from None

    async def take(self, ticket: str) -> str | None:
        try:
            holder = await self.server.ask(lambda redis: redis.send("GETDEL", self.key(ticket)))
        except RedisUnavailable:
            raise TicketsUnavailable from None
        return holder and str(holder, "latin-1")


def make_store(hub: Hub) -> Store:
    return MemoryStore() if hub.server is None else RedisStore(hub.server)


class Tickets:
    """What is kept is sealed: whoever can write to Redis cannot make a ticket, nor can who reads there use one."""

    def __init__(self, store: Store, auth: Auth) -> None:
        self.store = store
        self.auth = auth

    def seal(self, ticket: str, holder: str) -> bytes:
        return self.auth.tokens.fingerprint(f"{ticket} {holder}").encode()

    async def issue(self, token: AccessToken) -> str:
        ticket = secrets.token_urlsafe(32)
        holder = f"{token.user_id} {token.session_id} {token.expires_at}"
        await self.store.put(ticket, f"{holder} {self.seal(ticket, holder).decode()}")
        return ticket

    async def redeem(self, ticket: str) -> AccessToken:
        """Use a ticket up; raise `TokenInvalid` where it is not one, or has been used."""
        kept = await self.store.take(ticket)
        holder, _, seal = (kept or "").rpartition(" ")
        if not compare_digest(seal.encode(), self.seal(ticket, holder)):
            raise TokenInvalid
        user_id, session_id, expires_at = holder.split(" ")
        if float(expires_at) <= time():
            raise TokenInvalid
        return AccessToken(UUID(user_id), UUID(session_id), float(expires_at))


async def read_ticket(connection: HTTPConnection) -> AccessToken | None:
    tickets: Tickets = connection.state.tickets
    for protocol in connection.scope.get("subprotocols", ()):
        if protocol.startswith(PREFIX):
            return await tickets.redeem(protocol.removeprefix(PREFIX))
    return None


async def get_tickets(connection: HTTPConnection) -> Tickets:
    tickets: Tickets = connection.state.tickets
    return tickets


TicketsDep = Annotated[Tickets, Depends(get_tickets)]


class TicketRead(BaseModel):
    """`expires_in` is in seconds."""

    ticket: str
    expires_in: int = SECONDS


router = APIRouter(prefix="/ws", tags=["websockets"])


@router.post("/tickets", status_code=HTTPStatus.CREATED)
async def create_ticket(user: CurrentUser, tickets: TicketsDep) -> TicketRead:
    """Connect with it as a subprotocol, `ticket.` and the ticket, beside `rooms.v1`."""
    return TicketRead(ticket=await tickets.issue(AccessToken(user.id, user.session_id, user.expires_at)))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
    yield {"tickets": Tickets(make_store(app.state.websockets), app.state.auth)}


def install(app: FastAPI) -> None:
    app.state.auth.credentials.append(read_ticket)
    app.include_router(router, prefix="/v1")
    add_lifespan(app, lifespan)
