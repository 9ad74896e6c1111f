"""Users on the command line, in a database of these tests' own: what they commit stays."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic import command
from alembic.config import Config
from anyio.to_thread import run_sync
from httpx2 import AsyncClient
from typer.testing import CliRunner, Result

from app.auth.commands import app as commands
from app.main import create_app
from app.settings import ROOT
from scripts import routes
from tests.fixtures.auth import PASSWORD, log_in
from tests.fixtures.http import connect

ADA = "ada@example.org"


@pytest.fixture
def no_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'test.db'}")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables of the newest migration."""
    file = tmp_path_factory.mktemp("migrated") / "test.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", f"sqlite:///{file}")
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
    return file


@pytest.fixture
def tables(no_tables: None, migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path)


@pytest.fixture
async def client(tables: None) -> AsyncGenerator[AsyncClient]:
    """A client of a service with the same database."""
    async with connect(create_app()) as client:
        yield client


def invoke(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(commands, arguments, typed)


async def run(*arguments: str, typed: str = "") -> str:
    """Run a command beside the service, and return what it prints."""
    result = await run_sync(partial(invoke, *arguments, typed=typed))
    assert result.exit_code == 0, result.stderr
    return result.stdout


async def test_who_is_created_can_log_in(client: AsyncClient) -> None:
    printed = await run("create", "Ada@Example.org", "--roles", "admin,user", "--name", "Ada", typed=f"{PASSWORD}\n")

    await log_in(client)
    account = (await client.get("/v1/users/me")).json()
    assert (account["email"], account["name"], account["roles"]) == (ADA, "Ada", ["admin", "user"])
    assert printed == ""


async def test_everybody_is_on_the_list(client: AsyncClient) -> None:
    await run("create", "eve@example.org", typed=PASSWORD)
    await run("create", ADA, "--roles", "user,admin", typed=PASSWORD)
    await run("deactivate", "eve@example.org")

    printed = await run("list")

    assert printed.splitlines() == [
        "ada@example.org  admin,user  active",
        "eve@example.org  user  inactive",
    ]


async def test_who_is_deactivated_is_out_at_once(client: AsyncClient) -> None:
    await run("create", ADA, typed=PASSWORD)
    await log_in(client)

    await run("deactivate", "ADA@example.org")

    assert (await client.get("/v1/users/me")).status_code == HTTPStatus.UNAUTHORIZED
    again = await client.post("/v1/auth/token", data={"username": ADA, "password": PASSWORD})
    assert again.status_code == HTTPStatus.UNAUTHORIZED


async def test_who_is_activated_logs_in_again(client: AsyncClient) -> None:
    await run("create", ADA, typed=PASSWORD)
    await log_in(client)
    await run("deactivate", ADA)

    await run("activate", ADA)

    assert (await client.get("/v1/users/me")).status_code == HTTPStatus.UNAUTHORIZED
    await log_in(client)


async def test_roles_are_replaced_at_once(client: AsyncClient) -> None:
    await run("create", ADA, "--roles", "user", typed=PASSWORD)
    await log_in(client)

    await run("roles", ADA, "admin")

    assert (await client.get("/v1/users/me")).json()["roles"] == ["admin"]


async def test_a_new_password_ends_what_the_old_one_began(client: AsyncClient) -> None:
    await run("create", ADA, typed=PASSWORD)
    await log_in(client)

    await run("password", ADA, typed="another horse, another battery")

    assert (await client.get("/v1/users/me")).status_code == HTTPStatus.UNAUTHORIZED
    old = await client.post("/v1/auth/token", data={"username": ADA, "password": PASSWORD})
    assert old.status_code == HTTPStatus.UNAUTHORIZED
    await log_in(client, password="another horse, another battery")
    await run("roles", ADA, "auditor")
    assert '"password_reset"' in (await client.get("/v1/audit")).text


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        (["create", "eve@example.org"], "hunter2", "A password has at least 15 characters."),
        (["create", "eve@example.org"], "", "A password has at least 15 characters."),
        (["create", "eve@example.org"], "x" * 129, "A password has at most 128 characters."),
        (["create", "Ada@example.org"], PASSWORD, "There is such a user already."),
        (["create", "no address"], PASSWORD, "email: "),
        (["create", "eve@example.org", "--roles", "user,king"], PASSWORD, "roles: There is no such role"),
        (["create", "eve@example.org", "--name", "a\nb"], PASSWORD, "name: "),
        (["roles", ADA, "king"], "", "roles: There is no such role"),
        (["roles", "eve@example.org", "user"], "", "There is no such user."),
        (["activate", "eve@example.org"], "", "There is no such user."),
        (["deactivate", "eve@example.org"], "", "There is no such user."),
        (["password", "eve@example.org"], PASSWORD, "There is no such user."),
        (["password", ADA], "hunter2", "A password has at least 15 characters."),
    ],
)
def test_a_mistake_is_told_in_one_line(tables: None, arguments: list[str], typed: str, message: str) -> None:
    invoke("create", ADA, typed=PASSWORD)

    result = invoke(*arguments, typed=typed)

    assert result.exit_code == 1
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output
    assert invoke("list").stdout == "ada@example.org  user  active\n"


@pytest.mark.parametrize("arguments", [["create", ADA], ["list"], ["roles", ADA, "user"], ["password", ADA]])
def test_a_database_without_tables_is_told_in_one_line(no_tables: None, arguments: list[str]) -> None:
    result = invoke(*arguments, typed=PASSWORD)

    assert result.exit_code == 1
    assert "has `poe migrate` been run?" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DATABASE_URL", "hunter2", "DATABASE_URL is like"),
        ("DATABASE_POOL_SIZE", "hunter2", "DATABASE_POOL_SIZE: "),
        ("DATABASE_PASSWORD_FILE", "/hunter2", "DATABASE_PASSWORD_FILE: FileNotFoundError"),
        ("AUTH_SECRET_KEY", "hunter2", "AUTH_SECRET_KEY: a secret has"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(
    tables: None, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)

    result = invoke("list")

    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output


class Terminal:
    """Somebody who types at a terminal, and what they see."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.seen = ""

    def read_until(self, text: str) -> None:
        while not self.seen.endswith(text):
            readable, _, _ = select.select([self.terminal], [], [], 30)
            assert readable, self.seen
            self.seen += os.read(self.terminal, 1000).decode()

    def answer(self, prompt: str, text: str) -> None:
        self.read_until(prompt)
        os.write(self.terminal, f"{text}\n".encode())


@contextmanager
def at_terminal(*arguments: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = os.openpty()
    line = [sys.executable, "-m", "app.auth.commands", *arguments]
    with subprocess.Popen(
        line, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        try:
            yield Terminal(ours), process
            process.wait(30)
        finally:
            process.kill()
            os.close(theirs)
            os.close(ours)


def test_a_terminal_asks_twice_and_shows_nothing(tables: None) -> None:
    with at_terminal("create", ADA) as (terminal, process):
        terminal.answer("Password: ", PASSWORD)
        terminal.answer("Once more: ", PASSWORD)
        terminal.read_until("Once more: \r\n")

    assert process.returncode == 0, terminal.seen
    assert terminal.seen.split() == ["Password:", "Once", "more:"]
    assert invoke("list").stdout == "ada@example.org  user  active\n"


def test_two_passwords_have_to_be_one(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SimpleNamespace(isatty=lambda: True)
    with monkeypatch.context() as patch:
        patch.setattr("app.auth.commands.sys", SimpleNamespace(stdin=terminal))
        patch.setattr("app.auth.commands.getpass", lambda prompt: f"{PASSWORD}, {prompt}")
        result = invoke("create", ADA)

    assert result.exit_code == 1
    assert result.stderr == "They are not the same.\n"
    assert PASSWORD not in result.output
    assert invoke("list").stdout == ""


def test_every_route_is_printed_with_its_policy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    routes.main()

    printed = {tuple(line.split(maxsplit=2)) for line in capsys.readouterr().out.splitlines()}
    assert {
        ("POST", "/v1/auth/token", "public"),
        ("GET", "/v1/users/me", "signed in"),
        ("GET", "/v1/users", "users:read"),
        ("POST", "/v1/users", "users:write"),
        ("GET", "/v1/audit", "audit:read"),
    } <= printed
    operations = create_app().openapi()["paths"]
    assert {path for _, path, _ in printed} >= operations.keys()
    assert "NOBODY HAS SAID" not in {policy for _, _, policy in printed}
