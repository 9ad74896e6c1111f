"""A shelf whose readings are kept, in memory and in Redis."""

import asyncio
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, WebSocket

from app.cache import cached, invalidate
from app.context import current
from app.errors import ServiceError


class ShelfBroken(ServiceError):
    pass


class Shelf:
    """Counts how often it is looked at; a gate that is closed keeps whoever looks."""

    def __init__(self) -> None:
        self.content = "old"
        self.looks = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def look(self) -> str:
        self.looks += 1
        content = self.content
        await self.gate.wait()
        if content == "broken":
            raise ShelfBroken("It is broken.")
        return content

    @cached("shelves:{row}:{name}", ttl="5m", tags=["shelves", "shelves:{name}"])
    async def read(self, name: str, row: str = "") -> str:
        return await self.look()

    @cached("shared:{name}", ttl="5m", refresh="1m", shared=True)
    async def read_shared(self, name: str) -> str:
        return await self.look()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CACHE_URL", redis_url if request.param == "redis" else "")
    return str(request.param)


async def introduce(principal: Annotated[str, Header()] = "", permissions: Annotated[str, Header()] = "") -> None:
    if principal:
        await current.get().identify(principal, frozenset(permissions.split()))


@pytest.fixture
def app(store: str, app: FastAPI, shelf: Shelf) -> FastAPI:
    @app.get("/tests/shelves", dependencies=[Depends(introduce)])
    async def read(name: str = "a", row: str = "", shared: bool = False) -> str:
        return await (shelf.read_shared(name) if shared else shelf.read(name, row=row))

    @app.post("/tests/shelves")
    async def look() -> str:
        return await shelf.read("a")

    @app.websocket("/tests/shelves")
    async def watch(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await shelf.read("a"))
        await socket.close()

    @app.put("/tests/shelves")
    async def write(content: str, fails: bool = False, tag: str = "shelves") -> str:
        invalidate(tag)
        shelf.content = content
        seen = await shelf.read("a")
        if fails:
            shelf.content = "old"
            raise ShelfBroken("It falls down.")
        return seen

    @app.delete("/tests/shelves")
    async def forget() -> None:
        invalidate("shelves")

    return app
