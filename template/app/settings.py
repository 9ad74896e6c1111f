"""Where settings come from, and what the service knows about itself."""

import os
import tomllib
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings, CliSuppress, SettingsConfigDict

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
