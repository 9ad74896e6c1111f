"""Health: is the process alive, and can it serve?"""

from http import HTTPStatus

from fastapi import FastAPI

from app.feature import add_lifespan
from app.health.checks import Readiness, State, add_check
from app.health.drain import HealthSettings, lifespan
from app.health.router import NOT_READY, livez, readyz

__all__ = ["State", "add_check", "install"]


def install(app: FastAPI) -> None:
    app.state.readiness = Readiness()
    app.state.health_settings = HealthSettings()
    add_lifespan(app, lifespan)
    # Not through a router of their own, which would take time from every other request.
    app.add_api_route("/livez", livez, tags=["health"])
    app.add_api_route("/readyz", readyz, tags=["health"], responses={HTTPStatus.SERVICE_UNAVAILABLE: NOT_READY})
