"""The server's side of a WebSocket, where uvicorn trusts clients more than this service does."""

from asyncio import TimerHandle
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.status import WS_1007_INVALID_FRAME_PAYLOAD_DATA
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from app.websockets.connection import AT_ONCE

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame

MOST_FRAGMENTS = 1000  # of a message; empty ones have no length that anything else would count


class Protocol(WebSocketsSansIOProtocol):
    """It does not wait for ever for a client that does not read, and does not keep what it would not send."""

    end_timer: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.end_timer is not None:
            self.end_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            # A header was too long: uvicorn would let the client wait, and fail when it stops itself.
            self.handshake_complete = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def shutdown(self) -> None:
        if not self.transport.is_closing():  # else nothing can be said any more, and uvicorn would fail
            super().shutdown()

    async def run_asgi(self) -> None:
        extensions = self.scope["extensions"]
        extensions[AT_ONCE] = {"send": self.send_at_once}
        await super().run_asgi()
        del extensions[AT_ONCE]  # else it would wait for the garbage collector
        if not self.disconnected:
            self.end_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # a client that does not read may still see why it is closed
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # it has been refused, which uvicorn logs as an error

    def send_at_once(self, texts: Iterable[str]) -> bool:
        """Send messages with one write; say that it cannot be where the client has yet to read others, or is gone."""
        if not self.writable.is_set() or self.conn.state is not State.OPEN or self.transport.is_closing():
            return False
        self.transport.write(b"".join(map(frame, texts)))
        return True

    def send_receive_event_to_app(self) -> None:
        try:
            if self.curr_msg_data_type == "text" and not self.close_sent:
                b"".join(self.frames).decode()
        except UnicodeDecodeError:  # uvicorn would log an error
            self.conn.send_close(WS_1007_INVALID_FRAME_PAYLOAD_DATA)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    def handle_cont(self, event: "Frame") -> None:
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.transport.abort()


def frame(text: str) -> bytes:
    """Return a text frame as servers send it (RFC 6455, section 5.2), in a tenth of the time that `Frame` takes."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload
