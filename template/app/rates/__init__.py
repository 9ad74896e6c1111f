"""Sample: exchange rates, asked of several providers at the same time."""

from fastapi import FastAPI

from app.rates.router import router
from app.rates.service import RatesSettings

# {%- if tasks +%}
from app.rates.tasks import refresh  # noqa: F401  # a worker has to know it

# {%- endif +%}


def install(app: FastAPI) -> None:
    app.state.rates_settings = RatesSettings()
    app.include_router(router, prefix="/v1")
