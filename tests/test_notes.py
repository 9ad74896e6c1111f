"""After an update, a service says what has changed and what is to be done before the next deploy."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.combinations import BARE, FULL, without
from tests.conftest import Commit, Copy
from tests.serving import run
from tests.test_update import live_in, update
from tests.test_upgrade import VERSIONS, change, move_a_file

NOTES = [sys.executable, "-m", "poethepoet", "-q", "upgrade-notes"]
MIGRATE = ['uv run poe migration "update from the template"', "uv run poe migrate"]

ONE_TABLE = without(without(FULL, "auth"), "tasks")
"""Everything, as far as it needs no table but that of the items."""


def notes(service: Path, *revision: str) -> dict[str, list[str]]:
    """Return the lines of each section, by the first word of its title."""
    said = run(service, *NOTES, *revision)
    assert (said.returncode, said.stderr) == (0, "")
    sections: dict[str, list[str]] = {}
    for paragraph in said.stdout.strip().split("\n\n"):
        title, *lines = paragraph.splitlines()
        sections[re.split("[^A-Za-z]", title)[0]] = [line.removeprefix("  ") for line in lines]
    return sections


def head(service: Path) -> str:
    return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=service, text=True).strip()


def test_what_goes_with_a_feature_is_named_and_what_was_edited_comes_back(copy: Copy, commit: Commit) -> None:
    service = copy("service", FULL)
    live_in(service)
    change(service, "app/items/models.py", "String(100)", "String(80)")
    for name in ("app/items/discounts.py", "tests/items/test_discounts.py"):
        (service / name).write_text('"""Discounts."""\n', "utf-8")
    commit(service)

    update(service, without(FULL, "samples"))

    said = notes(service)
    assert said == {
        "From": [],
        "Version": ["~ samples true -> false"],
        "Settings": ["- RATES_FRANKFURTER_URL", "- RATES_ER_API_URL", "- RATES_TIMEOUT", "- RATES_BASES"],
        "Tables": ["- items"],
        "Gone": ["app/items/models.py", "app/items/schemas.py", "app/rates/service.py"],
        "Left": ["app/items/discounts.py", "tests/items/test_discounts.py"],
        "To": [*MIGRATE, "uv run poe check"],
    }
    subprocess.run(["git", "restore", "--source", head(service), "--", *said["Gone"]], cwd=service, check=True)
    assert "String(80)" in (service / "app" / "items" / "models.py").read_text("utf-8")


def test_what_comes_with_a_feature_is_named(copy: Copy) -> None:
    service = copy("service", without(FULL, "database"))

    update(service, ONE_TABLE)

    said = notes(service)
    assert said["Version"] == ["~ database false -> true"]
    assert "+ DATABASE_POOL_SIZE 15" in said["Settings"]
    assert "+ alembic >=1.20.1" in said["Dependencies"]
    assert said["Tables"] == ["+ items app/items/models.py"]
    assert said["To"] == ["uv lock", *MIGRATE, "uv run poe check"]
    assert said.keys() == {"From", "Version", "Settings", "Dependencies", "Tables", "To"}


def test_without_a_database_nothing_migrates(copy: Copy) -> None:
    service = copy("service", ONE_TABLE)

    update(service, without(FULL, "database"))

    said = notes(service)
    assert said["Tables"] == ["- items"]
    assert said["To"] == ["uv lock", "uv run poe check"]


def test_where_no_model_has_changed_nothing_migrates(copy: Copy) -> None:
    service = copy("service", FULL)

    update(service, {"ci": "gitlab", "description": "Counts what's there, " + "and then " * 15 + "it rests."})

    said = notes(service)
    assert said["To"] == ["uv run poe check"]
    assert said["Version"][1].endswith("and then it rests.")


def test_a_file_that_is_no_text_is_no_obstacle(copy: Copy, commit: Commit) -> None:
    service = copy("service", FULL)
    for name in ("app/items/models.py", "app/rates/schemas.py"):
        (service / name).write_bytes(b"# caf\xe9\n" + (service / name).read_bytes())
    commit(service)

    update(service, without(FULL, "samples"))

    assert notes(service)["Gone"] == ["app/items/models.py", "app/rates/schemas.py"]


def test_a_file_made_from_answers_counts_as_edited_only_when_it_was(copy: Copy, commit: Commit) -> None:
    service, edited = copy("service", {**BARE, "license": "BSD-3-Clause"}), copy("edited", BARE)
    change(edited, ".github/workflows/ci.yml", "timeout-minutes: 15", "timeout-minutes: 20")
    commit(edited)

    for folder in (service, edited):
        update(folder, {"ci": "none", "license": "none"})

    assert "Gone" not in notes(service)
    assert notes(edited)["Gone"] == [".github/workflows/ci.yml"]


def test_the_news_are_those_of_the_versions_crossed(copy: Copy, release: Path, commit: Commit) -> None:
    service, toggled = copy("service", BARE), copy("toggled", BARE)
    for version, evolve in VERSIONS.items():
        evolve(release)
        entry = f"- Version {version}\n  has come.\n- `samples`: better in {version}.\n- `greetings`: new.\n"
        change(release, "CHANGELOG.md", "## Unreleased\n", f"## Unreleased\n\n## {version}\n\n{entry}")
        commit(release, tag=version)

    update(service, version="1.2.0")
    update(toggled, {"samples": True}, version="1.2.0")

    said = notes(service)
    assert said["Version"] == ["~ _commit 1.0.0 -> 1.2.0", "+ greetings false"]
    assert said["News"] == [
        "Version 1.2.0 has come.",
        "`greetings`: new.",
        "Version 1.1.0 has come.",
        "`greetings`: new.",
    ]
    assert said["Settings"] == ["+ HEALTH_PAUSE 5"]
    assert said["Dependencies"] == ["~ orjson >=3.13 -> >=3.13.1", "+ packaging >=25"]
    assert said["To"] == ["uv lock", "uv run poe check"]
    assert "`samples`: better in 1.1.0." in notes(toggled)["News"]


def test_an_edited_file_that_moves_is_named(copy: Copy, release: Path, commit: Commit) -> None:
    service = copy("service", BARE)
    change(service, "docs/logs.md", "# Logs", "# Our logs")
    commit(service)
    move_a_file(release)
    commit(release, tag="2.0.0")

    update(service)

    assert notes(service)["Gone"] == ["docs/logs.md"]
    assert (service / "docs" / "logging.md").exists()


def test_they_can_be_read_again_later_and_for_several_updates(copy: Copy, commit: Commit) -> None:
    service = copy("service", ONE_TABLE)
    deployed = head(service)
    update(service, without(FULL, "database"))
    commit(service)
    update(service, without(without(FULL, "database"), "samples"))
    fresh = notes(service)
    commit(service)
    live_in(service)
    commit(service)

    later, since_the_deploy = notes(service), notes(service, deployed)

    assert later == fresh
    assert later["Version"] == ["~ samples true -> false"]
    assert since_the_deploy["Version"] == ["~ database true -> false", "~ samples true -> false"]


def test_they_cost_nothing_but_reading(copy: Copy) -> None:
    service = copy("service", FULL)
    update(service, BARE)
    status = ["git", "status", "--porcelain", "--ignored"]
    before = subprocess.check_output(status, cwd=service)

    notes(service)

    assert subprocess.check_output(status, cwd=service) == before


def test_a_service_in_a_folder_of_a_larger_repository_has_them_too(copy: Copy, commit: Commit, tmp_path: Path) -> None:
    copy("monorepo/service", FULL)
    shutil.rmtree(tmp_path / "monorepo" / "service" / ".git")
    commit(tmp_path / "monorepo")
    service = tmp_path / "monorepo" / "service"

    update(service, without(FULL, "samples"))
    fresh = notes(service)
    commit(tmp_path / "monorepo")

    assert fresh["Tables"] == ["- items"]
    assert notes(service) == fresh


def test_conflicts_come_first(copy: Copy, release: Path, commit: Commit, tmp_path: Path) -> None:
    copy("monorepo/service", BARE)
    service = tmp_path / "monorepo" / "service"
    shutil.rmtree(service / ".git")
    change(service, "docs/logs.md", "# Logs", "# Our logs")
    change(release, "template/docs/logs.md", "# Logs", "# All logs")
    commit(tmp_path / "monorepo")
    commit(release, tag="1.1.0")
    update(service)

    asked = run(service, *NOTES)

    assert asked.returncode == 1
    assert asked.stdout.splitlines()[1:] == ["  docs/logs.md", ""]
    assert "ask again" in asked.stderr


def test_without_the_template_they_say_what_is_missing(copy: Copy, release: Path) -> None:
    service = copy("service", FULL)
    update(service, without(FULL, "samples"))
    release.rename(release.with_name("elsewhere"))

    said = notes(service)

    assert "does not exist" in said["The"][0]
    assert said["Tables"] == ["- items"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("gh:acme/template", "transport 'https' not allowed"),
        ("gl:acme/template", "transport 'https' not allowed"),
        ("git+ssh://example.org/template", "transport 'ssh' not allowed"),
    ],
)
def test_copiers_short_addresses_are_understood(copy: Copy, source: str, error: str) -> None:
    service = copy("service", BARE)
    change(service, ".copier-answers.yml", "_src_path: ", f"_src_path: {source}\n_was: ")

    said = run(service, *NOTES, variables={"GIT_ALLOW_PROTOCOL": "file"})

    assert error in said.stdout


def asked(service: Path, *arguments: str) -> tuple[int, str, str]:
    said = run(service, *NOTES, *arguments)
    return said.returncode, said.stdout, said.stderr.strip()


def test_where_there_is_nothing_to_compare_they_say_so(copy: Copy, commit: Commit, tmp_path: Path) -> None:
    service = copy("service", BARE)
    update(service, FULL)
    commit(service)
    shallow, left = tmp_path / "shallow", tmp_path / "left"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", service.as_uri(), str(shallow)], check=True)
    shutil.copytree(service, left)
    (left / ".copier-answers.yml").unlink()

    assert asked(copy("fresh", BARE)) == (1, "", "There has been no update yet.")
    assert asked(service, "v9") == (1, "", "fatal: Needed a single revision")
    assert asked(shallow) == (1, "", "The history is not here: git fetch --unshallow")
    assert asked(left) == (1, "", "There is no .copier-answers.yml to compare.")
    shutil.rmtree(service / ".git")
    assert asked(service)[2].startswith("fatal: not a git repository")
