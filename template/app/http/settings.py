"""What the service answers to, and how much of it."""

from typing import Annotated

from pydantic import Field, PositiveInt, StringConstraints, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from app.settings import Commas, Environment, Settings

Host = Annotated[str, StringConstraints(pattern=r"^(\*|(\*\.)?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])$")]


class ServiceSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="SERVICE_")

    allowed_hosts: Commas[Host] = Field(
        default=(),
        validate_default=True,
        description="names that the service is called by, like api.example.com or *.example.com; unset: any, but in"
        " production",
    )
    docs: bool | None = Field(
        default=None, description="are /docs and /openapi.json there? unset: everywhere but in production"
    )
    max_body_bytes: PositiveInt = Field(default=1_000_000, description="the longest body that is read")
    max_concurrency: PositiveInt = Field(
        default=500, description="requests that a process works on at the same time; more are answered with 503"
    )

    @field_validator("allowed_hosts")
    @classmethod
    def check_hosts(cls, hosts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("environment") is Environment.PRODUCTION and (not hosts or "*" in hosts):
            raise ValueError("production has to name the hosts that the service is called by")
        return hosts

    @property
    def shows_docs(self) -> bool:
        """Everywhere but in production, unless it is said otherwise."""
        return self.environment is not Environment.PRODUCTION if self.docs is None else self.docs
