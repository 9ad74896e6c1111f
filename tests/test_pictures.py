"""The pictures of the README: they show what Copier asks, and what the service offers, as it is now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pictures import API_PICTURE, QUESTIONS_PICTURE, ask, digest
from tests.combinations import REPOSITORY

OUTDATED = "The picture shows something else: `uv run poe pictures` makes it anew."


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return ask(tmp_path_factory.mktemp("asked"))


def test_the_picture_of_the_questions_is_what_a_terminal_shows(asked: tuple[str, Path]) -> None:
    picture, _ = asked

    assert QUESTIONS_PICTURE.read_text("utf-8") == picture, OUTDATED


def test_the_picture_of_the_api_was_made_of_this_service(asked: tuple[str, Path]) -> None:
    _, service = asked

    assert API_PICTURE.read_bytes().count(digest(service).encode()) == 1, OUTDATED


@pytest.mark.parametrize(("found", "missing"), [("npm", "Chromium"), ("chromium", "npm")])
def test_a_program_that_is_missing_is_named_in_a_line(tmp_path: Path, found: str, missing: str) -> None:
    (tmp_path / found).touch(mode=0o755)
    command, environment = [sys.executable, "-m", "docs.pictures"], {"PATH": str(tmp_path)}

    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert re.fullmatch(rf"There is no {missing} .+: install .+\n", run.stderr)
