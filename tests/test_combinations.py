"""Every combination renders to a service that is formatted, linted, whole, and passes its own tests."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.combinations import ALL, FEATURES, FULL, VARIANTS, Answers, absent_words, identify
from tests.conftest import Render, Suite

pytestmark = pytest.mark.parametrize("answers", [*reversed(ALL), *VARIANTS], ids=identify)

PARSERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}
# Where a word of a feature is an ordinary one: a page of anything has `items`.
ORDINARY = {
    "auth": {".github/workflows/ci.yml", ".gitlab-ci.yml", "compose.yaml"},
    "cache": {
        ".gitignore",
        "Dockerfile",
        "app/auth/roles.py",
        "app/database/models.py",
        "app/database/readiness.py",
        "app/http/client.py",
        "app/http/middleware.py",
        "app/openapi.py",
        "app/settings.py",
        "docs/http.md",
        "docs/versions.md",
        "tests/auth/test_sessions.py",
        "tests/http/test_headers.py",
    },
    "redis": {
        ".env.example",
        "app/tasks/configuration.py",
        "app/tasks/settings.py",
        "app/tasks/transport.py",
        "docs/tasks.md",
        "pyproject.toml",
        "tests/tasks/test_settings.py",
    },
    "tasks": {
        "app/rates/service.py",
        "app/redis/connection.py",
        "docs/README.md",
        "docs/concurrency.md",
        "docs/http.md",
        "docs/logs.md",
        "pyproject.toml",
        "scripts/upgrade_notes.py",
        "tests/database/test_session.py",
        "tests/test_context.py",
    },
    "items": {
        "app/auth/sessions/service.py",
        "app/database/pages.py",
        "app/database/repository.py",
        "app/websockets/demo.html",
        "tests/auth/test_audit.py",
        "tests/auth/test_sessions.py",
        "tests/auth/test_users.py",
        "tests/database/test_pages.py",
    },
    "websockets": {"tests/http/test_admission.py"},
}
WRITTEN = {".suite.log", ".auth-secret-key", ".coverage"}  # by its suite
DIRECTIVE = re.compile(r"\{%|%\}|\{@|@\}|\{#|#\}")


def texts(project: Path) -> dict[str, str]:
    """Return each file of a rendered service by its path."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes().decode("utf-8")
        for path in sorted(project.rglob("*"))
        if path.is_file() and not {"__pycache__", ".ruff_cache"} & set(path.parts) and path.name not in WRITTEN
    }


@cache  # most services have most files alike
def snake_case(text: str) -> str:
    """Return the text with `RatesService` as `rates_service`, so that words can be found in names.

    The method `items()` of every mapping is no word.
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text.replace(".items()", "")).lower()


@cache
def parse(name: str, text: str) -> None:
    if name.endswith(".py"):
        compile(text, name, "exec")
    elif parser := PARSERS.get(Path(name).suffix):
        parser(text)


def test_it_is_formatted_and_linted(render: Render, answers: Answers) -> None:
    for arguments in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--quiet", "--no-cache", "."]
        run = subprocess.run(command, cwd=render(answers), capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_every_file_can_be_parsed(render: Render, answers: Answers) -> None:
    for name, text in texts(render(answers)).items():
        parse(name, text)


def test_no_trace_of_the_template_is_left(render: Render, answers: Answers) -> None:
    for name, text in texts(render(answers)).items():
        assert not DIRECTIVE.search(text.replace("${{", "")), name
        assert "\r" not in text, name
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
        assert "\n\n\n\n" not in text, name
        assert name.endswith((".py", ".md", ".mako")) or "\n\n\n" not in text, name
        assert not name.endswith(".toml") or not re.search(r"[^\n]\n\[", text), name
    assert [path for path in render(answers).rglob("*") if path.is_dir() and not any(path.iterdir())] == []


def test_nothing_of_a_feature_that_is_off_is_left(render: Render, answers: Answers) -> None:
    files = {name: snake_case(f"{name} {text}") for name, text in texts(render(answers)).items()}
    del files[".copier-answers.yml"]
    for word in absent_words(answers):
        pattern = re.compile(rf"(?<![a-z]){re.escape(word)}(?![a-z])")
        found = {name for name, text in files.items() if pattern.search(text)}
        assert found - ORDINARY.get(word, set()) == set(), word


def test_it_needs_what_it_declares_and_nothing_else(render: Render, answers: Answers) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "deptry", "app"], cwd=render(answers), capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr


def read_by_its_suite(project: Path) -> dict[str, str]:
    return {
        name: text
        for name, text in texts(project).items()
        if name not in {".copier-answers.yml", ".gitlab-ci.yml", "Dockerfile"}
        and not name.startswith((".devcontainer/", ".github/"))
    }


def test_its_own_suite_passes(render: Render, suite: Suite, answers: Answers) -> None:
    service, tests = render(answers), ["--cov"] if answers == FULL else []
    if answers != (features := {name: answers[name] for name in FEATURES}):
        ours, theirs = read_by_its_suite(service), read_by_its_suite(render(features))
        different = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
        if not different:
            return  # byte for byte what the suite of the features alone runs on
        if different <= {"LICENSE", "README.md", "pyproject.toml"}:
            # which the tests of no feature read
            tests = [str(path.relative_to(service)) for path in service.glob("tests/test_*.py")]

    code, output = suite(service, *tests)

    assert code == 0, output
    passed = r"^\d+ passed(, \d+ subtests passed)? in"
    assert re.search(passed, output, re.MULTILINE), "some tests were skipped, or none was run\n" + output
    assert answers != FULL or "Required test coverage of 95.0% reached" in output
