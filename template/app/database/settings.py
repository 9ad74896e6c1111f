"""Where the database is, and how long anybody waits for it."""

from typing import Self

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.settings import ROOT, Environment, Settings

DRIVERS = {"postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}


class DatabaseSettings(Settings):
    """Times are in seconds. 0 means for ever for the last four, of which PostgreSQL itself keeps three."""

    model_config = SettingsConfigDict(env_prefix="DATABASE_")

    url: SecretStr = SecretStr(f"sqlite:///{ROOT / 'service.db'}")
    password: SecretStr | None = None
    pool_size: PositiveInt = 15
    pool_overflow: NonNegativeInt = 0
    pool_timeout: PositiveFloat = 2.0
    connect_timeout: PositiveFloat = 1.0
    command_timeout: NonNegativeFloat = 3.0
    statement_timeout: NonNegativeFloat = 2.5
    lock_timeout: NonNegativeFloat = 2.0
    idle_in_transaction_timeout: NonNegativeFloat = 30.0

    @model_validator(mode="after")
    def check_url(self) -> Self:
        try:
            url = self.parsed_url()
        except (ArgumentError, KeyError):
            raise ValueError("DATABASE_URL is like postgresql://user@host/name or sqlite:///file.db") from None
        if url.get_backend_name() == "sqlite":
            if url.database in {None, "", ":memory:"}:
                raise ValueError("DATABASE_URL names no file: like sqlite:///file.db")
            if self.environment is Environment.PRODUCTION:
                raise ValueError("DATABASE_URL must name a PostgreSQL database in production")
        return self

    @model_validator(mode="after")
    def check_timeouts(self) -> Self:
        if self.command_timeout and not 0 < self.statement_timeout < self.command_timeout:
            raise ValueError(
                "DATABASE_STATEMENT_TIMEOUT must be below DATABASE_COMMAND_TIMEOUT: a slow server is not gone"
            )
        return self

    def parsed_url(self) -> URL:
        """Return the URL with our driver, and with `password` where it is given by itself."""
        url = make_url(self.url.get_secret_value())
        url = url.set(drivername=DRIVERS[url.get_backend_name()])
        if "sslmode" in url.query:  # the name that libpq gives it, and that providers hand out
            url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
        if self.password is not None and url.get_backend_name() != "sqlite":
            url = url.set(password=self.password.get_secret_value())
        return url
