"""Units of work: what one message does is stored and told, or not at all."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from app.context import current


@asynccontextmanager
async def unit_of_work() -> AsyncGenerator[None]:
    """Let what waits for an outcome, like `after_commit`, wait for that of one message: a WebSocket itself has none."""
    unit = replace(current.get(), status=None, on_commit=[], on_rollback=[])
    token = current.set(unit)
    done = False
    try:
        yield
        done = True
    finally:
        try:
            await unit.settle(committed=done)
        finally:
            current.reset(token)
