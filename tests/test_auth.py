"""Who logs in, on either database, through processes of their own; and how items that exist get an owner."""

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.combinations import FULL, without
from tests.conftest import Copy
from tests.postgresql import PostgreSQL
from tests.serving import COMMAND, PASSWORD, SUITE, alembic, create_user, run, served
from tests.test_update import update

EMAIL = "ada@example.org"


class Site:
    """A service that runs, with a user."""

    def __init__(self, url: str) -> None:
        self.url = url

    def log_in(self, password: str = PASSWORD, email: str = EMAIL) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/auth/token", data={"username": email, "password": password}, timeout=60)

    def refresh(self, token: str) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/auth/refresh", json={"refresh_token": token}, timeout=60)

    def get(self, path: str, tokens: dict[str, str]) -> httpx2.Response:
        return self.call("GET", path, tokens)

    def call(self, method: str, path: str, tokens: dict[str, str], json: object = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return httpx2.request(method, f"{self.url}{path}", headers=headers, json=json, timeout=60)


def at_once(number: int, call: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(lambda _: call(), range(number)))


def statuses(responses: list[httpx2.Response]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def test_many_who_come_at_once(full: Path, database: str, subtests: pytest.Subtests) -> None:
    assert alembic(full, database, "upgrade", "head").returncode == 0
    create_user(full, database, EMAIL)
    # On SQLite, which production refuses, one process; on PostgreSQL two, which know nothing of each other.
    variables = {"DATABASE_URL": database, "SERVICE_ENVIRONMENT": "test", "AUTH_HASH_QUEUE": "100"}
    workers = 1 if database.startswith("sqlite") else 2
    with served(full, COMMAND, workers=workers, variables=variables) as (_, port, _):
        site = Site(f"http://127.0.0.1:{port}")
        with subtests.test("fifty who log in all get in"):
            assert statuses(at_once(50, site.log_in)) == {200: 50}
        with subtests.test("of twenty refreshes one succeeds"):
            token = site.log_in().json()["refresh_token"]
            assert statuses(at_once(20, lambda: site.refresh(token))) == {200: 1, 401: 19}
        with subtests.test("a session that ends in one process ends in all"):
            tokens = site.log_in().json()
            headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            httpx2.post(f"{site.url}/v1/auth/logout", headers=headers)
            assert statuses(at_once(10, lambda: site.get("/v1/users/me", tokens))) == {401: 10}
        with subtests.test("of forty guesses no more are looked at than ten and those being hashed"):
            looked_at = statuses(at_once(40, lambda: site.log_in("wrong")))
            assert looked_at.total() == 40
            assert looked_at.keys() == {401, 429}
            assert 10 <= looked_at[401] < 10 + workers * min(4, os.cpu_count() or 1)


def test_who_is_just_being_changed_is_not_let_in_meanwhile(full: Path, postgresql: PostgreSQL) -> None:
    database = postgresql.create()
    assert alembic(full, database, "upgrade", "head").returncode == 0
    create_user(full, database, EMAIL)
    with served(full, COMMAND, variables={"DATABASE_URL": database}) as (_, port, _):
        site = Site(f"http://127.0.0.1:{port}")
        with postgresql.locked(database, "SELECT FROM users FOR UPDATE"):
            meanwhile = site.log_in()
        after = site.log_in()

    assert meanwhile.status_code == 503
    assert after.status_code == 200


OWNED = {"/v1/auth/sessions/{id}", "/v1/items/{id}", "/v1/tasks/{id}"}
"""What belongs to somebody."""


def test_what_belongs_to_somebody_is_there_for_nobody_else(
    full: Path, database: str, subtests: pytest.Subtests
) -> None:
    """Every operation on a single object, as the description has it, for its owner and for others."""
    assert alembic(full, database, "upgrade", "head").returncode == 0
    for name, role in {"owner": "user", "stranger": "user", "auditor": "auditor"}.items():
        create_user(full, database, f"{name}@example.org", role=role)
    variables = {"DATABASE_URL": database, "SERVICE_ENVIRONMENT": "test"}
    with served(full, COMMAND, variables=variables) as (_, port, _):
        site = Site(f"http://127.0.0.1:{port}")
        others = {name: site.log_in(email=f"{name}@example.org").json() for name in ("stranger", "auditor")}
        description = httpx2.get(f"{site.url}/openapi.json").json()
        paths = {path: methods for path, methods in description["paths"].items() if path.endswith("{id}")}
        assert paths.keys() == {*OWNED, "/v1/users/{id}"}, "whose is it?"
        for path, method in [(owned, method) for owned in OWNED for method in paths[owned]]:
            owner = site.log_in(email="owner@example.org").json()
            id = make(site, description, path.removesuffix("/{id}"), owner)
            for name, tokens in others.items():
                with subtests.test(f"{method} {path}: {name}"):
                    theirs, unknown = (
                        site.call(method, path.format(id=each), tokens, json={}) for each in (id, str(uuid4()))
                    )
                    refused = 403 if name == "auditor" and "x-permissions" in paths[path][method] else 404
                    assert theirs.status_code == unknown.status_code == refused
                    assert problem(theirs) == problem(unknown)
            with subtests.test(f"{method} {path}: owner"):
                assert site.call(method, path.format(id=id), owner, json={}).is_success


def make(site: Site, description: dict[str, Any], path: str, tokens: dict[str, str]) -> str:  # JSON
    """Make what the description shows as an example, where anything can be made; return the newest of what there is."""
    if path == "/v1/tasks":
        return str(site.call("POST", "/v1/items/reports", tokens).json()["id"])
    if create := description["paths"][path].get("post"):
        schema = create["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        example = {**description["components"]["schemas"][schema]["examples"][0], "name": str(uuid4())}
        assert site.call("POST", path, tokens, json=example).status_code == 201
    return str(site.get(path, tokens).json()["items"][0]["id"])


def problem(response: httpx2.Response) -> dict[str, str]:
    """Return what is the same for whatever was asked for."""
    document = response.json()
    id = document["instance"].rpartition("/")[2]
    return {key: str(value).replace(id, "") for key, value in document.items() if key != "request_id"}


def test_without_its_database_nobody_gets_in_and_nobody_is_thrown_out(full: Path, postgres: PostgreSQL) -> None:
    database = postgres.create()
    assert alembic(full, database, "upgrade", "head").returncode == 0
    create_user(full, database, EMAIL)
    with served(full, COMMAND, variables={"DATABASE_URL": database}) as (_, port, _):
        site = Site(f"http://127.0.0.1:{port}")
        tokens = site.log_in().json()
        postgres.stop()
        down = [site.log_in(), site.get("/v1/users/me", tokens), site.refresh(tokens["refresh_token"])]
        postgres.start()
        up = [site.get("/v1/users/me", tokens), site.refresh(tokens["refresh_token"]), site.log_in()]

    assert statuses(down) == {503: 3}
    assert {response.json()["type"] for response in down} == {"/problems/database_unavailable"}
    assert statuses(up) == {200: 3}


ITEM = """
INSERT INTO items (id, name, price_cents, created_at, updated_at)
VALUES ('01a2063797eb7e6799e9f1ca88af824b', 'Lamp', 5, '2026-11-22 00:00:00+00:00', '2026-11-22 00:00:00+00:00')
"""
OWNERS = "SELECT items.name, users.email FROM items JOIN users ON users.id = items.owner_id"
GIVE = "UPDATE items SET owner_id = (SELECT id FROM users WHERE email = 'ada@example.org')"


@pytest.fixture
def execute(database: str, postgresql: PostgreSQL) -> Callable[[str], list[tuple[str, ...]]]:
    """Do something with the database beside the service."""

    def execute(statement: str) -> list[tuple[str, ...]]:
        if not database.startswith("sqlite"):
            return [tuple(row.values()) for row in postgresql.execute(statement, database)]
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection, connection:
            return connection.execute(statement).fetchall()

    return execute


def write_migration(service: Path, database: str, message: str, old: str, new: str) -> None:
    """Let the service write a migration, edit it as its documentation says, and apply it."""
    before = {*(service / "migrations" / "versions").iterdir()}
    written = alembic(service, database, "revision", "--autogenerate", "--message", message)
    assert written.returncode == 0, written.stderr
    (path,) = {*(service / "migrations" / "versions").iterdir()} - before
    text, times = re.subn(old, new, path.read_text("utf-8"), count=1)
    assert times == 1, text
    path.write_text(text, "utf-8")
    applied = alembic(service, database, "upgrade", "head")
    assert applied.returncode == 0, applied.stderr


def test_items_that_are_there_already_get_an_owner(
    copy: Copy, database: str, execute: Callable[[str], list[tuple[str, ...]]]
) -> None:
    service = copy("service", without(FULL, "auth"))
    assert alembic(service, database, "upgrade", "head").returncode == 0
    execute(ITEM)

    update(service, FULL)
    nullable = r'(sa\.Column\("owner_id", sa\.Uuid\(\), nullable=)False'
    write_migration(service, database, "add users", nullable, r"\1True")
    create_user(service, database, EMAIL)
    write_migration(
        service, database, "items have owners", r"(?=    with op\.batch_alter_table)", f'    op.execute("{GIVE}")\n'
    )

    assert execute(OWNERS) == [("Lamp", "ada@example.org")]
    assert alembic(service, database, "check").returncode == 0
    suite = run(service, *SUITE, "tests/database/test_migrations.py", "tests/items")
    assert suite.returncode == 0, suite.stdout
