"""Tokens: signed ones that are good for minutes, and random ones that renew them."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import jwt

from app.auth.settings import LONGEST_TTL, AuthSettings
from app.errors import ServiceError
from app.settings import project

ALGORITHM = "HS256"
TYPE = "at+jwt"  # RFC 9068, section 2.1
CLAIMS = ["iss", "aud", "sub", "iat", "exp", "jti", "sid"]
LEEWAY = 30  # seconds that clocks may differ
LONGEST = 2000  # characters; ours have about 500
REFRESH_PREFIX = "rt_"  # whoever finds one knows what it is


class TokenInvalid(ServiceError):
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, detail: str = "The token is no good, or no longer.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})  # RFC 6750, 3.1


class AccessToken(NamedTuple):
    """Of a user, in a session; `expires_at` is in seconds since 1970."""

    user_id: UUID
    session_id: UUID
    expires_at: float


class UniqueClaims(jwt.PyJWT):
    """A claim that stands there twice is one that somebody else may read differently (RFC 7519, section 4)."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:  # as its base has it
        try:
            claims = json.loads(decoded["payload"], object_pairs_hook=unique)
        except (ValueError, RecursionError) as error:
            raise jwt.DecodeError from error
        if not isinstance(claims, dict):
            raise jwt.DecodeError
        return claims


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # JSON
    claims = dict(pairs)
    if len(claims) != len(pairs):
        raise ValueError
    return claims


class Tokens:
    """The first secret signs, all of them verify; each purpose has a key of its own."""

    def __init__(self, settings: AuthSettings) -> None:
        self.access_ttl = settings.access_ttl
        self.issuer = self.audience = project().name
        self.jwt = UniqueClaims()
        self.refresh_keys = [digest(secret, b"refresh token", sha256) for secret in settings.secrets]
        # By the first part of a token: who always writes the same headers need not read any others.
        self.access_keys = {}
        for secret in reversed(settings.secrets):
            self.access_key = digest(secret, b"access token", sha256)
            self.headers = {"typ": TYPE, "kid": digest(secret, b"key id", sha256).hex()[:16]}
            self.access_keys[self.sign({}).partition(".")[0]] = self.access_key

    def sign(self, claims: dict[str, Any]) -> str:  # JSON
        return self.jwt.encode(claims, self.access_key, ALGORITHM, self.headers)

    def write(self, user_id: UUID, session_id: UUID) -> str:
        now = datetime.now(UTC)
        return self.sign(
            {
                "iss": self.issuer,
                "aud": self.audience,
                "sub": str(user_id),
                "sid": str(session_id),
                "jti": uuid4().hex,
                "iat": now,
                "exp": now + timedelta(seconds=self.access_ttl),
            }
        )

    def read(self, text: str) -> AccessToken:
        """Return what an access token says; raise where it is not one of ours, or no longer good."""
        key = self.access_keys.get(text.partition(".")[0])
        if key is None or len(text) > LONGEST or "=" in text:  # RFC 7515, section 2; PyJWT reads both spellings
            raise TokenInvalid
        try:
            claims = self.jwt.decode(
                text,
                key,
                [ALGORITHM],
                {"require": CLAIMS},
                audience=self.audience,
                issuer=self.issuer,
                leeway=LEEWAY,
            )
            if claims["exp"] - claims["iat"] > LONGEST_TTL:  # TypeError where they are text
                raise TokenInvalid
            return AccessToken(UUID(claims["sub"]), UUID(claims["sid"]), claims["exp"])
        except (jwt.InvalidTokenError, AttributeError, OverflowError, TypeError, ValueError):
            raise TokenInvalid from None

    def hashes(self, refresh_token: str) -> list[str]:
        """Return what a refresh token may be stored as, by each secret; what is stored now is the first."""
        return [digest(key, refresh_token.encode(), sha256).hex() for key in self.refresh_keys]

    def fingerprint(self, text: str) -> str:
        """Return what stands for an address or an account where it need not be read again."""
        return digest(self.refresh_keys[0], f"fingerprint:{text}".encode(), sha256).hex()


def make_refresh_token() -> str:
    return REFRESH_PREFIX + secrets.token_urlsafe(32)
