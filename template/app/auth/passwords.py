"""Passwords: what they have to be, and their hashes, which never stop the service from answering others."""

import os
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from app.auth.settings import AuthSettings
from app.errors import ServiceError

SPELLINGS = 4  # characters that may stand for one


class PasswordTooShort(ServiceError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class PasswordTooLong(ServiceError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooManyLogins(ServiceError):
    status = HTTPStatus.SERVICE_UNAVAILABLE


class Passwords:
    """Argon2id with the parameters of OWASP's password storage cheat sheet, a few hashes at a time."""

    def __init__(self, settings: AuthSettings) -> None:
        self.min_length = settings.password_min_length
        self.max_length = settings.password_max_length
        self.queue = settings.hash_queue
        self.places_taken = 0
        self.limiter = CapacityLimiter(min(4, os.cpu_count() or 1))
        self.hasher = PasswordHash(
            [Argon2Hasher(time_cost=settings.hash_time_cost, memory_cost=settings.hash_memory_kib, parallelism=1)]
        )
        self.nobodys = self.hasher.hash("")

    def check_length(self, password: SecretStr) -> None:
        length = len(self.normalize(password))
        if length < self.min_length:
            raise PasswordTooShort(f"A password has at least {self.min_length} characters.")
        if length > self.max_length:
            raise PasswordTooLong(f"A password has at most {self.max_length} characters.")

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait to be one of the few whose passwords are hashed at the moment; raise where too many wait."""
        if self.places_taken >= self.limiter.total_tokens + self.queue:
            raise TooManyLogins("Too many people log in at the moment: try again.", headers={"Retry-After": "1"})
        self.places_taken += 1
        try:
            async with self.limiter:
                yield
        finally:
            self.places_taken -= 1

    async def hash(self, password: SecretStr) -> str:
        """Hash a new password; raise where it is too short or too long."""
        self.check_length(password)
        async with self.turn():
            return await run_sync(self.hasher.hash, self.normalize(password))

    async def verify(self, password: SecretStr, hash: str | None) -> tuple[bool, str | None]:
        """Return whether it matches, and a new hash where the parameters have changed; to be called in one's turn.

        Without a hash it takes as long: nobody can tell by the time whether an account exists.
        """
        text = self.normalize(password)
        matches, renewed = await run_sync(self.hasher.verify_and_update, text, hash or self.nobodys)
        return matches and hash is not None, renewed

    def normalize(self, password: SecretStr) -> str:
        """Return one spelling of what looks the same, as `é` does in one character and in two (NIST SP 800-63B).

        What is far too long stays as it is: a megabyte of accents would take minutes, in which nobody is answered.
        """
        text = password.get_secret_value()
        return unicodedata.normalize("NFKC", text) if len(text) <= SPELLINGS * self.max_length else text
