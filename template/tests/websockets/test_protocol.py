"""What clients may do to the server itself, on real connections."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.status import (
    WS_1000_NORMAL_CLOSURE,
    WS_1003_UNSUPPORTED_DATA,
    WS_1007_INVALID_FRAME_PAYLOAD_DATA,
    WS_1009_MESSAGE_TOO_BIG,
    WS_1012_SERVICE_RESTART,
    WS_1013_TRY_AGAIN_LATER,
)

from app.websockets import schemas
from app.websockets.handshake import check_handshake
from app.websockets.hub import Hub
from app.websockets.protocol import Protocol
from tests.fixtures.logs import Logged
from tests.fixtures.websockets import SECONDS
from tests.websockets.conftest import make_app
from tests.websockets.rooms import LOBBY

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA  # RFC 6455, section 5.2
FINAL, MASKED = 0x80, 0x80
SUBSCRIBE = json.dumps({"type": "subscribe", "room": LOBBY}).encode()
HEAD = """\
GET /v1/ws HTTP/1.1
Host: test
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
"""


class HastyProtocol(Protocol):
    """Has the patience, in seconds, that a test wants it to have."""

    patience: float = 10
    served: ClassVar[set["HastyProtocol"]] = set()

    def __init__(self, *arguments: Any, **options: Any) -> None:  # as uvicorn has it
        super().__init__(*arguments, **options)
        self.close_timeout = self.ping_interval = self.ping_timeout = self.patience
        self.frames_received = 0

    def handle_events(self) -> None:
        self.frames_received += len(self.conn.events)
        super().handle_events()

    async def run_asgi(self) -> None:
        self.served.add(self)
        await super().run_asgi()
        self.served.remove(self)


class Server(uvicorn.Server):
    app: FastAPI
    hub: Hub

    async def publish(self, times: int) -> None:
        """Tell everybody in the lobby so many times 50 kB, each time with the opportunity to read it."""
        for _ in range(times):
            await self.hub.publish(LOBBY, schemas.Message(room=LOBBY, data="x" * 50_000))
            await asyncio.sleep(0)

    async def publish_at_once(self, times: int) -> None:
        """Tell everybody in the lobby so many numbers, before any of them can be read."""
        for number in range(times):
            await self.hub.publish(LOBBY, schemas.Message(room=LOBBY, data=number))

    async def until_gone(self) -> None:
        """Wait for the end of all connections, and of what the service does about them."""
        async with asyncio.timeout(SECONDS):
            while self.server_state.connections or HastyProtocol.served:  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serve() -> AsyncGenerator[Server]:
    app = make_app()
    server = Server(
        uvicorn.Config(
            app,
            ws=HastyProtocol,
            ws_max_size=app.state.websockets.settings.max_message_bytes,
            ws_per_message_deflate=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    server.app = app
    server.hub = app.state.websockets
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)  # so that little has to be sent
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(0.001)
        yield server
        server.should_exit = True
        await serving


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each message sent as soon as there is one."""
    monkeypatch.setattr("app.websockets.connection.REST", 0)


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncGenerator[Server]:
    async with serve() as server:
        yield server


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a frame of at most 125 bytes, masked with zeros, which change nothing (RFC 6455, section 5.3)."""
    return bytes((opcode, MASKED | len(payload), 0, 0, 0, 0)) + payload


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def shake_hands(self, *headers: str) -> str:
        """Return the head of the answer."""
        self.writer.write("\r\n".join([*HEAD.splitlines(), *headers, "", ""]).encode())
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def say(self, *frames: bytes) -> bytes:
        """Return the next frame, of at most 125 bytes."""
        self.send(*frames)
        _, length = head = await self.reader.readexactly(2)
        return head + await self.reader.readexactly(length)

    async def hear(self, number: int) -> list[int]:
        """Return the data of so many messages."""
        return [json.loads((await self.say())[2:])["data"] for _ in range(number)]

    async def read(self) -> bytes:
        """Return all that comes until the end, be it an abrupt one."""
        received = bytearray()
        with suppress(ConnectionError):
            while data := await self.reader.read(65_536):
                received += data
        return bytes(received)


@asynccontextmanager
async def connect(server: Server) -> AsyncGenerator[Client]:
    address = server.servers[0].sockets[0].getsockname()
    receiver = socket.socket()
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    receiver.setblocking(False)
    async with asyncio.timeout(SECONDS):
        await asyncio.get_running_loop().sock_connect(receiver, address)
        reader, writer = await asyncio.open_connection(sock=receiver, limit=4096)
        yield Client(reader, writer)
        writer.transport.abort()


@pytest.fixture
async def client(server: Server) -> AsyncGenerator[Client]:
    """Somebody who has connected."""
    async with connect(server) as client:
        await client.shake_hands()
        yield client
    await server.until_gone()


def code(received: bytes) -> int:
    """Return that of the frame that closes, the last one."""
    return int.from_bytes(received[received.rindex(FINAL | CLOSE) + 2 :][:2])


async def test_what_is_no_text_ends_it_without_an_error(client: Client, server: Server, logged: Logged) -> None:
    received = await client.say(frame(FINAL | TEXT, b"\xff"))
    await client.read()
    await server.until_gone()

    assert code(received) == WS_1007_INVALID_FRAME_PAYLOAD_DATA
    assert {line["level"] for line in logged()} == {"info"}


async def test_what_is_no_text_after_the_end_is_no_error(client: Client, server: Server, logged: Logged) -> None:
    received = await client.say(frame(FINAL | BINARY))
    client.send(frame(FINAL | TEXT, b"\xff"), frame(FINAL | CLOSE))
    await client.read()
    await server.until_gone()

    assert code(received) == WS_1003_UNSUPPORTED_DATA
    assert {line["level"] for line in logged()} == {"info"}


async def test_what_is_too_long_ends_it_without_an_error(client: Client, server: Server, logged: Logged) -> None:
    received = await client.say(bytes((FINAL | TEXT, MASKED | 127)), (65_537).to_bytes(8), bytes(4))
    await client.read()
    await server.until_gone()

    assert code(received) == WS_1009_MESSAGE_TOO_BIG
    assert {line["level"] for line in logged()} == {"info"}


async def test_a_refusal_is_an_answer_and_no_error(server: Server, logged: Logged) -> None:
    async with connect(server) as client:
        head = await client.shake_hands("Origin: null")
        body = await client.read()
    await server.until_gone()

    assert head.startswith("HTTP/1.1 403 Forbidden\r\n")
    assert json.loads(body)["type"] == "/problems/origin_not_allowed"
    assert [line["event"] for line in logged()] == ["http.request"]


async def test_a_message_may_come_in_pieces(client: Client) -> None:
    pieces = [frame(TEXT, b'{"type":'), *[frame(CONTINUATION)] * 900, frame(FINAL | CONTINUATION, b'"ping"}')]

    assert await client.say(*pieces) == bytes((FINAL | TEXT, 25)) + b'{"type":"pong","id":null}'


async def test_a_message_that_never_ends_ends_the_connection(client: Client, server: Server) -> None:
    client.send(frame(TEXT), *[frame(CONTINUATION)] * 1000)

    assert await client.read() == b""


async def test_a_ping_of_the_protocol_is_answered(client: Client) -> None:
    assert await client.say(frame(FINAL | PING, b"7")) == bytes((FINAL | PONG, 1)) + b"7"


async def test_whoever_pings_before_they_read_is_answered_once_they_do(client: Client, server: Server) -> None:
    await client.say(frame(FINAL | TEXT, SUBSCRIBE))
    await server.publish(10)

    client.send(frame(FINAL | PING, b"7"), frame(FINAL | PING, b"8"))

    pong, received = bytes((FINAL | PONG, 1)), bytearray()
    while pong + b"8" not in received or received.count(b'"type":"message"') < 10:
        received += await client.reader.read(65_536)
    assert pong + b"7" not in received


@pytest.mark.parametrize("opcode", [PING, PONG, TEXT])
async def test_a_flood_of_frames_ends_the_connection(client: Client, server: Server, opcode: int) -> None:
    client.send(frame(FINAL | BINARY), *[frame(FINAL | opcode)] * 3000)

    await server.until_gone()


async def test_a_flood_is_not_parsed_to_its_end(client: Client, server: Server) -> None:
    (protocol,) = HastyProtocol.served

    client.send(*[frame(FINAL | PONG)] * 40_000)

    await server.until_gone()
    assert protocol.frames_received < 10_000


async def test_whoever_pings_and_leaves_before_they_read_is_let_go_in_order(client: Client, server: Server) -> None:
    await client.say(frame(FINAL | TEXT, SUBSCRIBE))
    await server.publish(10)

    client.send(frame(FINAL | PING), frame(FINAL | CLOSE, WS_1000_NORMAL_CLOSURE.to_bytes(2)))

    assert code(await client.read()) == WS_1000_NORMAL_CLOSURE


async def test_whoever_does_not_read_sees_why_it_has_ended_once_they_do(client: Client, server: Server) -> None:
    await client.say(frame(FINAL | TEXT, SUBSCRIBE))
    await server.publish(40)
    client.send(frame(FINAL | CLOSE))

    assert code(await client.read()) == WS_1013_TRY_AGAIN_LATER


async def test_whoever_reads_hears_a_lot_at_once_in_its_order(client: Client, server: Server) -> None:
    await client.say(frame(FINAL | TEXT, SUBSCRIBE))

    await server.publish_at_once(300)

    assert await client.hear(300) == [*range(300)]
    assert await client.say(frame(FINAL | PING, b"7")) == bytes((FINAL | PONG, 1)) + b"7"


async def test_whoever_never_reads_is_let_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HastyProtocol, "patience", 0.1)
    async with connect(server) as client:
        await client.shake_hands()
        await client.say(frame(FINAL | TEXT, SUBSCRIBE))
        await server.publish(40)

        await server.until_gone()


async def test_whoever_has_vanished_is_let_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HastyProtocol, "patience", 0.1)
    async with connect(server) as client:
        await client.shake_hands()
        await client.say(frame(FINAL | TEXT, SUBSCRIBE))
        await server.publish(10)

        await server.until_gone()


async def test_what_nobody_will_hear_is_not_kept(client: Client, server: Server) -> None:
    (protocol,) = HastyProtocol.served

    client.send(*[frame(FINAL | BINARY)] * 1000, frame(FINAL | CLOSE))
    await client.read()
    await server.until_gone()

    assert protocol.queue.qsize() <= 1


async def test_whoever_shakes_hands_while_it_stops_is_to_come_again(logged: Logged) -> None:
    decided = asyncio.Event()
    async with serve() as server, connect(server) as client:
        server.app.dependency_overrides[check_handshake] = decided.wait
        hands = asyncio.create_task(client.shake_hands())
        while not HastyProtocol.served:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(0)
        server.should_exit = True
        head = await hands
        decided.set()
        await server.until_gone()

    assert head.startswith("HTTP/1.1 503 Service Unavailable\r\n")
    assert "Retry-After: 1\r\n" in head
    assert {line["level"] for line in logged()} == {"info"}


async def test_whoever_is_there_when_it_stops_is_told() -> None:
    async with serve() as server, connect(server) as client:
        await client.shake_hands()
        server.should_exit = True

        assert code(await client.read()) == WS_1012_SERVICE_RESTART
