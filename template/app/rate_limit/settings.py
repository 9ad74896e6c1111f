"""The numbers of the limits, and where is counted."""

from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from app.rate_limit.policies import Policy, Rate, check_declared
from app.redis import RedisFields
from app.settings import Commas, Settings

OFF = "off"  # an empty value would be the default


def parse_default(value: object) -> object:
    if not isinstance(value, str):
        return value
    return None if value == OFF else Rate.parse(value)


class NamedRate(NamedTuple):
    name: str
    rate: Rate

    @classmethod
    def parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        name, _, rate = value.partition("=")
        return cls(name, Rate.parse(rate))

    def __str__(self) -> str:
        return f"{self.name}={self.rate}"


class RateLimitSettings(RedisFields, Settings):
    model_config = SettingsConfigDict(env_prefix="RATE_LIMIT_")

    default: Annotated[Rate | None, NoDecode, BeforeValidator(parse_default)] = Field(
        default=Rate(100, "minute"),
        description=f"what each caller may do: a number per second, minute, hour, day; {OFF}",
    )
    routes: Commas[Annotated[NamedRate, BeforeValidator(NamedRate.parse)]] = Field(
        default=(), description="limits of single routes, instead of those in the code, like exports=10/minute"
    )

    @field_validator("routes")
    @classmethod
    def check_routes(cls, routes: tuple[NamedRate, ...]) -> tuple[NamedRate, ...]:
        for name, _ in routes:
            check_declared(name)
        if len(dict(routes)) < len(routes):
            raise ValueError("a name comes twice")
        return routes

    def policies(self) -> tuple[Policy | None, dict[str, Policy]]:
        """Return that of every request, and those that replace what the code says."""
        default = Policy("default", self.default) if self.default else None
        return default, {name: Policy(name, rate) for name, rate in self.routes}
