"""Which broker carries the tasks, how long and how often they may run, and how long is known what became of them."""

from typing import Annotated, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, PositiveInt, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

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
    keep: PositiveInt = Field(default=604_800, description="seconds that it is known for what became of a task")

    @model_validator(mode="after")
    def check_broker(self) -> Self:
        if self.environment is Environment.PRODUCTION and self.broker() is None:
            raise ValueError("TASKS_BROKER_URL or REDIS_URL must name a broker in production")
        if self.broker_password is not None and self.broker_url is None:
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
        """Return the URL, with `broker_password` where it is given by itself."""
        url = self.broker_url or self.redis_url
        if url is None or self.broker_password is None:
            return url.get_secret_value() if url else None
        parts = urlsplit(url.get_secret_value())
        password = quote(self.broker_password.get_secret_value(), safe="")
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{password}@{host}"))
