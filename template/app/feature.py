"""What the application is assembled from."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from fastapi import FastAPI


class Feature(Protocol):
    """A module or package that adds itself to the application."""

    def install(self, app: FastAPI, /) -> None: ...


State = Mapping[str, Any]  # each feature adds what it likes
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[State]]


def add_lifespan(app: FastAPI, lifespan: Lifespan) -> None:
    """Open what a feature needs when the application starts, after what is there already, and close it before that.

    A router brings its own lifespan; this is for features without one, because every included router takes time from
    every request.
    """
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def nested(app: FastAPI) -> AsyncGenerator[State]:
        async with outer(app) as state, lifespan(app) as added:
            yield {**(state or {}), **added}

    app.router.lifespan_context = nested


def share_state(app: FastAPI) -> None:
    """Have `app.state.opened` be what the lifespans hold open, for whatever works without a request."""
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def shared(app: FastAPI) -> AsyncGenerator[State]:
        async with outer(app) as state:
            app.state.opened = dict(state or {})
            yield app.state.opened

    app.router.lifespan_context = shared
