"""A service takes later versions of the template and other answers, as if it had been rendered with them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from copier import run_copy, run_update

from tests.combinations import ALL, FEATURES, FULL, Answers, identify, valid
from tests.conftest import Commit

Copy = Callable[[str, Answers], Path]

TOGGLES = [(before, after) for before in ALL for name in FEATURES if valid(after := {**before, name: not before[name]})]


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


def update(service: Path, answers: Answers | None = None) -> None:
    run_update(service, data=dict(answers or {}), defaults=True, overwrite=True, unsafe=True, quiet=True)


def tree(service: Path) -> dict[str, bytes]:
    """Return each file by its path, but for the migrations: their history belongs to the service."""
    names = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=service, text=True
    ).splitlines()
    return {
        name: (service / name).read_bytes()
        for name in names
        if (service / name).is_file() and not name.startswith("migrations/versions/")
    }


@pytest.mark.parametrize(("before", "after"), TOGGLES, ids=identify)
def test_a_toggle_gives_what_a_fresh_copy_gives(copy: Copy, before: Answers, after: Answers) -> None:
    service = copy("service", before)

    update(service, after)

    assert tree(service) == tree(copy("fresh", after))
    folders = [path for path in service.rglob("*") if path.is_dir() and ".git" not in path.parts]
    assert [path for path in folders if not any(path.iterdir())] == []


@pytest.mark.parametrize(("before", "after"), TOGGLES, ids=identify)
def test_a_toggle_keeps_what_the_owner_wrote(copy: Copy, commit: Commit, before: Answers, after: Answers) -> None:
    service = copy("service", before)
    edited = []
    for name, content in tree(service).items():
        if b"# this service\n" in content:
            (service / name).write_bytes(content.replace(b"# this service\n", b"# this service\n# the owner's line\n"))
            edited.append(name)
    commit(service)

    update(service, after)

    assert len(edited) >= 6
    for name in edited:
        text = (service / name).read_text("utf-8")
        assert "# the owner's line" in text, name
        assert "<<<<<<<" not in text, name


def test_a_later_version_arrives(copy: Copy, release: Path, commit: Commit) -> None:
    service = copy("service", FULL)
    page = release / "template" / "docs" / "logs.md"
    page.write_text(page.read_text("utf-8") + "\nOne more sentence.\n", "utf-8")
    commit(release, tag="1.1.0")

    update(service)

    assert "One more sentence." in (service / "docs" / "logs.md").read_text("utf-8")
