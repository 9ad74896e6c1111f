"""Where Redis is, for the features that need it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, PositiveInt, SecretStr, ValidationInfo, field_validator
from redis.asyncio.connection import parse_url

from app.http.urls import with_password
from app.redis.connection import OPTIONS, make
from app.settings import Environment


def check_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        if parse_url(text).keys() & {*OPTIONS, "decode_responses", "max_connections"}:
            raise ValueError
        make(text)
    except (TypeError, ValueError):
        raise ValueError("a server is named like redis://user:password@host:6379/0") from None
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(check_url)]


class RedisFields(BaseModel):
    """Settings of what all processes share in Redis, or each has for itself."""

    workers: PositiveInt = Field(default=1, validation_alias="SERVER_WORKERS", description="processes")
    redis_url: RedisUrl | None = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="redis://user:password@host:6379/0, where a feature does not name a server of its own",
    )
    redis_password: SecretStr | None = Field(
        default=None,
        validation_alias="REDIS_PASSWORD",
        description="wins over a password in REDIS_URL, and is written as it is",
    )
    url: RedisUrl | None = Field(
        default=None, validate_default=True, description="where all processes share it; unset: that of REDIS_URL"
    )

    @field_validator("url")
    @classmethod
    def find_url(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None:
            url, password = info.data.get("redis_url"), info.data.get("redis_password")
            if url is not None and password is not None:
                url = with_password(url, password)
        several = info.data.get("workers", 1) > 1
        if url is None and several and info.data.get("environment") is Environment.PRODUCTION:
            raise ValueError(
                "several processes know of each other only in Redis; production with SERVER_WORKERS needs it"
            )
        return url
