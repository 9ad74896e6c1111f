"""Which broker carries the tasks, how long and how often they may run, and how long is known what became of them."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveInt, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from app.http.urls import with_password
from app.settings import Environment, Settings
from app.tasks.definitions import TASKS

SCHEMES = {"amqp", "amqps", "redis", "rediss"}


def check_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError("a broker is named like amqp://user@host/name or redis://host:6379/0")
    return url


BrokerUrl = Annotated[SecretStr, AfterValidator(check_url)]


class TasksSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="TASKS_")

    redis_url: BrokerUrl | None = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="redis://user:password@host:6379/0, where a feature does not name a server of its own",
    )
    redis_password: SecretStr | None = Field(
        default=None,
        validation_alias="REDIS_PASSWORD",
        description="wins over a password in REDIS_URL, and is written as it is",
    )
    broker_url: BrokerUrl | None = Field(
        default=None,
        description="amqp://user@host/name or redis://…; unset: that of REDIS_URL, or in development none: tasks then"
        " run in the service itself",
    )
    broker_password: SecretStr | None = Field(
        default=None, description="wins over a password in the URL, and is written as it is"
    )
    attempts: PositiveInt = Field(default=3, description="how often a task is begun before it counts as failed")
    soft_limit: PositiveInt = Field(default=60, description="seconds after which a task is broken off")
    hard_limit: PositiveInt = Field(
        default=90, description="seconds after which its process is killed, if it has not ended by then"
    )
    shutdown: PositiveInt = Field(
        default=20, description="seconds that a worker gives its tasks after SIGTERM, before others get them"
    )
    keep: PositiveInt = Field(default=604_800, description="seconds for which it is known what became of a task")

    @model_validator(mode="after")
    def check_broker(self) -> Self:
        if self.environment is Environment.PRODUCTION and self.broker() is None:
            raise ValueError("TASKS_BROKER_URL or REDIS_URL must name a broker in production")
        if self.broker_password is not None and self.broker_url is None and self.redis_url is not None:
            raise ValueError("TASKS_BROKER_PASSWORD needs TASKS_BROKER_URL")
        return self

    @model_validator(mode="after")
    def check_limits(self) -> Self:
        if self.hard_limit <= self.soft_limit:
            raise ValueError("TASKS_SOFT_LIMIT must be below TASKS_HARD_LIMIT: a task needs time to end")
        for definition in TASKS.values():
            options = definition.options
            if (options.soft_limit or self.soft_limit) >= (options.hard_limit or self.hard_limit):
                raise ValueError(f"TASKS_SOFT_LIMIT and TASKS_HARD_LIMIT leave {definition.name} no time to end")
        return self

    def broker(self) -> str | None:
        """Return the URL, with its password where that is given by itself."""
        url, given = (
            (self.broker_url, self.broker_password) if self.broker_url else (self.redis_url, self.redis_password)
        )
        if url is not None and given is not None:
            url = with_password(url, given)
        return url.get_secret_value() if url else None
