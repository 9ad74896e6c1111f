"""The server's side of a WebSocket, where uvicorn trusts clients more than this service does."""

from asyncio import Queue, TimerHandle
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.status import WS_1007_INVALID_FRAME_PAYLOAD_DATA
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from app.websockets.allowance import Allowance
from app.websockets.connection import AT_ONCE
from app.websockets.settings import MOST_FRAMES

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame

MOST_FRAGMENTS = 1000  # of a message; empty ones have no length that anything else would count
CHUNK = 16_384  # bytes that are parsed before the frames in them are counted


class Protocol(WebSocketsSansIOProtocol):
    """It does not wait for ever for a client that does not read, and does not keep what it would not send."""

    end_timer: TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:  # as uvicorn has it
        super().__init__(*arguments, **options)
        self.allowance = Allowance(MOST_FRAMES)
        self.pong: list[bytes] = []  # for a client that has yet to read other things; the last one will do

    def connection_lost(self, exc: Exception | None) -> None:
        if self.end_timer is not None:
            self.end_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), CHUNK):
            if not self.transport.is_closing():
                self.chunk_received(data[start : start + CHUNK])

    def chunk_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            # A header was too long: uvicorn would let the client wait, and fail when it stops itself.
            self.end_handshake()

    def handle_events(self) -> None:
        """Count them of every kind, those after the end too: each takes time from everybody."""
        if self.allowance.take(len(self.conn.events)):
            super().handle_events()
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.conn.state is State.OPEN:
            self.transport.write(b"".join(self.pong))
        self.pong = []

    def shutdown(self) -> None:
        if self.transport.is_closing():  # nothing can be said any more, and uvicorn would fail
            return
        if self.handshake_complete:
            super().shutdown()
            return
        response = self.conn.reject(HTTPStatus.SERVICE_UNAVAILABLE, "The service stops: try again.\n")
        response.headers["Retry-After"] = "1"
        self.conn.send_response(response)
        self.end_handshake()

    def end_handshake(self) -> None:
        """Send the refusal that `conn` has made, past the application."""
        self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    async def run_asgi(self) -> None:
        extensions = self.scope["extensions"]
        extensions[AT_ONCE] = {"send": self.send_at_once}
        await super().run_asgi()
        del extensions[AT_ONCE]  # else it would wait for the garbage collector
        self.queue = Queue()  # nobody reads it any more
        if not self.disconnected:
            self.end_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    async def send(self, message: "ASGISendEvent") -> None:
        if self.close_sent:
            raise ClientDisconnected  # where uvicorn would only see a mistake
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
        if self.writable.is_set() or self.conn.state is not State.OPEN:
            super().handle_ping()
        else:
            self.pong = self.conn.data_to_send()[-1:] or self.pong

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
