"""What happens around every request, in one pure ASGI middleware."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from time import perf_counter

from fastapi import WebSocketDisconnect
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.types import EventDict

from app.context import READING, RequestContext, current
from app.errors import problem

Header = tuple[bytes, bytes]

STARTS = {"http.response.start", "websocket.http.response.start"}
ABNORMAL, POLICY_VIOLATION, INTERNAL_ERROR = 1006, 1008, 1011  # RFC 6455, section 7.4.1
PLAIN_TEXT = (b"content-type", b"text/plain; charset=utf-8")
# What browsers and caches may do with an answer that says nothing else.
POLICY = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-site"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
ONLY_HTTPS = (b"strict-transport-security", b"max-age=31536000")  # a year
ONE_READER = re.compile(rb"private|no-store", re.IGNORECASE)
SHARED = re.compile(rb"\b(public|s-maxage=\d+)(, *|$)", re.IGNORECASE)
NAMES = {name for name, _ in [*POLICY, ONLY_HTTPS]}
REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")
TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context


class RequestContextMiddleware:
    """Gives the request its id and its context, settles what waits for its outcome, and writes its log line.

    The plain text with which Starlette's middleware refuses a request becomes a problem document; every answer gets the
    headers that it has not set itself.
    """

    def __init__(self, app: ASGIApp, write: Callable[[EventDict], None], *, only_https: bool) -> None:
        self.app = app
        self.write = write
        self.https_policy = [*POLICY, ONLY_HTTPS] if only_https else POLICY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        context = identify(scope)
        current.set(context)  # and never reset: the server, too, logs on behalf of this request
        policy = self.https_policy if scope.get("scheme") in {"https", "wss"} else POLICY
        kind = Handshake if scope["type"] == "websocket" else Answer
        answer = kind(scope, receive, send, context, policy)
        try:
            await self.app(scope, receive, answer.send)
        finally:
            if context.status is None:
                await context.settle(committed=False)
            if context.status is None or kind is Handshake:
                answer.ended = perf_counter()
            self.write(
                {
                    "event": "http.request",
                    "method": scope.get("method", "GET"),
                    "route": route(scope),
                    "status": context.status,
                    "duration_ms": round((answer.ended - answer.started) * 1000, 3),
                    "client_ip": scope["client"][0] if scope["client"] else None,
                }
            )


class Answer:
    """On its way out. Not a closure, which would refer to itself: each request would wait for the garbage collector."""

    __slots__ = ("context", "ended", "policy", "receive", "refused", "scope", "started", "transmit")

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, context: RequestContext, policy: Sequence[Header]
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.transmit = send
        self.context = context
        self.policy = policy
        self.refused: Message | None = None
        self.started = self.ended = perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] in STARTS:
            given = list(message.get("headers", ()))
            if message["status"] >= 400 and PLAIN_TEXT in given and refuses(self.scope, message["status"]):
                self.refused = message  # until its text is there
                return
            context = self.context
            if context.on_commit or context.on_rollback:
                await context.settle(committed=message["status"] < 400)
            context.status = int(message["status"])
            names = {name for name, _ in given}
            policy = self.policy
            if not names.isdisjoint(NAMES):
                given = list(private(self.scope, given))
                policy = [header for header in policy if header[0] not in names]
            message["headers"] = [
                *given,
                *policy,
                (b"server-timing", b"app;dur=%.1f" % ((perf_counter() - self.started) * 1000)),
                (b"x-request-id", context.request_id.encode()),
            ]
        elif self.refused is not None:
            response = refusal(HTTPConnection(self.scope), self.refused, message.get("body", b""))
            self.refused = None
            await response(self.scope, self.receive, self.send)
            self.transmit = swallow  # what there may be more of it
            return
        await self.transmit(message)
        self.ended = perf_counter()


class Handshake(Answer):
    """A WebSocket's: until it is accepted it can be refused as a request can, and afterwards only be closed."""

    __slots__ = ()

    def may_refuse(self) -> bool:
        return self.context.status is None and "websocket.http.response" in (self.scope.get("extensions") or ())

    async def send(self, message: Message) -> None:
        context = self.context
        if message["type"] == "websocket.accept":
            await context.settle(committed=True)
            context.status = HTTPStatus.SWITCHING_PROTOCOLS
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", context.request_id.encode())]
        elif message["type"] == "websocket.close" and context.status is None:
            await context.settle(committed=False)
            context.status = HTTPStatus.FORBIDDEN  # which is what servers make of it
        elif message["type"] in STARTS and not self.may_refuse():
            code = POLICY_VIOLATION if message["status"] < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL_ERROR
            await self.send({"type": "websocket.close", "code": code})
            self.transmit = swallow
            return
        try:
            await super().send(message)
        except OSError:  # the client has gone; Starlette says so only where it has accepted it
            raise WebSocketDisconnect(ABNORMAL) from None


async def swallow(message: Message) -> None: ...


def identify(scope: Scope) -> RequestContext:
    """Take the caller's `X-Request-ID`, and the trace of its `traceparent`, where they are harmless."""
    id = trace = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            id = REQUEST_ID.fullmatch(value)
        elif name == b"traceparent":
            trace = TRACE_PARENT.fullmatch(value)
    return RequestContext(
        id[0].decode() if id else f"{random.getrandbits(128):032x}",
        trace_id=trace[1].decode() if trace else None,
        opened=scope.get("state", {}),
        reads=scope.get("method") in READING,
    )


def refuses(scope: Scope, status: int) -> bool:
    """Tell middleware from endpoints, which may say what they like; a body is refused while its endpoint reads it."""
    return status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or "endpoint" not in scope


def refusal(request: HTTPConnection, start: Message, text: bytes) -> Response:
    """Keep the words and what other middleware has added, for CORS for example."""
    headers = {
        str(name, "latin-1"): str(value, "latin-1")
        for name, value in start["headers"]
        if not name.startswith(b"content-")
    }
    return problem(request, start["status"], text.decode("utf-8", "replace"), headers=headers)


def private(scope: Scope, given: Sequence[Header]) -> Iterable[Header]:
    """Keep an answer to somebody who is signed in out of the caches of others (RFC 9111, section 3.5)."""
    signed_in = any(name in {b"authorization", b"cookie"} for name, _ in scope["headers"])
    for name, value in given:
        if signed_in and name == b"cache-control" and not ONE_READER.search(value):
            yield name, b", ".join([b"private", *SHARED.sub(b"", value).split(b", ")]).rstrip(b", ")
        else:
            yield name, value


def route(scope: Scope) -> str | None:
    """Return the template (`/v1/orders/{id}`), never the path itself: paths are without number and hold identifiers."""
    matched = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    whole = getattr(matched, "starlette_route", None) or matched  # with the prefix of a WebSocket's router
    return whole.path if whole else None
