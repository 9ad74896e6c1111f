"""Where the database is, and how long anybody waits for it."""

from typing import Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.settings import ROOT, Environment, Settings

DRIVERS = {"postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}


class DatabaseSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="DATABASE_")

    url: SecretStr = Field(
        default=SecretStr(f"sqlite:///{ROOT / 'service.db'}"),
        description="postgresql://user@host/name, or sqlite:///file.db outside production",
    )
    password: SecretStr | None = Field(
        default=None, description="wins over a password in the URL, and is written as it is"
    )
    pool_size: PositiveInt = Field(default=15, description="connections that each process keeps")
    pool_overflow: NonNegativeInt = Field(
        default=0, description="how many more it opens for a single use each when all are taken"
    )
    pool_timeout: PositiveFloat = Field(default=1.0, description="seconds that a request waits for a free connection")
    connect_timeout: PositiveFloat = Field(default=1.0, description="seconds that it waits for a new one")
    command_timeout: NonNegativeFloat = Field(
        default=3.0, description="seconds after which PostgreSQL counts as gone; 0: never"
    )
    statement_timeout: NonNegativeFloat = Field(
        default=2.5, description="seconds after which PostgreSQL itself ends a statement; 0: never"
    )
    lock_timeout: NonNegativeFloat = Field(
        default=2.0, description="seconds after which PostgreSQL itself ends the wait for a lock; 0: never"
    )
    idle_in_transaction_timeout: NonNegativeFloat = Field(
        default=30.0, description="seconds after which PostgreSQL ends a transaction that does nothing; 0: never"
    )

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
