"""One connection: its messages are heard one after the other, and what it is to be sent waits up to a limit."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from fastapi import WebSocket, WebSocketDisconnect
from starlette.status import (
    WS_1003_UNSUPPORTED_DATA,
    WS_1009_MESSAGE_TOO_BIG,
    WS_1013_TRY_AGAIN_LATER,
)
from starlette.types import Scope
from structlog.stdlib import get_logger

from app.context import RequestContext
from app.websockets.dialogue import Dialogue
from app.websockets.hub import Hub
from app.websockets.settings import MOST_BYTES

logger = get_logger()

MOST_MESSAGES = 100  # that wait to be sent
AT_ONCE = "websocket.send.at_once"  # an extension of ASGI's, which the service's own server has
FLUSH_SECONDS, CLOSE_SECONDS = 1, 10
REST = 0.02  # seconds from one write to the next: what comes close together goes out together


class Connection:
    def __init__(self, websocket: WebSocket, hub: Hub, context: RequestContext) -> None:
        self.id = uuid4().hex
        self.websocket = websocket
        self.context = context
        self.max_message_bytes = hub.settings.max_message_bytes
        self.outgoing: deque[str] = deque()
        self.outgoing_bytes = 0
        self.is_outgoing = asyncio.Event()
        self.send_at_once = find_send_at_once(websocket.scope)
        self.rest = 0 if self.send_at_once is refuse else REST
        self.is_waiting = False  # for the client to read
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.dialogue = Dialogue(websocket, hub, self)

    def put(self, frame: str, size: int) -> None:
        if self.ended.done():
            return
        if self.is_full(size):
            if not self.is_waiting:
                self.hand_over()  # it is not the client that has been slow
            if self.is_full(size):
                self.end(WS_1013_TRY_AGAIN_LATER, "What is sent is not read fast enough.", at_once=True)
                return
        self.outgoing.append(frame)
        self.outgoing_bytes += size
        self.is_outgoing.set()

    def is_full(self, size: int) -> bool:
        return len(self.outgoing) == MOST_MESSAGES + self.is_waiting or self.outgoing_bytes + size > MOST_BYTES

    def end(self, code: int, reason: str, *, at_once: bool = False) -> None:
        if at_once:
            self.outgoing.clear()
        if not self.ended.done():
            self.ended.set_result((code, reason))

    async def review(self) -> None:
        await self.dialogue.review()

    async def serve(self) -> None:
        """Go on until either side has had enough."""
        sides = [asyncio.create_task(self.receive()), asyncio.create_task(self.send())]
        ends: list[asyncio.Future[Any]] = [*sides, self.ended]  # of two types
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.wait(sides)
            await self.dialogue.leave(*self.dialogue.rooms)
        for side in sides:
            if not side.cancelled() and (error := side.exception()):
                raise error
        if self.ended.done():
            with suppress(WebSocketDisconnect, RuntimeError):  # the server may have closed it
                await self.close(*self.ended.result())

    async def close(self, code: int, reason: str) -> None:
        logger.info("websockets.closed", code=code, reason=reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.websocket.close(code, reason)

    async def send(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await self.is_outgoing.wait()
                self.is_outgoing.clear()
                await self.flush()
                await asyncio.sleep(self.rest)

    async def flush(self) -> None:
        while self.outgoing and not self.hand_over():
            frame = self.outgoing[0]
            self.outgoing_bytes -= len(frame.encode())
            self.is_waiting = True
            await self.websocket.send({"type": "websocket.send", "text": frame})
            self.is_waiting = False
            if self.outgoing:  # it may have ended meanwhile
                self.outgoing.popleft()

    def hand_over(self) -> bool:
        """Have all that waits sent with one write; say that it cannot be while the client reads what it was sent."""
        if not self.send_at_once(self.outgoing):
            return False
        self.outgoing.clear()
        self.outgoing_bytes = 0
        return True

    async def receive(self) -> None:
        while not self.ended.done():
            received = await self.websocket.receive()
            text = received.get("text")
            if received["type"] == "websocket.disconnect":
                return
            if text is None:
                self.end(WS_1003_UNSUPPORTED_DATA, "Messages are text.")
            elif len(text.encode()) > self.max_message_bytes:
                self.end(WS_1009_MESSAGE_TOO_BIG, f"Messages have at most {self.max_message_bytes} bytes.")
            else:
                await self.dialogue.hear(text)


def find_send_at_once(scope: Scope) -> Callable[[Iterable[str]], bool]:
    """Return what sends messages at once, past all middleware; with another server it never can."""
    extensions = scope.get("extensions") or {}
    send: Callable[[Iterable[str]], bool] = extensions.get(AT_ONCE, {}).get("send", refuse)
    return send


def refuse(texts: Iterable[str]) -> bool:
    return False
