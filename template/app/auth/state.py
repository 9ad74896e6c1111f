"""What is made once for the whole application, and what is known of one caller."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from app.auth.passwords import Passwords
from app.auth.settings import AuthSettings
from app.auth.tokens import Tokens


@dataclass(frozen=True)
class Auth:
    settings: AuthSettings
    passwords: Passwords
    tokens: Tokens


def create_auth() -> Auth:
    settings = AuthSettings()
    return Auth(settings, Passwords(settings), Tokens(settings))


async def get_auth(request: Request) -> Auth:
    auth: Auth = request.app.state.auth
    return auth


AuthDep = Annotated[Auth, Depends(get_auth)]


class Caller(NamedTuple):
    address: str | None
    device: str | None


def identify(request: Request) -> Caller:
    """A proxy may say anything of an address, and a client of itself; the columns hold so much."""
    address = request.client.host if request.client else ""
    return Caller(printable(address)[:45] or None, printable(request.headers.get("user-agent", ""))[:200] or None)


def printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


async def get_caller(request: Request) -> Caller:
    return identify(request)


CallerDep = Annotated[Caller, Depends(get_caller)]
