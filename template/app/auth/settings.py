"""How tokens are signed, how long they last, what a password has to be, and how often it may be guessed."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveInt, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from app.settings import ROOT, TESTING, Commas, Environment, Settings

SECRET_BYTES = 32  # as many as SHA-256 gives (RFC 7518, section 3.2)
DISTINCT = 10  # characters; random ones have twice as many
LONGEST_TTL, YEAR = 900, 31_536_000  # seconds
PLACEHOLDER = re.compile(r"change.?(me|this|it)|example|placeholder|your.?secret", re.IGNORECASE)
DEVELOPMENT_SECRET = ROOT / ".auth-secret-key"


def make_secret(path: Path = DEVELOPMENT_SECRET) -> SecretStr:
    """Return the secret of a developer's own service, which is made on its first run and never leaves the machine."""
    if TESTING:
        return SecretStr(secrets.token_urlsafe(SECRET_BYTES))
    try:
        with suppress(FileExistsError), open(path, "x", opener=only_for_me) as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES))
        secret = SecretStr(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path.name} cannot be kept here ({type(error).__name__}): set a secret") from None
    try:
        check_strength(secret)
    except ValueError as error:  # it was cut short
        raise ValueError(f"{error}, unlike what {path.name} holds: delete it") from None
    return secret


def only_for_me(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


class AuthSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="AUTH_")

    secret_key: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="at least 32 random bytes; signs the tokens; unset: one of this folder's own in development alone",
    )
    old_secret_keys: Commas[SecretStr] = Field(
        default=(), description="those before it, whose tokens are still good, like OLDER,OLDEST"
    )
    access_ttl: int = Field(default=900, ge=1, le=LONGEST_TTL, description="seconds that an access token is good for")
    refresh_ttl: int = Field(default=604_800, ge=1, le=YEAR, description="seconds that a refresh token is good for")
    session_ttl: int = Field(
        default=2_592_000, ge=1, le=YEAR, description="seconds after which everybody has to log in again"
    )
    password_min_length: int = Field(default=15, ge=8, description="characters that a new password has at least")
    password_max_length: int = Field(default=128, ge=64, le=4096, description="and at most")
    hash_time_cost: int = Field(default=2, ge=1, description="passes of Argon2id over its memory")
    hash_memory_kib: int = Field(default=19_456, ge=8, description="memory that each hash takes")
    hash_queue: NonNegativeInt = Field(
        default=100, description="how many may wait to be hashed; more are answered with 503"
    )
    account_attempts: PositiveInt = Field(
        default=10, description="failures for one account before it has to wait, up to 15 minutes"
    )
    address_attempts: PositiveInt = Field(
        default=20, description="failures from one address before it has to wait, up to 15 minutes"
    )

    @field_validator("secret_key")
    @classmethod
    def check_secret(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr:
        if secret is None:
            if "environment" not in info.data:  # which is wrong itself, and is named
                return SecretStr("")
            if info.data["environment"] is Environment.PRODUCTION:
                raise ValueError("production needs a secret: openssl rand -hex 32")
            return make_secret()
        check_strength(secret)
        return secret

    @field_validator("password_max_length")
    @classmethod
    def check_lengths(cls, longest: int, info: ValidationInfo) -> int:
        if longest < info.data.get("password_min_length", 0):
            raise ValueError("no password is at least AUTH_PASSWORD_MIN_LENGTH and at most this long")
        return longest

    @field_validator("old_secret_keys")
    @classmethod
    def check_old_secrets(cls, old: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in old:
            check_strength(secret)
        return old

    @property
    def secrets(self) -> list[bytes]:
        """Return what signs, then what only verifies."""
        assert self.secret_key is not None
        return [secret.get_secret_value().encode() for secret in (self.secret_key, *self.old_secret_keys)]


def check_strength(secret: SecretStr) -> None:
    text = secret.get_secret_value()
    if len(text.encode()) < SECRET_BYTES:
        raise ValueError(f"a secret has at least {SECRET_BYTES} bytes")
    if len(set(text)) < DISTINCT or PLACEHOLDER.search(text):
        raise ValueError("this is no secret but a placeholder")
