"""Endpoints of the exchange rates."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from app import (
    # {% if auth %}
    auth,
    # {% endif %}
    http,
)
from app.rates.schemas import Currency, RatesRead
from app.rates.service import RatesService

router = APIRouter(
    prefix="/rates",
    tags=["rates"],
    # {% if auth %}
    dependencies=[auth.requires("rates")],
    # {% endif %}
)


async def get_service(request: Request, client: http.HttpClientDep) -> RatesService:
    return RatesService(client, request.app.state.rates_settings)


RatesServiceDep = Annotated[RatesService, Depends(get_service)]


@router.get("/{base}")
async def get_rates(
    base: Annotated[Currency, Path(examples=["CHF"])],
    service: RatesServiceDep,
    symbols: Annotated[
        str | None, Query(description="comma-separated", examples=["EUR,GBP"], pattern="^[A-Z]{3}(,[A-Z]{3})*$")
    ] = None,
) -> RatesRead:
    return await service.get(base, symbols.split(",") if symbols else [])
