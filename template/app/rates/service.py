"""Asks every configured provider at the same time, and lives with some of them failing."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Annotated, NamedTuple

import httpx2
from fastapi import Depends, Request
from pydantic import Field, HttpUrl, PositiveFloat
from pydantic_settings import SettingsConfigDict
from structlog.stdlib import get_logger

# {%- if cache +%}
# {% endif +%}
# {% if cache %}
from app.cache import cached

# {%- endif +%}
from app.errors import ServiceError
from app.http import HttpClientDep
from app.rates import er_api, frankfurter
from app.rates.schemas import ProviderStatus, RatesRead
from app.settings import Settings

logger = get_logger()

Fetch = Callable[[httpx2.AsyncClient, str, str], Awaitable[dict[str, float]]]


class RatesSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="RATES_")

    frankfurter_url: HttpUrl | None = Field(default=None, description="a provider without a URL is not asked")
    er_api_url: HttpUrl | None = Field(default=None, description="the same for the other one")
    timeout: PositiveFloat = Field(default=2.0, description="seconds for a provider's whole answer")


class RatesNotConfigured(ServiceError):
    status = HTTPStatus.SERVICE_UNAVAILABLE


class RatesUnavailable(ServiceError):
    status = HTTPStatus.BAD_GATEWAY


class CurrencyUnknown(ServiceError):
    status = HTTPStatus.NOT_FOUND


class Quote(NamedTuple):
    status: ProviderStatus
    rates: Mapping[str, float] = {}


class RatesService:
    def __init__(self, client: httpx2.AsyncClient, settings: RatesSettings) -> None:
        self.client = client
        self.timeout = settings.timeout
        # in order of preference
        self.providers: dict[str, tuple[Fetch, HttpUrl | None]] = {
            "frankfurter": (frankfurter.fetch, settings.frankfurter_url),
            "er_api": (er_api.fetch, settings.er_api_url),
        }

    async def get(self, base: str, symbols: Collection[str]) -> RatesRead:
        """Return the rates of `symbols`, or all that are known where none are named."""
        quotes = await self.ask_all(base)
        statuses = {name: quote.status for name, quote in quotes.items()}
        if ProviderStatus.OK not in statuses.values():
            raise RatesUnavailable("No provider of exchange rates answered.")

        known: dict[str, float] = {}
        for quote in quotes.values():
            known = {**quote.rates, **known}
        if not known:
            raise CurrencyUnknown(f"No provider that answered knows the currency {base}.")
        known[base] = 1.0
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise CurrencyUnknown(f"No provider that answered knows the currency {', '.join(unknown)}.")

        return RatesRead(base=base, rates={symbol: known[symbol] for symbol in symbols or known}, providers=statuses)

    async def ask_all(self, base: str) -> dict[str, Quote]:
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(self.ask(name, base))
                for name, (_, url) in self.providers.items()
                if url is not None
            }
        if not tasks:
            raise RatesNotConfigured("No provider is configured: set RATES_FRANKFURTER_URL or RATES_ER_API_URL.")
        return {name: task.result() for name, task in tasks.items()}

    async def ask(self, name: str, base: str) -> Quote:
        try:
            async with asyncio.timeout(self.timeout):
                return Quote(ProviderStatus.OK, await self.fetch(name, base))
        except (TimeoutError, httpx2.TimeoutException) as error:
            logger.warning("rates.provider_timeout", provider=name, error=type(error).__name__)
            return Quote(ProviderStatus.TIMEOUT)
        except (httpx2.HTTPError, ValueError) as error:
            logger.warning("rates.provider_error", provider=name, error=type(error).__name__)
            return Quote(ProviderStatus.ERROR)

    # {% if cache %}
    @cached("rates:{name}:{base}", ttl="1h", refresh="10m", shared=True)
    # {% endif %}
    async def fetch(self, name: str, base: str) -> dict[str, float]:
        fetch, url = self.providers[name]
        return await fetch(self.client, str(url).rstrip("/"), base)


async def get_service(request: Request, client: HttpClientDep) -> RatesService:
    return RatesService(client, request.app.state.rates_settings)


RatesServiceDep = Annotated[RatesService, Depends(get_service)]
