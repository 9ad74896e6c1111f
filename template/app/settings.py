"""Where settings come from, and what the service knows about itself."""

import os
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, CliSuppress, SettingsConfigDict, SettingsError

ROOT = Path(__file__).parents[1]


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """The base of every settings class: the environment first, then `.env`; an empty value counts as unset."""

    model_config = SettingsConfigDict(
        # A developer's own values stay out of the tests.
        env_file=None if os.environ.get("SERVICE_ENVIRONMENT") == Environment.TEST else ROOT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    environment: CliSuppress[Environment] = Field(
        default=Environment.PRODUCTION, validation_alias="SERVICE_ENVIRONMENT"
    )

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the name of the variable that a field is read from."""
        alias = cls.model_fields[field].validation_alias if field in cls.model_fields else field
        return str(alias or f"{cls.model_config.get('env_prefix', '')}{field}").upper()

    @classmethod
    def explain(cls, error: ValidationError) -> Iterator[str]:
        """Yield what is wrong, a line for each variable, and never its value."""
        for wrong in error.errors():
            fields = [cls.variable(str(field)) for field in wrong["loc"][:1]]
            yield ": ".join([*fields, wrong["msg"].removeprefix("Value error, ")])

    @classmethod
    def mistakes(cls) -> Iterator[str]:
        """Yield what is wrong with this class and all that derive from it."""
        try:
            cls()
        except ValidationError as error:
            yield from cls.explain(error)
        except SettingsError as error:  # a list or a dictionary that is no JSON
            yield f"{cls.__name__}: {error}"
        for derived in cls.__subclasses__():
            yield from derived.mistakes()


class ServiceSettings(Settings):
    """`max_body_bytes` holds for every request; a router or an endpoint may have a limit of its own."""

    model_config = SettingsConfigDict(env_prefix="SERVICE_")

    docs: bool | None = None
    max_body_bytes: PositiveInt = 1_000_000

    @property
    def shows_docs(self) -> bool:
        """Everywhere but in production, unless it is said otherwise."""
        return self.environment is not Environment.PRODUCTION if self.docs is None else self.docs


class Project(NamedTuple):
    name: str
    version: str
    description: str


@cache
def project() -> Project:
    """Read `[project]` of `pyproject.toml`, the one place that names this service."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return Project(metadata["name"], metadata["version"], metadata["description"])
