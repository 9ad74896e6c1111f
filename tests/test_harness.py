"""The proofs themselves: they see what they are there to see, and grow with the questions alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from copier import run_copy, run_update
from copier.errors import UserMessageError

from tests.combinations import ALL, BARE, FULL, REPOSITORY, Answers
from tests.conftest import Commit, Render, Suite


class Break(Protocol):
    def __call__(self, file: str, edit: Callable[[str], str], answers: Answers = FULL, *, test: str = "") -> str: ...


@pytest.fixture
def broken(render: Render, suite: Suite, tmp_path: Path) -> Break:
    """Change one file of a service, and return what its suite then prints, or the tests of one name."""

    def change(file: str, edit: Callable[[str], str], answers: Answers = FULL, *, test: str = "") -> str:
        service = tmp_path / "service"
        shutil.copytree(render(answers), service, ignore=shutil.ignore_patterns("__pycache__"))
        text = (service / file).read_text("utf-8")
        assert edit(text) != text
        (service / file).write_text(edit(text), "utf-8")
        code, output = suite(service, "-k", test)
        assert code != 0, output
        return output

    return change


# what is missed first where a feature of the core is missing
BEHAVIOUR = {
    "errors": "test_an_unknown_path_is_a_problem_document",
    "logs": "test_records_of_libraries_have_the_same_form",
    "health": "test_a_living_process_says_so",
    "http": "test_an_answer_comes_through",
    "auth": "test_a_login_gives_both_tokens",
    "cache": "test_what_is_known_is_not_looked_for_again",
    "database": "test_it_is_stored_before_the_answer_leaves",
    "items": "test_a_created_item_is_where_its_location_says",
    "revocation": "test_whoever_is_signed_out_is_closed",
    "tickets": "test_a_ticket_lets_a_browser_in",
    "websockets": "test_a_message_reaches_everybody_in_the_room",
    "tasks": "test_what_becomes_of_it_is_there_to_see",
    "rate_limit": "test_a_limit_is_not_passed",
    "rates": "test_the_first_provider_wins_and_the_second_adds",
}


LISTED = (REPOSITORY / "template" / "app" / "features.py").read_text("utf-8").partition("FEATURES:")[2]


@pytest.mark.parametrize("feature", re.findall(r"^    (\w+),$", LISTED, re.MULTILINE))
def test_a_feature_that_is_not_attached_fails_a_test_of_behaviour(broken: Break, render: Render, feature: str) -> None:
    def unplug(text: str) -> str:
        imports, name, features = text.partition("FEATURES:")
        return imports + name + features.replace(f"    {feature},\n", f"    # {feature},\n")

    def lists(answers: Answers) -> bool:
        return f"    {feature},\n" in (render(answers) / "app" / "features.py").read_text("utf-8")

    # the smallest, for others may not even start without one of the core
    smallest = min(filter(lists, ALL), key=lambda answers: sum(map(bool, answers.values())))
    test = BEHAVIOUR.get(feature, "")  # else all of them
    output = broken("app/features.py", unplug, smallest, test=test)

    assert re.search(rf"^FAILED tests/\S+::{test}", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("middleware", "behaviour"),
    [
        ("Admission", "test_another_name_is_refused"),
        ("UnhandledErrors", "test_an_unexpected_error_shows_only_the_request_id"),
        ("BodyLimit", "test_a_body_that_is_too_large_is_refused"),
        ("RequestContextMiddleware", "test_an_answer_carries_a_new_id"),
    ],
)
def test_middleware_that_is_not_attached_fails_a_test_of_behaviour(
    broken: Break, middleware: str, behaviour: str
) -> None:
    call = re.compile(rf"^    app\.add_middleware\(\s*{middleware}\b.*?\)\n(?=    \S)", re.DOTALL | re.MULTILINE)

    output = broken("app/main.py", lambda text: call.sub("", text), BARE, test=behaviour)

    assert re.search(rf"^FAILED tests/\S+::{behaviour}", output, re.MULTILINE)


def test_a_dependency_that_is_not_declared_cannot_be_imported(broken: Break) -> None:
    output = broken("pyproject.toml", lambda text: text.replace('  "structlog>=26.1",\n', ""))

    assert "structlog is not declared by this service" in output


def test_what_only_this_repository_needs_cannot_be_imported(broken: Break) -> None:
    output = broken("app/resources.py", lambda text: text.replace('"""\n', '"""\n\nimport copier\n', 1))

    assert "copier is not declared by this service" in output


def test_a_suite_can_run_without_a_fork(render: Render) -> None:
    run = subprocess.run([sys.executable, "-P", "tests/suites.py", render(BARE)], cwd=REPOSITORY, check=False)

    assert run.returncode == 0


@pytest.fixture
def two_more_questions(template: Path, tmp_path: Path) -> Path:
    """A template that also asks for `alpha`, and for `beta`, which needs `alpha`."""
    copy = tmp_path / "template"
    shutil.copytree(template, copy)
    questions = "".join(f"{name}:\n  type: bool\n  default: false\n" for name in ("alpha", "beta"))
    left_out = "".join(
        f"    # {{% if {name} is false %}}\n    /app/{name}\n    # {{% endif %}}\n" for name in ("alpha", "beta")
    )
    text = (copy / "copier.yml").read_text("utf-8")
    text = text.replace("samples:\n  type", f"{questions}samples:\n  type")
    text = text.replace("    # {% if samples is false %}\n", f"{left_out}    # {{% if samples is false %}}\n")
    (copy / "copier.yml").write_text(text, "utf-8")
    hook = copy / "extensions" / "context.py"
    hook.write_text(f'{hook.read_text("utf-8")}\n\nNEEDS["beta"] = ("alpha",)\n', "utf-8")
    for name in ("alpha", "beta"):
        package = copy / "template" / "app" / name / "__init__.py"
        package.parent.mkdir()
        package.write_text(f'"""The feature {name}."""\n')
    return copy


def test_a_new_question_multiplies_the_combinations_and_a_rule_limits_them(two_more_questions: Path) -> None:
    listing = subprocess.check_output([sys.executable, "-m", "tests.combinations"], cwd=two_more_questions, text=True)

    names = [name for name in listing.splitlines() if "=" not in name]
    assert len(names) == len(ALL) * 3
    assert "alpha+beta" in names
    assert "beta" not in names


def test_answers_that_contradict_each_other_are_refused_on_copy(two_more_questions: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMessageError, match=r"^beta needs alpha: answer alpha=true, or beta=false\.$"):
        run_copy(
            str(two_more_questions), tmp_path / "service", data={"beta": True}, defaults=True, unsafe=True, quiet=True
        )

    assert not (tmp_path / "service").exists()


def test_answers_that_contradict_each_other_are_refused_on_update(
    two_more_questions: Path, tmp_path: Path, commit: Commit
) -> None:
    commit(two_more_questions, tag="1.0.0")
    service = tmp_path / "service"
    run_copy(
        str(two_more_questions), service, data={"alpha": True, "beta": True}, defaults=True, unsafe=True, quiet=True
    )
    commit(service)

    with pytest.raises(UserMessageError, match=r"^beta needs alpha"):
        run_update(service, data={"alpha": False}, defaults=True, unsafe=True, quiet=True, overwrite=True)

    status = subprocess.check_output(["git", "status", "--porcelain"], cwd=service, text=True)
    assert status == ""


def test_the_matrix_is_that_of_the_workflow() -> None:
    output = subprocess.check_output([sys.executable, "-m", "tests.combinations", "--matrix", "4"], text=True)

    assert json.loads(output) == {"shard": ["1/4", "2/4", "3/4", "4/4"]}


def collected(*arguments: str) -> set[str]:
    """Return the tests that pytest would run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--numprocesses=0", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return {line for line in output.splitlines() if "::" in line}


def test_shards_share_all_tests_and_no_test_twice() -> None:
    everything = collected()
    shards = [collected("--shard", f"{number}/3") for number in (1, 2, 3)]

    assert set.union(*shards) == everything
    assert sum(len(shard) for shard in shards) == len(everything)


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "a/b", ""])
def test_a_shard_that_does_not_exist_is_refused(shard: str) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--shard", shard]

    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert run.returncode != 0
    assert "--shard takes a part and a number of parts" in run.stdout + run.stderr


def test_bare_and_full_are_among_all() -> None:
    assert BARE in ALL
    assert FULL in ALL
