"""Health: is the process alive, and can it serve?"""

from fastapi import FastAPI

from app.health.checks import add_check
from app.health.router import router

__all__ = ["add_check", "install"]


def install(app: FastAPI) -> None:
    app.state.readiness_checks = {}
    app.include_router(router)
