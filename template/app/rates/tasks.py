"""What is done with rates by the clock."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict
from structlog.stdlib import get_logger

from app.rates.schemas import Currency
from app.rates.service import CurrencyUnknown, RatesService, RatesUnavailable
from app.settings import Commas, Settings
from app.tasks import Run, task

logger = get_logger()


class RefreshSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="RATES_")

    bases: Commas[Currency] = Field(default=(), description="currencies whose rates are asked for every hour")


@task("rates.refresh", schedule="0 * * * *", retry_on=(RatesUnavailable,), reads=True)
async def refresh(run: Run) -> list[str]:
    """Ask for the rates of `RATES_BASES`, so that what all processes share is fresh; return those that are known."""
    service = RatesService(run.opened["http_client"], run.app.state.rates_settings)
    known = []
    for base in RefreshSettings().bases:
        try:
            known.append((await service.get(base, [])).base)
        except CurrencyUnknown:
            logger.warning("rates.currency_unknown", base=base)
    return known
