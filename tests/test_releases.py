"""Services of every released version take the template as it lies here."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from copier import run_copy

from extensions.context import QUESTIONS
from tests.combinations import BARE, FEATURES, FULL, REPOSITORY, Answers, identify
from tests.conftest import Commit, Suite
from tests.test_update import live_in, prove_working, tree, update

NEWEST = "9999.0.0"


def git(*arguments: str, folder: Path = REPOSITORY) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()


def version(commit: str) -> str | None:
    text = git("show", f"{commit}:pyproject.toml")
    return tomllib.loads(text)["project"]["version"] if text else None


def released() -> dict[str, str]:
    """Return the commit of each version, the first one first: that which changed the version of this repository."""
    commits = git("log", "--reverse", "--format=%H", "-G^version = ", "--", "pyproject.toml").splitlines()
    versions = [(version(f"{commit}~"), version(commit), commit) for commit in commits]
    return {new: commit for old, new, commit in versions if old and new and old != new}


RELEASES = released()


def test_the_history_is_here() -> None:
    assert git("rev-parse", "--is-shallow-repository") == "false", "fetch the whole history: git fetch --unshallow"
    assert RELEASES, "no commit changes the version in pyproject.toml"


def test_the_changelog_ends_with_the_newest_release() -> None:
    titles = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    here = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert titles == ["Unreleased", *reversed(RELEASES)]
    assert here == list(RELEASES)[-1]


@pytest.fixture(scope="module")
def history(template: Path, tmp_path_factory: pytest.TempPathFactory, commit: Commit) -> Path:
    """This repository with a tag for each release, and one more for what lies here."""
    folder = tmp_path_factory.mktemp("history") / "copier-fastapi"
    git("clone", "--quiet", "--no-tags", str(REPOSITORY), str(folder))
    for name, released in RELEASES.items():
        git("tag", name, released, folder=folder)
    git("rm", "-r", "--quiet", ".", folder=folder)
    shutil.copytree(template, folder, dirs_exist_ok=True)
    commit(folder, tag=NEWEST)
    return folder


def questions(version: str) -> set[str]:
    return set(yaml.safe_load(git("show", f"{RELEASES[version]}:copier.yml")))


def test_a_later_feature_is_off_where_a_service_lives() -> None:
    later = {name for name in FEATURES if name not in questions(next(iter(RELEASES)))}

    assert {name: QUESTIONS[name]["default"] for name in later} == dict.fromkeys(later, False)


@pytest.mark.parametrize("answers", [BARE, FULL], ids=identify)
@pytest.mark.parametrize("first", RELEASES)
def test_a_lived_in_service_of_a_release_becomes_a_fresh_copy_with_the_edits(
    history: Path, tmp_path: Path, commit: Commit, suite: Suite, first: str, answers: Answers
) -> None:
    def copy(name: str, version: str, answers: Answers) -> Path:
        asked = {name: answer for name, answer in answers.items() if name in questions(first)}
        run_copy(str(history), tmp_path / name, data=asked, vcs_ref=version, defaults=True, unsafe=True, quiet=True)
        commit(tmp_path / name)
        return tmp_path / name

    untouched, fresh = copy("untouched", first, answers), copy("clean", NEWEST, answers)
    at_once = shutil.copytree(untouched, tmp_path / "at_once")
    live_in(at_once, like=fresh)
    live_in(fresh, like=untouched)
    commit(at_once)
    one_by_one = shutil.copytree(at_once, tmp_path / "one_by_one")

    update(at_once, version=NEWEST)
    for later in [*list(RELEASES)[list(RELEASES).index(first) + 1 :], NEWEST]:
        update(one_by_one, version=later)
        commit(one_by_one)

    assert tree(at_once) == tree(fresh)
    assert tree(one_by_one) == tree(fresh)
    prove_working(at_once, suite)
