"""Endpoints of the exchange rates."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import requires

# {%- endif +%}
from app.rates.schemas import Currency, RatesRead
from app.rates.service import RatesServiceDep

# {% if not auth %}
router = APIRouter(prefix="/rates", tags=["rates"])
# {% endif %}
# {% if auth %}
router = APIRouter(prefix="/rates", tags=["rates"], dependencies=[requires("rates")])
# {% endif %}


@router.get("/{base}")
async def get_rates(
    base: Annotated[Currency, Path(examples=["CHF"])],
    service: RatesServiceDep,
    symbols: Annotated[
        str | None, Query(description="comma-separated", examples=["EUR,GBP"], pattern="^[A-Z]{3}(,[A-Z]{3})*$")
    ] = None,
) -> RatesRead:
    return await service.get(base, symbols.split(",") if symbols else [])
