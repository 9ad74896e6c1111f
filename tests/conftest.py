"""The template as it lies here, services rendered from it, and a table of what was proven."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from copier import run_copy
from pytest_copie.plugin import Copie

from tests.combinations import FULL, REPOSITORY, Answers, drawn, identify, identify_toggle
from tests.postgresql import PostgreSQL
from tests.redis_server import RedisServer
from tests.renders import hasten
from tests.serving import Service, serve
from tests.suites import LOG

Render = Callable[[Answers], Path]
Copy = Callable[[str, Answers], Path]


GIVEN = {name: os.environ[name] for name in ("TEST_DATABASE_URL", "TEST_REDIS_URL") if name in os.environ}
"""The servers that the caller has given."""


class Suite(Protocol):
    def __call__(self, project: Path, *tests: str) -> tuple[int, str]:
        """Run the suite of a rendered service, or some of its tests; return its exit code and what it printed."""


class Commit(Protocol):
    def __call__(self, folder: Path, *, tag: str | None = None) -> None:
        """Make the folder a git repository if it is none, and commit everything in it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shard", metavar="I/N", help="run the I-th of N parts of the tests")


def pytest_configure(config: pytest.Config) -> None:
    shard = config.getoption("--shard")
    if shard is not None:
        number, _, shards = shard.partition("/")
        if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
            raise pytest.UsageError(f"--shard takes a part and a number of parts, like 2/4, not {shard!r}.")
    # The processes that share the tests inherit it.
    os.environ.setdefault("TOGGLE_SEED", str(random.randrange(10**6)))


def pytest_xdist_auto_num_workers() -> int:
    """Have two for each core: more than a third of what the tests take is waiting."""
    return (os.cpu_count() or 1) * 2


def pytest_report_header() -> str:
    return f"toggles drawn with TOGGLE_SEED={os.environ['TOGGLE_SEED']}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "drawn" in metafunc.fixturenames:
        metafunc.parametrize("drawn", drawn(os.environ["TOGGLE_SEED"]), ids=identify_toggle)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shard := config.getoption("--shard"):
        number, _, shards = shard.partition("/")
        kept = items[int(number) - 1 :: int(shards)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    # What takes longest begins, so that the processes end together.
    items.sort(key=lambda item: not {"newcomer", "suite"} & set(getattr(item, "fixturenames", ())))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many combinations were proven, and which took longest."""
    seconds: dict[str, float] = defaultdict(float)
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        if "test_combinations.py" in report.nodeid and report.nodeid.endswith("]"):
            seconds[report.nodeid.partition("[")[2][:-1]] += report.duration
    if seconds:
        terminalreporter.section(f"{len(seconds)} combinations in {sum(seconds.values()):.1f} s of tests")
        for name, total in sorted(seconds.items(), key=lambda entry: -entry[1])[:10]:
            terminalreporter.line(f"{total:7.2f} s  {name}")


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep out what the developer's own machine would add: Copier's defaults, git's identity and settings."""
    with pytest.MonkeyPatch.context() as patch:
        # A hook of git's sets GIT_DIR, and the commits of the tests would land there.
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        # Suites that run at the same time must not share a database.
        for name in ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "LOG_LEVEL", "HTTP_PROXY", "http_proxy", *GIVEN):
            patch.delenv(name, raising=False)
        home = tmp_path_factory.mktemp("settings")
        (home / "copier.yml").write_text("{}")
        (home / "gitconfig").write_text(
            "[user]\nname = Ada Lovelace\nemail = ada@example.org\n[init]\ndefaultBranch = main\n"
        )
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_renders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch, tmp_path_factory.mktemp("clones"))
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository's files as they lie here, without its history: Copier renders it without cloning."""
    copy = tmp_path_factory.mktemp("template") / "copier-fastapi"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=REPOSITORY, text=True).split("\0"):
        source = REPOSITORY / name
        if source.is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return copy


@pytest.fixture(scope="session")
def commit() -> Commit:
    def commit(folder: Path, *, tag: str | None = None) -> None:
        commands = [["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "state", "--allow-empty"]]
        for command in [*commands, *([["tag", tag]] if tag else [])]:
            subprocess.run(["git", *command], cwd=folder, check=True)

    return commit


@pytest.fixture(scope="session")
def render(copie_session: Copie, template: Path) -> Render:
    """Render a service once for all who only read it."""
    rendered: dict[str, Path] = {}

    def once(answers: Answers) -> Path:
        name = identify(answers)
        if name not in rendered:
            result = copie_session.copy(extra_answers=dict(answers), template_dir=template)
            assert result.exception is None, result.exception
            assert result.project_dir is not None
            rendered[name] = result.project_dir
        return rendered[name]

    return once


@pytest.fixture
def release(template: Path, tmp_path: Path, commit: Commit) -> Path:
    """This template as a repository with one version."""
    folder = tmp_path / "copier-fastapi"
    shutil.copytree(template, folder)
    commit(folder, tag="1.0.0")
    return folder


@pytest.fixture
def copy(release: Path, tmp_path: Path, commit: Commit) -> Copy:
    """Render and commit a service."""

    def copy(name: str, answers: Answers) -> Path:
        run_copy(str(release), tmp_path / name, data=dict(answers), defaults=True, unsafe=True, quiet=True)
        commit(tmp_path / name)
        return tmp_path / name

    return copy


@pytest.fixture
def machine(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a user who has just installed Python and git."""
    programs = tmp_path / "bin"
    programs.mkdir()
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" "$@"\n')  # a link would be where a venv looks
    python.chmod(0o755)
    (programs / "git").symlink_to(shutil.which("git") or "git")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "UV_", "PYENV"))
    }
    return {**kept, "PATH": f"{programs}:/usr/bin:/bin"}


@pytest.fixture(scope="session")
def full(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service with every feature, in a folder that it may write to while it runs."""
    return shutil.copytree(
        render(FULL),
        tmp_path_factory.mktemp("full") / "service",
        ignore=shutil.ignore_patterns("__pycache__", ".suite.log"),
    )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, postgresql: PostgreSQL, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite:///{tmp_path / 'test.db'}" if request.param == "sqlite" else postgresql.create()


@pytest.fixture
def postgres() -> Iterator[PostgreSQL]:
    """A server that no other test uses."""
    server = PostgreSQL()
    yield server
    server.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server that no other test uses, for tests that are marked with `needs_redis`."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def service(full: Path, postgres: PostgreSQL) -> Iterator[Service]:
    with serve(full, postgres) as service:
        yield service


@contextmanager
def suites(**variables: str) -> Iterator[Suite]:
    """Run the suites of rendered services, with further environment variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment = {**inherited, **variables}
    program = [sys.executable, "-P", str(Path(__file__).with_name("suites.py"))]
    if not hasattr(os, "fork"):

        def run(project: Path, *tests: str) -> tuple[int, str]:
            process = subprocess.run([*program, str(project), *tests], env=environment, check=False)
            return process.returncode, (project / LOG).read_text("utf-8")

        yield run
        return

    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(project: Path, *tests: str) -> tuple[int, str]:
            print(json.dumps([str(project), *tests]), file=server.stdin, flush=True)
            return int(server.stdout.readline()), (project / LOG).read_text("utf-8")  # type: ignore[union-attr]  # see above

        yield ask
        server.stdin.close()


@pytest.fixture(scope="session")
def suite() -> Iterator[Suite]:
    with suites() as suite:
        yield suite
