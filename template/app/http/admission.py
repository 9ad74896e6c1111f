"""Who comes in: what is meant for this service, and no more of it at once than it can serve."""

import re
from collections.abc import Sequence
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import UNREADABLE, problem

PROBES = {"/livez", "/readyz"}  # asked by address, and most of all when the service is busy
BODILESS = {"GET", "HEAD"}


class Admission:
    """`hosts` are names, or `*.example.com` for every name below; none means any."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], max_concurrency: int, max_body_bytes: int) -> None:
        self.app = app
        self.hosts = host_pattern(hosts) if hosts else None
        self.free = max_concurrency
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
        elif self.hosts is not None and not self.hosts.fullmatch(host(scope)):
            await refuse_host(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif scope["method"] in BODILESS and body_bytes(scope) > self.max_body_bytes:
            # Nobody would read it, and a streamed answer would fall over it half-way.
            response = problem(
                Request(scope),
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "Nothing reads so long a body here, or one of unknown length.",
            )
            await response(scope, receive, send)
        elif self.free == 0:
            response = problem(
                Request(scope),
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The service has more to do than it can: try again.",
                code="overloaded",
                headers={"Retry-After": "1"},
            )
            await response(scope, receive, send)
        else:
            self.free -= 1
            try:
                await self.app(scope, receive, send)
            finally:
                self.free += 1


class BodyLimit(RequestBodyLimitMiddleware):
    """Starlette's, for requests that have a body; it takes as long as all of the above."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in BODILESS:
            await super().__call__(scope, only_utf8(receive) if is_json(scope) else receive, send)
        else:
            await self.app(scope, receive, send)


def is_json(scope: Scope) -> bool:
    return any(name == b"content-type" and b"json" in value for name, value in scope["headers"])


def only_utf8(receive: Receive) -> Receive:
    """Refuse JSON in UTF-16 and UTF-32, which Python reads and RFC 8259 does not allow: it is full of NUL bytes."""

    async def checked() -> Message:
        message = await receive()
        if b"\0" in message.get("body", b""):
            raise HTTPException(HTTPStatus.BAD_REQUEST, UNREADABLE)
        return message

    return checked


def host_pattern(hosts: Sequence[str]) -> re.Pattern[bytes]:
    """Return what matches a `Host` header, with or without a port."""
    names = "|".join(re.escape(name).replace(r"\*", ".+") for name in hosts)
    return re.compile(rf"({names})(:\d+)?".encode(), re.IGNORECASE)


def host(scope: Scope) -> bytes:
    """Return the `Host` header, or nothing where there is not exactly one."""
    values = [value for name, value in scope["headers"] if name == b"host"]
    return values[0] if len(values) == 1 else b""


def body_bytes(scope: Scope) -> float:
    """Return what is announced; nobody knows the length of what comes in chunks."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return float("inf")
        if name == b"content-length":
            return int(value)
    return 0


async def refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem(
        HTTPConnection(scope), HTTPStatus.BAD_REQUEST, "This service does not have that name.", code="host_not_allowed"
    )
    await response(scope, receive, send)
