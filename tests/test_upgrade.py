"""A service that somebody lives in takes later versions of the template, in one jump or one by one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from copier import run_recopy

from tests.combinations import BARE, EACH, FULL, Answers, identify, without
from tests.conftest import Commit, Copy
from tests.test_update import live_in, tree, update


def change(template: Path, name: str, old: str, new: str) -> None:
    text = (template / name).read_text("utf-8")
    assert old in text, name
    (template / name).write_text(text.replace(old, new), "utf-8")


def change_code_and_a_shared_list(template: Path) -> None:
    change(template, "template/app/health/checks.py", "CHECK_SECONDS = 1.0", "CHECK_SECONDS = 0.9")
    change(template, "template/pyproject.toml", '  "orjson>=3.13",\n', '  "orjson>=3.13.1",\n  "packaging>=25",\n')
    change(
        template,
        "template/.env.example",
        "# features\n",
        "# features\n\n# seconds between two probes\nHEALTH_PAUSE=5\n",
    )


def ask_something_new(template: Path) -> None:
    question = "greetings:\n  type: bool\n  help: Is it polite?\n  default: false\nsamples:\n  type"
    change(template, "copier.yml", "samples:\n  type", question)
    left_out = (
        "    # {% if greetings is false %}\n    /app/greetings\n    # {% endif %}\n    # {% if database is false %}"
    )
    change(template, "copier.yml", "    # {% if database is false %}", left_out)
    package = template / "template" / "app" / "greetings" / "__init__.py"
    package.parent.mkdir()
    package.write_text(
        '"""Greetings."""\n\nfrom fastapi import FastAPI\n\n\ndef install(app: FastAPI) -> None: ...\n', "utf-8"
    )
    features = "template/app/features.py"
    change(
        template,
        features,
        "    health,\n    http,\n    #",
        "    # {% if greetings %}\n    greetings,\n    # {% endif %}\n    health,\n    http,\n    #",
    )


def move_a_file(template: Path) -> None:
    docs = template / "template" / "docs"
    (docs / "logs.md").rename(docs / "logging.md")
    change(template, "template/docs/README.md", "[logs](logs.md)", "[logs](logging.md)")


def retire_a_question(template: Path) -> None:
    text = (template / "copier.yml").read_text("utf-8")
    before, _, rest = text.partition("python_version:\n")
    (template / "copier.yml").write_text(before + "ci:\n" + rest.partition("\nci:\n")[2], "utf-8")
    change(template, "extensions/context.py", "= frozenset()", '= frozenset(("python_version",))')
    for name in (".devcontainer/devcontainer.json", ".github/workflows/ci.yml", "Dockerfile", ".gitlab-ci.yml"):
        change(template, f"template/{name}", "{@ python_version @}", "3.13")


VERSIONS: dict[str, Callable[[Path], None]] = {
    "1.1.0": change_code_and_a_shared_list,
    "1.2.0": ask_something_new,
    "2.0.0": move_a_file,
    "3.0.0": retire_a_question,
}


@pytest.fixture
def evolve(release: Path, commit: Commit) -> Callable[[], None]:
    def evolve() -> None:
        for version, change_something in VERSIONS.items():
            change_something(release)
            commit(release, tag=version)

    return evolve


@pytest.mark.parametrize(
    "answers",
    [BARE, *(pytest.param(answers, marks=pytest.mark.every_toggle) for answers in EACH), FULL],
    ids=identify,
)
def test_a_lived_in_service_is_upgraded_to_a_fresh_copy_and_the_edits(
    copy: Copy, commit: Commit, evolve: Callable[[], None], answers: Answers
) -> None:
    at_once, one_by_one = copy("at_once", answers), copy("one_by_one", answers)
    for service in (at_once, one_by_one):
        live_in(service)
        commit(service)
    evolve()
    fresh = copy("fresh", answers)
    live_in(fresh)

    update(at_once, version="3.0.0")
    for version in VERSIONS:
        update(one_by_one, version=version)
        commit(one_by_one)

    assert tree(at_once) == tree(fresh)
    assert tree(one_by_one) == tree(fresh)
    assert not (fresh / "app" / "greetings").exists()


def test_features_come_and_go_while_versions_pass(copy: Copy, commit: Commit, evolve: Callable[[], None]) -> None:
    service, between = copy("service", FULL), copy("between", without(FULL, "samples"))
    live_in(service)
    commit(service)
    evolve()
    fresh = copy("fresh", FULL)
    live_in(fresh, like=between)

    update(service, without(FULL, "samples"), version="1.2.0")
    commit(service)
    update(service, version="2.0.0")
    commit(service)
    update(service, {"samples": True})

    assert tree(service) == tree(fresh)


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
