"""A service to whose rooms the tests may go, and somebody who goes there without a server in between."""

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from starlette.types import Message, Scope

from app.main import create_app
from app.websockets.hub import Member

# {%- if auth +%}
from tests.fixtures.auth import act_as

# {%- endif +%}
from tests.fixtures.websockets import until
from tests.websockets.rooms import LOBBY


def let_in(app: FastAPI) -> FastAPI:
    """Have everybody who connects be somebody who may."""
    # {% if auth %}
    act_as(app, "user")
    # {% endif %}
    return app


def make_app() -> FastAPI:
    """Return another one, which has just read its settings."""
    return let_in(create_app())


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    return let_in(app)


class SlowClient:
    """In the lobby, as a server sees somebody who does not read."""

    member: Member
    connection: asyncio.Task[None]

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.reads = asyncio.Event()
        self.says: asyncio.Queue[Message] = asyncio.Queue()
        self.read: list[Message] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            await self.reads.wait()
        self.read.append(message)

    def hang_up(self) -> None:
        self.says.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def subscribe(self, room: str) -> None:
        """Wait until they are in it, and not for the answer."""
        self.says.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": "subscribe", "room": room})})
        await until(lambda: room in self.app.state.websockets.rooms)

    async def connect(self) -> None:
        scope: Scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": "/v1/ws",
            "query_string": b"",
            "headers": [(b"host", b"test")],
            "client": ("127.0.0.1", 50001),
            "subprotocols": [],
            "state": dict(self.app.state.opened),
        }
        self.says.put_nowait({"type": "websocket.connect"})
        self.connection = asyncio.create_task(self.app(scope, self.says.get, self.send))
        await self.subscribe(LOBBY)
        (self.member,) = self.app.state.websockets.rooms[LOBBY]


@pytest.fixture
async def slow(app: FastAPI, sockets: AsyncClient) -> AsyncGenerator[SlowClient]:
    client = SlowClient(app)
    await client.connect()
    yield client
    client.hang_up()
    await asyncio.wait([client.connection])
