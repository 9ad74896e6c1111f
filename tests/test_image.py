"""The image, as far as that can be shown without an engine: what its Dockerfile says is done here, in empty folders."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.combinations import BARE, FULL, Answers, identify
from tests.conftest import Render
from tests.postgresql import PostgreSQL, free_port
from tests.serving import NO_BROKER, SIGNED_ALIKE, STOPPED, get, listens, run, until
from tests.test_combinations import texts

PLACE = "/service"
"""Where everything lies in the image."""

STRANGERS = (
    ".env",
    ".git/config",
    ".venv/bin/python",
    "app/__pycache__/main.cpython-313.pyc",
    "notes/app/main.py",
    "service.db",
    "tests/test_main.py",
)
"""What may lie in the folder of a service, and has no business in an image."""

MISSING = {
    "bare": {"SERVICE_ALLOWED_HOSTS"},
    "full": {"SERVICE_ALLOWED_HOSTS", "DATABASE_URL", "AUTH_SECRET_KEY", "TASKS_BROKER_URL"},
}

Instruction = tuple[str, str]


def instructions(service: Path) -> list[Instruction]:
    text = (service / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def stages(service: Path) -> tuple[list[Instruction], list[Instruction]]:
    """Return the instructions of the stage that builds, and of the one that is the image."""
    everything = instructions(service)
    starts = [number for number, (name, _) in enumerate(everything) if name == "FROM"]
    assert len(starts) == 2
    assert everything[: starts[0]] == [("ARG", everything[0][1])], "a secret can come in through an argument"
    return everything[starts[0] : starts[1]], everything[starts[1] :]


def is_let_in(patterns: list[str], path: str) -> bool:
    """Say what an engine says: the last line that matches a path, or a folder of it, decides."""
    let_in = True
    for pattern in patterns:
        words = re.split(r"(\*\*/|\*)", pattern.removeprefix("!"))
        expression = "".join({"**/": "(?:.*/)?", "*": "[^/]*"}.get(word, re.escape(word)) for word in words)
        if re.fullmatch(f"{expression}(/.*)?", path):
            let_in = pattern.startswith("!")
    return let_in


def files(folder: Path) -> set[str]:
    """Return the files of a folder, without the environment and what Python writes."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".venv"} & set(path.relative_to(folder).parts)
    }


@dataclass
class Image:
    """What a stage has made: a folder, and variables."""

    context: Path
    folder: Path
    built: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def follow(self, stage: list[Instruction]) -> None:
        self.folder.mkdir()
        for name, rest in stage:
            match name:
                case "COPY":
                    self.copy(*shlex.split(rest))
                case "ENV":
                    for entry in shlex.split(rest.replace(PLACE, str(self.folder))):
                        key, _, value = entry.partition("=")
                        self.variables[key] = value.replace("$PATH", self.variables["PATH"])
                case "RUN" if rest.startswith(("uv ", "python ")):
                    run(self.folder, "bash", "-c", rest, check=True, variables=self.variables)
                case "RUN" | "USER":
                    self.done.append(rest)
                case "CMD":
                    self.command = json.loads(rest)
                case "HEALTHCHECK":
                    self.health = json.loads(rest.partition(" CMD ")[2])
                case _:
                    assert name in {"FROM", "WORKDIR", "EXPOSE"}

    def copy(self, *words: str) -> None:
        *sources, target = words
        if sources[0].startswith("--from="):
            assert self.built is not None
            shutil.copytree(self.built / Path(sources[1]).relative_to(PLACE), self.folder / target, symlinks=True)
            return
        for source in (found for pattern in sources for found in self.context.glob(pattern)):
            if source.is_dir():
                shutil.copytree(source, self.folder / target)
            else:
                shutil.copy2(source, self.folder / target)

    @contextmanager
    def started(self, **variables: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
        environment = {**self.variables, "SERVICE_ALLOWED_HOSTS": "127.0.0.1", "SERVER_PORT": str(free_port())}
        environment |= variables
        with subprocess.Popen(
            self.command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, text=True
        ) as process:
            try:
                until(lambda: listens(int(environment["SERVER_PORT"])) or process.poll() is not None)
                yield process, environment
            finally:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(30)

    def ask(self, environment: Mapping[str, str]) -> tuple[int, float]:
        """Return what the health check ends with, and after how many seconds."""
        started = time.monotonic()
        asked = subprocess.run(self.health, cwd=self.folder, env=environment, capture_output=True, check=False)
        return asked.returncode, time.monotonic() - started


@pytest.fixture(scope="module", params=[BARE, FULL], ids=["bare", "full"])
def image(request: pytest.FixtureRequest, render: Render, tmp_path_factory: pytest.TempPathFactory) -> Image:
    answers: Answers = request.param
    root = tmp_path_factory.mktemp("image")
    service = shutil.copytree(
        render(answers), root / "given", ignore=shutil.ignore_patterns("__pycache__", ".suite.log")
    )
    run(service, find_uv_bin(), "lock", "--quiet", check=True)
    for name in STRANGERS:
        (service / name).parent.mkdir(parents=True, exist_ok=True)
        (service / name).touch()
    patterns = [
        line
        for line in (service / ".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    context = root / "context"
    for path in service.rglob("*"):
        name = path.relative_to(service).as_posix()
        if path.is_file() and is_let_in(patterns, name):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, context / name)

    first, second = stages(service)
    programs = f"{Path(find_uv_bin()).parent}:/usr/local/bin:/usr/bin:/bin"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    build = Image(context, root / "service", variables={"PATH": programs, "UV_PYTHON": python})
    build.follow(first)
    built = build.folder.rename(root / "built")
    # it lies where it has been built, as in the image: scripts know the place of their interpreter
    image = Image(context, root / "service", built, {"PATH": "/usr/bin:/bin"})
    image.follow(second)
    assert build.done == ['pip install --no-cache-dir "uv>=0.13,<0.14"']
    return image


def name_of(image: Image) -> str:
    return "full" if (image.folder / "app" / "database").exists() else "bare"


@pytest.fixture
def variables(image: Image, postgresql: PostgreSQL) -> dict[str, str]:
    """What a service in production needs, with a database that has its tables."""
    if name_of(image) == "bare":
        return {}
    variables = {**SIGNED_ALIKE, **NO_BROKER, "DATABASE_URL": postgresql.create()}
    migrate = ["alembic", "upgrade", "head"]  # as the compose file has it, and with no more variables
    environment = {**image.variables, "DATABASE_URL": variables["DATABASE_URL"]}
    subprocess.run(migrate, cwd=image.folder, env=environment, check=True, capture_output=True)
    return variables


@pytest.mark.parametrize("answers", [BARE, FULL], ids=identify)
def test_hadolint_has_nothing_to_say(render: Render, answers: Answers) -> None:
    program = Path(sys.executable).with_name("hadolint")

    run = subprocess.run([program, "Dockerfile"], cwd=render(answers), capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout) == (0, "")


def test_all_that_it_needs_is_let_in_and_nothing_else(image: Image, render: Render) -> None:
    service = texts(render(FULL if name_of(image) == "full" else BARE))
    needed = {name for name in service if name.startswith(("app/", "migrations/"))} | {"pyproject.toml", "uv.lock"}

    assert files(image.context) == needed
    assert not list(image.context.rglob("__pycache__"))
    if name_of(image) == "full":
        assert {Path(name).suffix for name in needed} >= {".html", ".js", ".mako"}


def test_it_holds_the_service_and_nothing_to_build_it_with(image: Image) -> None:
    programs = {path.name for path in (image.folder / ".venv" / "bin").iterdir()}

    assert files(image.folder) == files(image.context) - {"uv.lock"}
    assert image.built is not None
    assert files(image.built) == {"pyproject.toml", "uv.lock"}
    assert not programs & {"uv", "uvx", "pip", "pytest", "ruff", "mypy", "poe", "prek"}
    for name in (".venv", "app"):
        assert list((image.folder / name).rglob("__pycache__")), "it is compiled, for nothing can be written later"


def test_it_runs_as_nobody_in_particular(image: Image) -> None:
    user, number = image.done

    assert user.startswith("useradd --uid 10001 ")
    assert number == "10001"


def test_without_variables_it_ends_and_says_what_is_missing(image: Image) -> None:
    ended = subprocess.run(
        image.command, cwd=image.folder, env=image.variables, capture_output=True, text=True, check=False, timeout=60
    )

    named = {line.partition(":")[0].split()[0] for line in ended.stderr.splitlines()}
    assert ended.returncode == 78
    assert named == MISSING[name_of(image)]
    assert "Traceback" not in ended.stderr


def test_it_serves_is_well_and_stops(image: Image, variables: dict[str, str]) -> None:
    before = {*image.folder.rglob("*")}

    with image.started(**variables) as (process, environment):
        code, _ = image.ask(environment)
        alive = get(int(environment["SERVER_PORT"]), "/livez").status
        process.terminate()
        process.wait(30)

    assert (code, alive) == (0, 200)
    assert process.returncode in STOPPED
    assert {*image.folder.rglob("*")} == before, "the image can only be read"


def test_a_frozen_service_is_not_well(image: Image, variables: dict[str, str]) -> None:
    with image.started(**variables) as (process, environment):
        process.send_signal(signal.SIGSTOP)
        code, seconds = image.ask(environment)

    assert code == 1
    assert seconds < 5, "the engine waits no longer for it"


def test_a_service_without_its_database_is_alive_and_not_well(image: Image) -> None:
    if name_of(image) == "bare":
        pytest.skip("it has none")
    variables = {**SIGNED_ALIKE, **NO_BROKER, "DATABASE_URL": "postgresql://service@127.0.0.1:1/service"}

    with image.started(**variables) as (_, environment):
        code, seconds = image.ask(environment)
        alive = get(int(environment["SERVER_PORT"]), "/livez").status

    assert (code, alive) == (1, 200)
    assert seconds < 5


def test_its_programs_are_those_of_its_environment(image: Image) -> None:
    commands = {"python", "alembic", "celery"} if name_of(image) == "full" else {"python"}

    found = {command: shutil.which(command, path=image.variables["PATH"]) for command in commands}

    assert all(Path(path or "/").is_relative_to(image.folder) for path in found.values()), found
