"""Sample: exchange rates, asked of several providers at the same time."""

from fastapi import FastAPI

from app.rates.router import router
from app.rates.service import RatesSettings


def install(app: FastAPI) -> None:
    app.state.rates_settings = RatesSettings()
    app.include_router(router, prefix="/v1")
