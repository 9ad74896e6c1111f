"""A service that is about to stop says so first, and goes on answering until nobody sends it requests any more."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import FrameType

from fastapi import FastAPI
from pydantic import Field, NonNegativeFloat
from pydantic_settings import SettingsConfigDict

from app.settings import Environment, Settings

SAME_SECONDS = 1.0


class HealthSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="HEALTH_")

    drain: NonNegativeFloat = Field(
        default=0.0,
        description="seconds between SIGTERM and the end, for load balancers to see that /readyz fails; 0 where"
        " something else waits, like preStop in Kubernetes",
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, object]]:
    """Stand between SIGTERM and the server; a second SIGTERM stops it at once.

    With several workers the first one may come twice, from whoever stops them all and from their parent.
    """
    readiness = app.state.readiness
    settings: HealthSettings = app.state.health_settings
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)
    timers: list[asyncio.TimerHandle] = []

    def stop_at_once() -> None:
        signal.signal(signal.SIGTERM, stop)

    def wait(number: int) -> None:
        if signal.getsignal(signal.SIGTERM) is drain:  # the service has not ended meanwhile
            timers.append(loop.call_later(min(SAME_SECONDS, settings.drain), stop_at_once))
            timers.append(loop.call_later(settings.drain, signal.raise_signal, number))

    def drain(number: int, frame: FrameType | None) -> None:
        if not readiness.draining:
            readiness.draining = True
            loop.call_soon_threadsafe(wait, number)

    wanted = settings.drain and settings.environment is not Environment.DEVELOPMENT  # where each change restarts it
    waits = bool(wanted) and threading.current_thread() is threading.main_thread()
    if waits:
        signal.signal(signal.SIGTERM, drain)
    yield {}
    for timer in timers:  # of a service that has ended otherwise, within a process that goes on
        timer.cancel()
    if waits:
        signal.signal(signal.SIGTERM, stop)
