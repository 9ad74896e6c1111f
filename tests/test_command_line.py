"""Copier's own programs on this template: what goes wrong is said in a line, and leaves everything as it was."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.combinations import BARE, FULL, SETTINGS
from tests.conftest import Commit, Copy, Render
from tests.test_combinations import texts
from tests.test_update import tree


def copier(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "copier", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


UPDATE = ("update", "--trust", "--defaults", "--quiet")
COPY = ("copy", "--trust", "--defaults", "--quiet")


def test_a_folder_that_holds_something_else_is_left_alone(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "README.md").write_text("mine\n", "utf-8")

    run = copier(tmp_path, *COPY, str(release), "service")

    assert run.returncode != 0
    assert state(folder)["README.md"] == b"mine\n"


NAMES = ["my service", "dïenst", "o'neill", 'a "quoted" name', "sub/folder/service", "/".join(["long" * 12] * 5)]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_may_lie_anywhere(release: Path, tmp_path: Path, commit: Commit, name: str) -> None:
    copied = copier(tmp_path, *COPY, str(release), name)
    service = tmp_path / name
    commit(service)
    updated = copier(service, *UPDATE, "-r", ":current:", "-d", "samples=false")

    assert (copied.returncode, updated.returncode) == (0, 0), copied.stderr + updated.stderr
    assert not (service / "app" / "rates").exists()


def test_a_service_may_lie_behind_a_link(template: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "service").symlink_to("disk")

    copied = copier(tmp_path, *COPY, str(template), "service")

    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "disk" / "pyproject.toml").exists()


def test_no_two_files_differ_in_case_alone(render: Render) -> None:
    names = [name.casefold() for name in texts(render(FULL))]

    assert len(names) == len(set(names))


def test_a_full_disk_leaves_no_half_service(template: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")

    run = subprocess.run(
        [sys.executable, "-m", "copier", *COPY, str(template), "service"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)),  # bytes in a file
    )

    assert run.returncode == 1
    assert "File too large" in run.stderr
    assert list(tmp_path.iterdir()) == []


CHECKOUTS = {
    "worktree": "git worktree add --quiet ../other",
    "detached": "git clone --quiet . ../other && git -C ../other checkout --quiet --detach",
    "shallow": 'git clone --quiet --depth 1 "file://$PWD" ../other',
    "submodule": 'git init --quiet .. && git -C .. -c protocol.file.allow=always submodule add --quiet "$PWD" other',
}


@pytest.mark.parametrize("kind", CHECKOUTS)
def test_any_checkout_can_be_updated(copy: Copy, tmp_path: Path, kind: str) -> None:
    subprocess.run(["sh", "-c", CHECKOUTS[kind]], cwd=copy("service", BARE), check=True)

    run = copier(tmp_path / "other", *UPDATE, "-r", ":current:", "-d", "samples=true")

    assert run.returncode == 0, run.stderr
    assert tree(tmp_path / "other") == tree(copy("fresh", {**BARE, "samples": True}))


def test_work_that_is_not_committed_is_not_mixed_with_an_update(copy: Copy) -> None:
    service = copy("service", FULL)
    (service / "README.md").write_text("changed\n", "utf-8")
    before = tree(service)

    run = copier(service, *UPDATE)

    assert run.returncode == 1
    assert "dirty" in run.stderr
    assert tree(service) == before


def test_a_service_does_not_go_back(copy: Copy, release: Path, commit: Commit) -> None:
    commit(release, tag="1.1.0")
    service = copy("service", FULL)
    before = tree(service)

    run = copier(service, *UPDATE, "--vcs-ref", "1.0.0")

    assert run.returncode == 1
    assert "Downgrades are not supported" in run.stderr
    assert tree(service) == before


def test_without_git_there_is_no_update(release: Path, tmp_path: Path) -> None:
    copier(tmp_path, *COPY, str(release), "service")
    before = state(tmp_path / "service")

    run = copier(tmp_path / "service", *UPDATE)

    assert run.returncode == 1
    assert run.stderr.count("\n") <= 2
    assert state(tmp_path / "service") == before


@pytest.mark.parametrize(
    "content", [None, "", "[", "samples: maybe\n"], ids=["missing", "empty", "broken", "no source"]
)
def test_an_update_without_its_answers_changes_nothing(copy: Copy, commit: Commit, content: str | None) -> None:
    service = copy("service", BARE)
    answers = service / ".copier-answers.yml"
    if content is None:
        answers.unlink()
    else:
        answers.write_text(content, "utf-8")
    commit(service)
    before = tree(service)

    run = copier(service, *UPDATE)

    assert run.returncode == 1
    assert tree(service) == before


def test_a_recorded_answer_that_is_wrong_is_named(copy: Copy, commit: Commit) -> None:
    service = copy("service", BARE)
    answers = service / ".copier-answers.yml"
    answers.write_text(answers.read_text("utf-8").replace("license: MIT", "license: GPL"), "utf-8")
    commit(service)
    before = tree(service)

    run = copier(service, *UPDATE, "-r", ":current:")

    assert run.returncode == 1
    assert run.stderr.startswith("license is one of none, MIT, Apache-2.0, BSD-3-Clause, proprietary, not 'GPL'.")
    assert tree(service) == before


def test_the_same_line_changed_twice_is_a_conflict_that_can_be_seen(copy: Copy, release: Path, commit: Commit) -> None:
    service = copy("service", BARE)
    for folder, name in ((service, "docs/logs.md"), (release, "template/docs/logs.md")):
        page = folder / name
        page.write_text(page.read_text("utf-8").replace("# Logs", f"# {folder.name}"), "utf-8")
    commit(service)
    commit(release, tag="1.1.0")

    run = copier(service, *UPDATE)

    status = subprocess.check_output(["git", "status", "--porcelain"], cwd=service, text=True)
    assert run.returncode == 0
    assert "UU docs/logs.md" in status
    assert "<<<<<<<" in (service / "docs" / "logs.md").read_text("utf-8")


def test_an_update_says_when_there_is_one(copy: Copy, release: Path, commit: Commit) -> None:
    service = copy("service", BARE)
    before = copier(service, "check-update", "--quiet")
    commit(release, tag="1.1.0")
    after = copier(service, "check-update", "--quiet")

    assert (before.returncode, after.returncode) == (0, 2)


def test_a_file_in_the_way_is_an_error_and_stays(release: Path, tmp_path: Path) -> None:
    (tmp_path / "services").write_text("a file, not a folder")

    run = copier(tmp_path, *COPY, str(release), "services/mine")

    assert run.returncode != 0
    assert (tmp_path / "services").read_text("utf-8") == "a file, not a folder"


def test_a_copy_that_was_killed_is_repaired_by_the_next(release: Path, tmp_path: Path) -> None:
    copier(tmp_path, *COPY, str(release), "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "half")
    for number, path in enumerate(sorted((tmp_path / "half").rglob("*.py"))):
        if number % 3 == 0 or path.parent.name == "versions":  # a migration that is there is the service's own
            path.unlink()
        elif number % 3 == 1:
            path.write_text("half a fi", "utf-8")

    run = copier(tmp_path, *COPY, "--overwrite", str(release), "half")

    assert run.returncode == 0, run.stderr
    assert state(tmp_path / "half") == state(tmp_path / "whole")


def test_the_template_runs_nothing_but_its_extensions() -> None:
    assert {"_tasks", "_migrations"} & SETTINGS.keys() == set()
