"""Where settings come from, and what the service knows about itself."""

import os
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    CliSuppress,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

ROOT = Path(__file__).parents[1]
SECRETS = Path("/run/secrets")  # where Docker puts them, and Kubernetes if it is told to

T = TypeVar("T")
Commas = Annotated[
    tuple[T, ...],
    NoDecode,
    BeforeValidator(lambda value: [part.strip() for part in value.split(",")] if isinstance(value, str) else value),
]


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


# A developer's own values stay out of the tests.
TESTING = os.environ.get("SERVICE_ENVIRONMENT") == Environment.TEST


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `ORDERS_KEY` from the file that `ORDERS_KEY_FILE` names, or from `/run/secrets/orders_key`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        assert issubclass(self.settings_cls, Settings)
        variable = self.settings_cls.variable(field_name)
        key = str(field.validation_alias or field_name)
        path = os.environ.get(f"{variable}_FILE")
        if not path and (TESTING or not (SECRETS / variable.lower()).is_file()):
            return None, key, False
        if path and os.environ.get(variable):
            raise SettingsError(f"{variable} and {variable}_FILE are both set")
        try:
            text = Path(path or SECRETS / variable.lower()).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}_FILE: {type(error).__name__}") from None
        return text or None, key, False

    def __call__(self) -> dict[str, Any]:  # as its base has it
        found = [self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items()]
        return {key: value for value, key, _ in found if value is not None}


class Settings(BaseSettings):
    """The base of every settings class: the environment, files of secrets, `.env`; an empty value counts as unset."""

    model_config = SettingsConfigDict(
        env_file=None if TESTING else ROOT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    environment: CliSuppress[Environment] = Field(
        default=Environment.PRODUCTION,
        validation_alias="SERVICE_ENVIRONMENT",
        description="development, test or production; `poe dev` sets it",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from; the first one that has a value wins."""
        return init_settings, env_settings, SecretFiles(settings_cls), dotenv_settings

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


class Project(NamedTuple):
    name: str
    version: str
    description: str


@cache
def project() -> Project:
    """Read `[project]` of `pyproject.toml`, the one place that names this service."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return Project(metadata["name"], metadata["version"], metadata["description"])
