"""Which pages of other origins may call the service from a browser: none, until some are named."""

from typing import Annotated

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from pydantic import Field, NonNegativeInt, StringConstraints, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from app.settings import Commas, Environment, Settings

# As browsers write it: without a path, not even a slash.
Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?)$")]

Method = Annotated[str, StringConstraints(pattern="^[A-Z]+$")]


class CorsSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="CORS_")

    credentials: bool = Field(default=False, description="may these pages send cookies?")
    origins: Commas[Origin] = Field(
        default=(), description="origins of pages that may call the service, like https://shop.example"
    )
    methods: Commas[Method] = Field(
        default=("GET", "POST", "PUT", "PATCH", "DELETE"), description="what these pages may do"
    )
    headers: Commas[str] = Field(
        default=("Authorization", "X-Request-ID"), description="request headers that these pages may set"
    )
    exposed_headers: Commas[str] = Field(
        default=("X-Request-ID",), description="response headers that these pages may read"
    )
    max_age: NonNegativeInt = Field(default=600, description="seconds for which a browser remembers this")

    @field_validator("origins")
    @classmethod
    def check_origins(cls, origins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "*" in origins and info.data.get("credentials"):
            raise ValueError("with CORS_CREDENTIALS every origin has to be named")
        if info.data.get("environment") is Environment.PRODUCTION:
            if "*" in origins:
                raise ValueError("every origin has to be named in production")
            if any(origin.startswith("http:") for origin in origins):
                raise ValueError("origins must be https in production")
        return origins


def add_cors(app: FastAPI) -> None:
    settings = CorsSettings()
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=settings.methods,
            allow_headers=settings.headers,
            allow_credentials=settings.credentials,
            expose_headers=settings.exposed_headers,
            max_age=settings.max_age,
        )
