"""WebSockets: rooms in which everybody hears at once what happens, on one process or many."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.feature import State, add_lifespan
from app.health import add_check
from app.redis import Server
from app.settings import Environment
from app.websockets import demo
from app.websockets.backplane import RedisBackplane
from app.websockets.handshake import ServiceStopping, on_service_stopping
from app.websockets.hub import Hub, announce
from app.websockets.rooms import Action, room
from app.websockets.router import router
from app.websockets.settings import WebSocketsSettings
from app.websockets.units import unit_of_work

__all__ = ["Action", "announce", "install", "room", "unit_of_work"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
    hub: Hub = app.state.websockets
    url = hub.settings.url
    if url is None:
        yield {"websockets": hub}
        return
    async with (
        Server(url.get_secret_value(), "websockets") as server,
        RedisBackplane(url.get_secret_value(), server, hub.deliver) as backplane,
    ):
        hub.server, hub.backplane = server, backplane
        add_check(app, "websockets", backplane.check)
        yield {"websockets": hub}


def install(app: FastAPI) -> None:
    settings = WebSocketsSettings()
    app.state.websockets = Hub(settings)
    add_lifespan(app, lifespan)
    app.add_exception_handler(ServiceStopping, on_service_stopping)
    app.include_router(router, prefix="/v1")
    if settings.environment is not Environment.PRODUCTION:
        demo.install(app)
