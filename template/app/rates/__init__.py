"""Sample: exchange rates, asked of several providers at the same time."""

from fastapi import FastAPI

from app.rates.router import router


def install(app: FastAPI) -> None:
    app.include_router(router, prefix="/v1")
