"""What the template is made of, and what a service gets or does not get from it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from extensions.context import QUESTIONS
from tests.combinations import BARE, EACH, FULL, REPOSITORY, unique
from tests.conftest import Render
from tests.serving import run as run_in
from tests.test_combinations import texts

TEMPLATE = REPOSITORY / "template"

NO_FEATURE = [
    "app/__init__.py",
    "app/context.py",
    "app/errors.py",
    "app/feature.py",
    "app/features.py",
    "app/health/__init__.py",
    "app/health/checks.py",
    "app/health/drain.py",
    "app/health/probe.py",
    "app/health/router.py",
    "app/http/__init__.py",
    "app/http/admission.py",
    "app/http/client.py",
    "app/http/cors.py",
    "app/http/middleware.py",
    "app/http/settings.py",
    "app/logs/__init__.py",
    "app/logs/configuration.py",
    "app/logs/redaction.py",
    "app/main.py",
    "app/openapi.py",
    "app/resources.py",
    "app/schemas.py",
    "app/serve.py",
    "app/settings.py",
]


def template_files() -> dict[str, str]:
    listing = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=TEMPLATE, text=True
    )
    return {name: (TEMPLATE / name).read_text("utf-8") for name in listing.splitlines() if (TEMPLATE / name).is_file()}


def test_only_the_files_that_contributing_lists_have_directives() -> None:
    table = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8").partition("| file | why |")[2]
    listed = re.findall(r"^\| `(.+?)` \| .+ \|$", table, re.MULTILINE)

    assert sorted(listed) == sorted(name for name, text in template_files().items() if re.search(r"# \{%|\{@", text))


def test_a_directive_stands_alone_and_is_not_nested() -> None:
    for name, text in template_files().items():
        depth = 0
        for line in text.splitlines():
            if "{%" in line:
                assert re.fullmatch(r"\s*# \{%-? (if .+|endif) \+?%\}", line), (name, line)
                depth += -1 if "endif" in line else 1
            assert depth in (0, 1), (name, line)


def test_an_exclusion_holds_for_old_answers() -> None:
    """An answer that did not exist yet is undefined: `is false` and `is defined` know what to do with that."""
    text = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8"))["_exclude"]
    conditions = re.findall(r"\{%[-+]? *if (.+?) *[-+]?%\}", "\n".join(text))

    assert len(conditions) == "\n".join(text).count("endif")
    for condition in conditions:
        parts = re.split(r" (?:and|or) ", condition)
        guarded = {part.split()[0] for part in parts if part.endswith(" is defined")}
        for part in parts:
            if part == '_copier_operation == "update"':  # Copier's own, always there
                continue
            assert part.endswith((" is false", " is defined")) or part.split()[0] in guarded, condition


def test_every_question_has_its_row_in_the_readme() -> None:
    table = (REPOSITORY / "README.md").read_text("utf-8").partition("## Questions")[2]
    asked = [
        name for row in re.findall(r"^\| (\[?`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]

    assert sorted(asked) == sorted(QUESTIONS)
    for name, question in QUESTIONS.items():
        (row,) = (line for line in table.splitlines() if f"`{name}`" in line and line.startswith("|"))
        assert all(choice in row for choice in question.get("choices", ())), name


def test_the_development_environment_has_what_the_service_declares() -> None:
    service = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))
    declared = {
        entry
        for group in [service["project"]["dependencies"], *service["dependency-groups"].values()]
        for entry in group
        if isinstance(entry, str)
    }

    here = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["service"]

    assert set(here) == declared


def test_the_repository_and_the_template_are_clean_where_they_lie() -> None:
    command = [sys.executable, "-m", "poethepoet", "check"]
    environment = {**os.environ, "PYTEST_ADDOPTS": "--collect-only"}  # test_combinations.py runs them in a copy

    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_a_bare_service_has_no_more_than_this(render: Render) -> None:
    bare = render(BARE)

    assert [path.relative_to(bare).as_posix() for path in sorted((bare / "app").rglob("*.py"))] == NO_FEATURE


def test_every_setting_says_what_it_is_for(full: Path) -> None:
    shown = run_in(full, sys.executable, "-m", "scripts.settings", check=True).stdout

    settings = re.findall(r"^[A-Z_]+: .+\n(?:  (?:environment|\.env): .+\n)?(  .+\n)?", shown, re.MULTILINE)
    assert len(settings) > 30
    assert all(settings), shown


def test_every_package_has_its_tests_and_its_page_under_the_same_word() -> None:
    packages = [path.parent.name for path in (TEMPLATE / "app").glob("*/__init__.py")]

    assert "health" in packages
    for name in packages:
        assert (TEMPLATE / "tests" / name).is_dir(), name
        assert (TEMPLATE / "docs" / f"{name}.md").is_file(), name


# how often `features` and `this service` stand in a file: owners and updates hold on to them
ANCHORS = {
    ".dockerignore": (1, 1),
    ".env.example": (1, 1),
    ".github/workflows/ci.yml": (3, 3),
    ".github/workflows/template.yml": (0, 1),
    ".gitignore": (1, 1),
    ".gitlab-ci.yml": (4, 4),
    ".pre-commit-config.yaml": (1, 1),
    "app/auth/roles.py": (1, 2),
    "AGENTS.md": (0, 1),
    "README.md": (0, 1),
    "compose.yaml": (2, 2),
    "docs/README.md": (1, 1),
    "pyproject.toml": (4, 4),
    "tests/conftest.py": (1, 1),
}


def test_the_anchors_are_permanent(render: Render) -> None:
    for answers in (BARE, FULL, {**BARE, "ci": "gitlab"}):
        files = {name: text for name, text in texts(render(answers)).items() if name in ANCHORS}
        found = {
            name: tuple(
                len(re.findall(rf"^ *(?:#|<!--) {anchor}(?: -->)?$", text, re.MULTILINE))
                for anchor in ("features", "this service")
            )
            for name, text in files.items()
        }
        assert found == {name: ANCHORS[name] for name in files}


@pytest.mark.parametrize("license", QUESTIONS["license"]["choices"])
def test_the_licence_text_comes_along(render: Render, license: str) -> None:
    service = render({**BARE, "license": license})
    project = tomllib.loads((service / "pyproject.toml").read_text("utf-8"))["project"]
    opening = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "BSD-3-Clause": "BSD 3-Clause License",
        "proprietary": "Copyright (c)",
    }

    if license == "none":
        assert not (service / "LICENSE").exists()
    else:
        assert (service / "LICENSE").read_text("utf-8").lstrip().startswith(opening[license])
    assert project.get("license") == (license if license in {"MIT", "Apache-2.0", "BSD-3-Clause"} else None)


@pytest.mark.parametrize(
    ("ci", "file", "other"),
    [
        ("github", ".github/workflows/ci.yml", ".gitlab-ci.yml"),
        ("gitlab", ".gitlab-ci.yml", ".github"),
        ("none", "pyproject.toml", ".github"),
    ],
)
def test_ci_is_that_of_the_chosen_host(render: Render, ci: str, file: str, other: str) -> None:
    service = render({**BARE, "ci": ci})

    assert (service / file).exists()
    assert not (service / other).exists()


@pytest.mark.parametrize("version", QUESTIONS["python_version"]["choices"])
def test_image_and_ci_run_the_chosen_python(render: Render, version: str) -> None:
    github = render({**BARE, "python_version": version})
    gitlab = render({**BARE, "python_version": version, "ci": "gitlab"})

    assert f'ARG PYTHON_VERSION="{version}"' in (github / "Dockerfile").read_text("utf-8")
    workflow = yaml.safe_load((github / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert workflow["jobs"]["check"]["env"]["UV_PYTHON"] == version
    pipeline = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text("utf-8"))
    assert pipeline["check"]["image"] == f"python:{version}-slim-trixie"


@pytest.mark.parametrize("version", QUESTIONS["python_version"]["choices"])
def test_what_is_offered_is_tested_in_the_workflow(version: str) -> None:
    assert version in (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text("utf-8")


@pytest.mark.parametrize(
    ("schema", "file", "answers"),
    [
        ("vendor.github-workflows", ".github/workflows/ci.yml", {}),
        ("vendor.github-workflows", ".github/workflows/template.yml", {}),
        ("vendor.gitlab-ci", ".gitlab-ci.yml", {"ci": "gitlab"}),
        ("vendor.renovate", "renovate.json", {}),
        ("vendor.compose-spec", "compose.yaml", {}),
    ],
)
def test_configuration_follows_its_schema(render: Render, schema: str, file: str, answers: dict[str, str]) -> None:
    paths = [str(render({**features, **answers}) / file) for features in unique([BARE, *EACH, FULL])]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_no_file_can_be_executed_and_none_is_a_link() -> None:
    listing = subprocess.check_output(["git", "ls-files", "--stage", "template"], cwd=REPOSITORY, text=True)

    assert {line.split()[0] for line in listing.splitlines()} == {"100644"}


def test_no_secret_is_in_it(render: Render) -> None:
    values = re.compile(
        r"^ *(?!\w+_LENGTH=)\w*(?:password|secret|token|key)\w*[=:] *(\S+)", re.IGNORECASE | re.MULTILINE
    )
    found = {
        value
        for name in (".copier-answers.yml", ".env.example", "compose.yaml")
        for value in values.findall((render(FULL) / name).read_text("utf-8"))
    }

    aliases = {"&password", "*password", "&redis_password", "&broker_password"}
    assert found == {*aliases, '"${AUTH_SECRET_KEY:?set'}


def test_the_links_of_the_documents_lead_somewhere(render: Render) -> None:
    for answers in (BARE, FULL):
        for page in render(answers).rglob("*.md"):
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
                assert (page.parent / target).exists(), (page.name, target)
