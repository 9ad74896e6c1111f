"""A service takes later versions of the template and other answers, as if it had been rendered with them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from copier import run_copy, run_recopy, run_update

from tests.combinations import ALL, FEATURES, FULL, Answers, identify, valid, without
from tests.conftest import Commit
from tests.serving import run

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


def test_the_history_of_migrations_is_never_touched(copy: Copy, release: Path, commit: Commit) -> None:
    service = copy("service", FULL)
    versions = service / "migrations" / "versions"
    first = versions / "0001_initial.py"
    first.write_text(f"{first.read_text('utf-8')}\n# the owner's line\n", "utf-8")
    (versions / "0002_own.py").write_text("# the owner's own\n", "utf-8")
    commit(service)
    before = {path.name: path.read_text("utf-8") for path in versions.iterdir()}
    shipped = release / "template" / "migrations" / "versions"
    (shipped / "0001_initial.py").write_text("# changed\n", "utf-8")
    (shipped / "0003_more.py").write_text("# added\n", "utf-8")
    commit(release, tag="1.1.0")

    update(service)
    commit(service)
    updated = {path.name: path.read_text("utf-8") for path in versions.iterdir()}
    run_recopy(service, defaults=True, overwrite=True, unsafe=True, quiet=True)
    recopied = {path.name: path.read_text("utf-8") for path in versions.iterdir()}

    assert updated == before
    assert {name: recopied[name] for name in before} == before


def test_without_a_database_the_history_stays_and_nothing_reads_it(copy: Copy) -> None:
    service = copy("service", FULL)

    update(service, without(FULL, "database"))

    assert (service / "migrations" / "versions" / "0001_initial.py").exists()
    assert not (service / "migrations" / "env.py").exists()
    for arguments in (["ruff", "check"], ["ruff", "format", "--check"], ["deptry", "app"], ["mypy"]):
        checked = run(service, sys.executable, "-m", *arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_with_a_database_the_owner_writes_the_history(copy: Copy) -> None:
    service = copy("service", without(FULL, "database"))

    update(service, FULL)
    assert not (service / "migrations" / "versions").exists()
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/database/test_migrations.py"]
    missed = run(service, *suite)
    written = run(service, sys.executable, "-m", "poethepoet", "-q", "migration", "first tables")
    found = run(service, *suite)

    assert missed.returncode == 1
    assert written.returncode == 0, written.stderr
    assert found.returncode == 0, found.stdout
