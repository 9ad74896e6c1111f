"""A server that can be told to be silent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from hiredis import Reader

from app.redis import Server


class Echo:
    """Answers each command with its last word, unless it is told to say something else, or to hold its tongue."""

    def __init__(self) -> None:
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.delay = 0.0
        self.says: bytes | None = None
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        commands = Reader()
        with suppress(ConnectionError):  # whoever ends a connection does not wait for the answers
            while data := await reader.read(2**16):
                await asyncio.sleep(self.delay)
                await self.speaks.wait()
                commands.feed(data)
                while command := commands.gets():
                    writer.write(self.says or b"$%d\r\n%b\r\n" % (len(command[-1]), command[-1]))

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()


@pytest.fixture
async def echo() -> AsyncGenerator[Echo]:
    echo = Echo()
    yield echo
    echo.speaks.set()
    echo.hang_up()


@pytest.fixture
async def echo_url(echo: Echo) -> AsyncGenerator[str]:
    listener = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()


@pytest.fixture
async def echo_server(echo_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Server]:
    monkeypatch.setattr("app.redis.server.PAUSE", 0.01)
    async with Server(echo_url, "tests") as server:
        yield server


async def ask(server: Server, text: str) -> object:
    async with asyncio.timeout(5):
        return await server.ask(lambda redis: redis.send("ECHO", text))
