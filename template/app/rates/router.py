"""Endpoints of the exchange rates."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.rates.schemas import Currency, RatesRead
from app.rates.service import RatesServiceDep

router = APIRouter(prefix="/rates", tags=["rates"])


@router.get("/{base}")
async def get_rates(
    base: Annotated[Currency, Path(examples=["CHF"])],
    service: RatesServiceDep,
    symbols: Annotated[
        str | None, Query(description="comma-separated", examples=["EUR,GBP"], pattern="^[A-Z]{3}(,[A-Z]{3})*$")
    ] = None,
) -> RatesRead:
    return await service.get(base, symbols.split(",") if symbols else [])
