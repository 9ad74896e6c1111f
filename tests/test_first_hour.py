"""A newcomer's first hour: the commands and the files of the documents, in their order, as they stand there."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from uv import find_uv_bin

from tests.combinations import REPOSITORY
from tests.conftest import Commit, Copy
from tests.postgresql import free_port
from tests.serving import PASSWORD, log_in
from tests.test_readme import started, wait_for
from tests.test_upgrade import change

Machine = Mapping[str, str]

UNMEASURED = {"PYTEST_ADDOPTS": "--no-cov '-Wignore:Coverage disabled'"}
"""Coverage takes as long again: it is measured with what the tutorial adds, and where there are few tests."""

COPY = re.findall(r"^uvx .+ copy .+$", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE)[0]
SOURCE = "gh:OWNER/copier-fastapi"

# A block with the file that it goes into, if it has one, and the line that it goes below, if it is not the whole file.
BLOCK = re.compile(
    r"(?:^`(?P<file>[^`\n]+)`(?:, below the first `(?P<anchor>[^`\n]+)`)?:\n\n)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def newcomer(machine: Machine, tmp_path: Path) -> Machine:
    """The environment of somebody who has just installed uv as well."""
    for name in ("uv", "uvx"):
        (tmp_path / "bin" / name).symlink_to(Path(find_uv_bin()).with_name(name))
    return machine


def enter(command: str, folder: Path, newcomer: Machine, *, typed: str = "") -> str:
    """Return what a command has said, on either channel; it has to have succeeded, within ten minutes."""
    run = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=newcomer,
        capture_output=True,
        text=True,
        check=False,
        input=typed,
        timeout=600,
    )
    assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
    return run.stdout + run.stderr


def next_steps(said: str) -> list[str]:
    """Return the commands that Copier names at the end, without what it says of them."""
    lines = re.findall(r"^ {2}(\S.*)$", said.partition("\nNext:\n")[2], re.MULTILINE)
    return [re.sub(r" {2,}\(.+\)$", "", line) for line in lines]


def start(answers: str, release: Path, newcomer: Machine) -> tuple[Path, str]:
    """Return a service that has been rendered, locked and committed, and the command that serves it."""
    said = enter(f"{COPY.replace(SOURCE, str(release))} --defaults {answers}", release.parent, newcomer)
    *prepare, serve = next_steps(said)
    enter("\n".join(["set -e", *prepare]), release.parent, newcomer)
    return release.parent / COPY.split()[-1], serve


@contextmanager
def served(serve: str, service: Path, newcomer: Machine) -> Iterator[str]:
    """Give out the URL of the service while it runs."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with started(serve, service, {**newcomer, "SERVER_PORT": str(port)}) as process:
        wait_for(f"{url}/readyz", process)
        yield url


def follow_the_tutorial(service: Path, newcomer: Machine) -> None:
    page = service / "docs" / "tutorial.md"
    written = {page: page.read_text("utf-8")}
    for block in BLOCK.finditer(written[page]):
        if block["language"] == "console":
            for command in block["text"].splitlines():
                enter(command, service, newcomer)
            continue
        file = service / block["file"]
        text = block["text"]
        if block["anchor"]:
            head, anchor, tail = file.read_text("utf-8").partition(f"{block['anchor']}\n")
            assert anchor
            text = head + anchor + text + tail
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        written[file] = text

    assert {file: file.read_text("utf-8") for file in written} == written, "The tutorial is not formatted."
    assert enter("git status --porcelain", service, newcomer) == ""


def update(choice: str, service: Path, newcomer: Machine) -> str:
    """Take what the service's README says that brings another answer, or a version where none is given.

    Then do what Copier names, and what the notes name, which ends with a check. Return the notes.
    """
    readme = (service / "README.md").read_text("utf-8")
    newest, other_answer = re.findall(r"^uvx .+ copier update .+$", readme, re.MULTILINE)
    command = other_answer.replace("-d FEATURE=true", choice) if choice else newest
    said = enter(command, service, newcomer)
    status, ask_notes, keep = next_steps(said)

    assert "UU" not in enter(status, service, newcomer)
    notes = enter(ask_notes, service, newcomer)
    todo = re.findall(r"^ {2}(\S.*)$", notes.partition("\nTo do")[2], re.MULTILINE)
    assert todo[-1] == "uv run poe check"
    for command in todo:
        enter(command, service, newcomer)
    enter(keep, service, newcomer)

    return notes


def publish(release: Path, commit: Commit) -> None:
    """Publish a version that changes code and says so."""
    change(release, "template/app/health/checks.py", "CHECK_SECONDS = 1.0", "CHECK_SECONDS = 0.9")
    change(release, "CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n## 1.1.0 - 2026-12-01\n\n- Quicker checks.\n")
    commit(release, tag="1.1.0")


def test_a_service_with_a_database_where_people_log_in(release: Path, newcomer: Machine, commit: Commit) -> None:
    measured, newcomer = newcomer, {**newcomer, **UNMEASURED}
    service, serve = start("-d auth=true", release, newcomer)
    enter("uv run poe check", service, newcomer)
    readme = (service / "README.md").read_text("utf-8")
    create_admin, email = re.findall(r"`(uv run poe create-admin (\S+?))`", readme)[0]
    samples_off = re.findall(r"`(-d samples=false)`", readme)[0]
    with served(serve, service, newcomer) as url:
        enter(create_admin, service, newcomer, typed=f"{PASSWORD}\n")
        listed = httpx2.get(f"{url}/v1/items", headers=log_in(url, email))
    assert listed.json()["items"] == []

    follow_the_tutorial(service, measured)
    with served(serve, service, newcomer) as url:
        order = {"number": "2026-1", "total_cents": 4990}
        unknown = httpx2.post(f"{url}/v1/orders", json=order)
        created = httpx2.post(f"{url}/v1/orders", json=order, headers=log_in(url, email))
    assert unknown.status_code == 401
    assert created.status_code == 201

    update(samples_off, service, newcomer)
    assert not (service / "app" / "items" / "__init__.py").exists()
    update("-d cache=true -d rate_limit=true", service, newcomer)
    assert (service / "app" / "cache" / "__init__.py").exists()
    publish(release, commit)
    notes = update("", service, newcomer)
    assert "Quicker checks." in notes

    with served(serve, service, newcomer) as url:
        kept = httpx2.get(f"{url}{created.headers['Location']}", headers=log_in(url, email))
    assert kept.json() == created.json()


@pytest.mark.every_toggle
def test_a_service_without_a_database(release: Path, newcomer: Machine, commit: Commit) -> None:
    service, serve = start("-d database=false", release, newcomer)
    samples_off = re.findall(r"`(-d samples=false)`", (service / "README.md").read_text("utf-8"))[0]

    follow_the_tutorial(service, newcomer)
    update(samples_off, service, newcomer)
    assert not (service / "app" / "rates" / "__init__.py").exists()
    update("-d cache=true -d websockets=true", service, newcomer)
    assert (service / "app" / "websockets" / "__init__.py").exists()
    publish(release, commit)
    notes = update("", service, newcomer)
    assert "Quicker checks." in notes

    with served(serve, service, newcomer) as url:
        quote = httpx2.post(f"{url}/v1/orders/quotes", json={"pieces": 2})
    assert quote.json() == {"total_cents": 998}


@pytest.mark.every_toggle
def test_the_tutorial_where_nobody_has_to_log_in(copy: Copy, newcomer: Machine) -> None:
    """Run what it brings in the environment of this repository: test_combinations.py runs the rest."""
    shared = {"UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1"}
    own = {"PYTEST_ADDOPTS": f"{UNMEASURED['PYTEST_ADDOPTS']} tests/orders tests/database/test_migrations.py"}

    follow_the_tutorial(copy("service", {"auth": False}), {**newcomer, **shared, **own})
