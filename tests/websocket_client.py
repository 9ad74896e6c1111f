"""A WebSocket client over a plain socket: it sends what no library would, and reads when it likes, or never."""

import json
import socket
import struct
import time
from contextlib import suppress
from enum import IntEnum
from types import TracebackType
from typing import Any, NamedTuple, Self

PATH = "/v1/ws"
SECONDS = 10.0
"""How long a client waits for what has to come."""


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Frame(NamedTuple):
    opcode: int
    data: bytes


class ClosedError(Exception):
    """The other side has ended the connection, with a code or without one."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def handshake(*headers: str, path: str = PATH) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def encode(
    data: bytes = b"",
    opcode: int = Opcode.TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return a frame (RFC 6455, section 5.2), which may announce another length than it has."""
    length = len(data) if length is None else length
    mask_bit = 0x80 if masked else 0
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 2**16:
        head += struct.pack("!BH", mask_bit | 126, length)
    else:
        head += struct.pack("!BQ", mask_bit | 127, length)
    return head + bytes(4 if masked else 0) + data  # a mask of zeros changes nothing


def message(**fields: object) -> bytes:
    return encode(json.dumps(fields).encode())


class Client:
    """One connection; `status`, `headers` and `body` are those of the answer to its handshake."""

    def __init__(
        self, port: int, *headers: str, path: str = PATH, source: str = "127.0.0.1", buffer: int | None = None
    ) -> None:
        self.socket = socket.socket()
        self.received = bytearray()
        self.socket.settimeout(SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self.socket.bind((source, 0))
            self.socket.connect(("127.0.0.1", port))
            self.port: int = self.socket.getsockname()[1]
            self.socket.sendall(handshake(*headers, path=path))
            self.read_answer(time.monotonic() + SECONDS)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def read_answer(self, deadline: float) -> None:
        while b"\r\n\r\n" not in self.received:
            self.fill(deadline)
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.received = bytearray(rest)
        self.body = b"" if self.status == 101 else self.take(int(self.headers["content-length"]), deadline)

    def fill(self, deadline: float) -> None:
        """Wait for more; raise `ClosedError` at its end, and `TimeoutError` where nothing has come until then."""
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            received = self.socket.recv(65_536)
        except ConnectionError:
            received = b""
        if not received:
            raise ClosedError(None)
        self.received += received

    def take(self, number: int, deadline: float) -> bytes:
        while len(self.received) < number:
            self.fill(deadline)
        taken = bytes(self.received[:number])
        del self.received[:number]
        return taken

    def send(self, *frames: bytes) -> None:
        """Whether anybody reads them is not known; `ClosedError` tells who reads next."""
        self.socket.settimeout(SECONDS)
        with suppress(ConnectionError):
            self.socket.sendall(b"".join(frames))

    def say(self, **fields: object) -> None:
        self.send(message(**fields))

    def read(self, seconds: float = SECONDS) -> Frame:
        deadline = time.monotonic() + seconds
        first, length = self.take(2, deadline)
        assert first & 0xF0 == 0x80, "the server sends whole frames, without extensions"
        assert length < 128, "and without masks"
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2, deadline))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.take(8, deadline))
        return Frame(first & 0x0F, self.take(length, deadline))

    def hear(self, seconds: float = SECONDS) -> Any:  # JSON
        """Return the next message, answering pings; raise `ClosedError` once that is answered as well."""
        deadline = time.monotonic() + seconds
        while True:
            opcode, data = self.read(deadline - time.monotonic())
            if opcode == Opcode.TEXT:
                return json.loads(data)
            if opcode == Opcode.PING:
                self.send(encode(data, Opcode.PONG))
            elif opcode == Opcode.CLOSE:
                self.send(encode(data, Opcode.CLOSE))
                raise ClosedError(struct.unpack("!H", data[:2])[0] if data else None)

    def ask(self, **fields: object) -> Any:  # JSON
        """Return what answers a message; what comes before that is dropped."""
        self.say(id="asked", **fields)
        while (answer := self.hear()).get("id") != "asked":
            pass
        return answer

    def join(self, room: str = "demo") -> Self:
        answer = self.ask(type="subscribe", room=room)
        assert answer["type"] == "subscribed", answer
        return self

    def publish(self, *data: object, room: str = "demo") -> None:
        self.send(*(message(type="publish", room=room, data=each) for each in data))

    def messages(self, *last: object, seconds: float = SECONDS) -> list[Any]:  # JSON
        """Return what is told in the rooms, until all of these have come."""
        heard: list[Any] = []
        missing = [*last]
        while missing:
            told = self.hear(seconds)
            if told["type"] == "message":
                heard.append(told["data"])
                missing = [each for each in missing if each != told["data"]]
        return heard

    def rest(self) -> tuple[list[Any], int | None]:  # JSON
        """Return what is left to be heard until the other side ends it, and its code."""
        heard: list[Any] = []
        try:
            while True:
                heard.append(self.hear())
        except ClosedError as closed:
            return heard, closed.code

    def closed(self, seconds: float = SECONDS) -> int | None:
        """Return the code with which the other side ends it, and nothing where it just goes."""
        deadline = time.monotonic() + seconds
        code: int | None = None
        try:
            while True:
                self.hear(deadline - time.monotonic())
        except ClosedError as closed:
            code = closed.code
        with suppress(ClosedError):
            while True:
                self.fill(deadline)
        return code

    def close(self) -> int | None:
        """Take leave as one should; return the code that comes back."""
        self.send(encode(struct.pack("!H", 1000), Opcode.CLOSE))
        return self.closed()

    def reset(self) -> None:
        """Go without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
