"""What clients keep, and how they ask whether it is still good (RFC 9110, section 8.8.3; RFC 9111)."""

from collections.abc import Callable
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.context import READING

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])  # whatever it takes and returns

KEPT: dict[Callable[..., Any], str] = {}  # by endpoint


def keep(directives: str) -> Callable[[Endpoint], Endpoint]:
    """Let clients keep the answers of an endpoint, as `Cache-Control` says: `private, no-cache`, or `max-age=60`.

    They get an `ETag` with each, and 304 without a body where nothing has changed since.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        KEPT[endpoint] = directives
        return endpoint

    return mark


class Validators:
    """Adds `Cache-Control` and `ETag` where an endpoint asks for it; what a client has already is not sent again."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in READING:
            send = Answer(scope, send).send
        await self.app(scope, receive, send)


class Answer:
    __slots__ = ("scope", "start", "transmit")

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.transmit = send
        self.start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == HTTPStatus.OK and self.scope.get("endpoint") in KEPT:
                self.start = message  # until its body is there
                return
        elif self.start is not None:
            start, self.start = self.start, None
            headers = MutableHeaders(raw=start["headers"])
            headers.setdefault("Cache-Control", KEPT[self.scope["endpoint"]])
            headers.add_vary_header("Authorization, Cookie")
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                tag = blake2b(message.get("body", b""), digest_size=16).hexdigest()
                tag = headers.setdefault("ETag", f'"{tag}"')
                if knows(Headers(scope=self.scope), tag):
                    start["status"] = HTTPStatus.NOT_MODIFIED
                    del headers["Content-Length"], headers["Content-Type"]
                    message["body"] = b""
            await self.transmit(start)
        await self.transmit(message)


def knows(headers: Headers, tag: str) -> bool:
    """Compare weakly (RFC 9110, section 13.1.2): what a proxy has compressed is still the same."""
    given = [each.strip().removeprefix("W/") for each in ",".join(headers.getlist("If-None-Match")).split(",")]
    return tag.removeprefix("W/") in given or given == ["*"]
