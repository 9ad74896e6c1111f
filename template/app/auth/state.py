"""What is made once for the whole application, and what is known of one caller."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from fastapi import Depends
from fastapi.requests import HTTPConnection

from app.auth.passwords import Passwords
from app.auth.settings import AuthSettings
from app.auth.tokens import AccessToken, Tokens

Credential = Callable[[HTTPConnection], Awaitable[AccessToken | None]]


@dataclass(frozen=True)
class Auth:
    settings: AuthSettings
    passwords: Passwords
    tokens: Tokens
    credentials: list[Credential] = field(default_factory=list)

    async def find_token(self, connection: HTTPConnection) -> AccessToken | None:
        """Return what else than a bearer token stands for somebody, by the first of `credentials` that knows it."""
        for credential in self.credentials:
            if (token := await credential(connection)) is not None:
                return token
        return None


def create_auth() -> Auth:
    settings = AuthSettings()
    return Auth(settings, Passwords(settings), Tokens(settings))


async def get_auth(request: HTTPConnection) -> Auth:
    auth: Auth = request.app.state.auth
    return auth


AuthDep = Annotated[Auth, Depends(get_auth)]


class Caller(NamedTuple):
    address: str | None
    device: str | None


def identify(request: HTTPConnection) -> Caller:
    """A proxy may say anything of an address, and a client of itself; the columns hold so much."""
    address = request.client.host if request.client else ""
    return Caller(printable(address)[:45] or None, printable(request.headers.get("user-agent", ""))[:200] or None)


def printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


async def get_caller(request: HTTPConnection) -> Caller:
    return identify(request)


CallerDep = Annotated[Caller, Depends(get_caller)]
