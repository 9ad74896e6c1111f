"""Users on the command line: `poe create-admin` makes the first one, `poe users --help` lists what else there is."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from getpass import getpass
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker

from app.auth.audit import Audit
from app.auth.models import User
from app.auth.roles import ROLES
from app.auth.settings import AuthSettings
from app.auth.state import create_auth
from app.auth.users.schemas import UserCreate, UserUpdate
from app.auth.users.service import UserService
from app.database import DatabaseSettings, create_engine
from app.errors import ServiceError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

NO_UTF_8 = "The password is not in UTF-8."

Email = Annotated[str, typer.Argument(help="the e-mail address")]
Work = Callable[[UserService], Awaitable[object]]


@asynccontextmanager
async def transaction() -> AsyncGenerator[UserService]:
    engine = create_engine(DatabaseSettings(), pooled=False)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with sessions.begin() as session:
        yield UserService(session, sessions, create_auth(), Audit(sessions))


def run(work: Work) -> None:
    """Do the work in one transaction; say in one line what is wrong, or of each setting."""
    if mistakes := [*DatabaseSettings.mistakes(), *AuthSettings.mistakes()]:
        typer.echo("\n".join(mistakes), err=True)
        raise typer.Exit(1)

    async def in_transaction() -> None:
        async with transaction() as service:
            await work(service)

    try:
        asyncio.run(in_transaction())
        return
    except ValidationError as error:
        message = "; ".join(
            f"{found['loc'][0]}: {found['msg'].removeprefix('Value error, ')}" for found in error.errors()
        )
    except ServiceError as error:
        message = error.detail
    except UnicodeError:
        message = NO_UTF_8
    except IntegrityError:
        message = "There is such a user already."
    except (SQLAlchemyError, OSError) as error:
        name = type(error).__name__
        message = f"The database does not answer as it should ({name}): is it there, and has `poe migrate` been run?"
    typer.echo(message, err=True)
    raise typer.Exit(1)


def ask_password() -> SecretStr:
    """Ask twice, without showing it; or take a line of what is piped in."""
    if not sys.stdin.isatty():
        try:
            return SecretStr(sys.stdin.readline().rstrip("\n"))
        except UnicodeError:
            typer.echo(NO_UTF_8, err=True)
            raise typer.Exit(1) from None
    password = getpass("Password: ")
    if password != getpass("Once more: "):
        typer.echo("They are not the same.", err=True)
        raise typer.Exit(1)
    return SecretStr(password)


def split(roles: str) -> list[str]:
    return [role.strip() for role in roles.split(",") if role.strip()]


async def find(service: UserService, email: str) -> User:
    user = await service.users.find_by_email(email)
    if user is None:
        typer.echo("There is no such user.", err=True)
        raise typer.Exit(1)
    return user


@app.command()
def create(
    email: Email,
    roles: Annotated[str, typer.Option(help=f"some of {', '.join(ROLES)}, with commas between them")] = "user",
    name: str = "",
) -> None:
    """Make a user, and ask for the password."""
    password = ask_password()

    async def work(service: UserService) -> None:
        await service.create(UserCreate(email=email, password=password, roles=split(roles), name=name), None)

    run(work)


@app.command("list")
def list_users() -> None:
    """Print address, roles and state of everybody, a line for each."""

    async def work(service: UserService) -> None:
        for user in await service.users.everybody():
            typer.echo(f"{user.email}  {','.join(user.roles) or '-'}  {'active' if user.is_active else 'inactive'}")

    run(work)


def update(email: str, **changes: object) -> None:
    async def work(service: UserService) -> None:
        user = await find(service, email)
        await service.update(user.id, UserUpdate.model_validate(changes), None)

    run(work)


@app.command()
def activate(email: Email) -> None:
    """Let somebody in again."""
    update(email, is_active=True)


@app.command()
def deactivate(email: Email) -> None:
    """Keep somebody out from now on, and end their sessions."""
    update(email, is_active=False)


@app.command()
def roles(email: Email, roles: Annotated[str, typer.Argument(help="all that they shall have, with commas")]) -> None:
    """Replace somebody's roles."""
    update(email, roles=split(roles))


@app.command()
def password(email: Email) -> None:
    """Give somebody a new password, and end their sessions."""
    text = ask_password()

    async def work(service: UserService) -> None:
        await service.reset_password((await find(service, email)).id, text)

    run(work)


if __name__ == "__main__":
    app()
