"""The workflows of a service and of this repository: they may do little, and do what they say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.combinations import BARE, EACH, FULL, REPOSITORY, Answers, identify, unique
from tests.conftest import Render
from tests.container import scripts
from tests.notes import section

COMBINATIONS = unique([BARE, *EACH, FULL])
OWN = REPOSITORY / ".github" / "workflows"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# What a job may do instead of reading.
MORE = {
    ("release.yml", "release"): {"contents": "write"},
    ("pages.yml", "deploy"): {"pages": "write", "id-token": "write"},
}

Workflow = dict[Any, Any]  # of what YAML has; `on` is true there


def load(path: Path) -> Workflow:
    workflow: Workflow = yaml.safe_load(path.read_text("utf-8"))
    return workflow


def workflows(render: Render) -> dict[str, Workflow]:
    paths = [path for answers in COMBINATIONS for path in render(answers).glob(".github/workflows/*.yml")]
    return {str(path): load(path) for path in [*paths, *OWN.glob("*.yml")]}


def test_zizmor_has_nothing_to_say(render: Render) -> None:
    program = shutil.which("zizmor", path=PATH)
    assert program is not None
    paths = [render(answers) / ".github" for answers in COMBINATIONS]
    config = REPOSITORY / "tests" / "zizmor.yml"
    command = [program, "--offline", "--quiet", "--config", str(config), *map(str, [OWN, *paths])]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_a_job_may_read_and_nothing_else(render: Render) -> None:
    for path, workflow in workflows(render).items():
        assert workflow["permissions"] == {}, path
        assert "pull_request_target" not in workflow[True], path
        for name, job in workflow["jobs"].items():
            more = MORE.get((Path(path).name, name), {"contents": "read"})
            assert job["permissions"] == more, (path, name)
            assert job["timeout-minutes"], (path, name)


def test_an_action_has_an_exact_version_and_leaves_no_credentials(render: Render) -> None:
    for path, workflow in workflows(render).items():
        for step in [step for job in workflow["jobs"].values() for step in job["steps"]]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", step["uses"]), path
                assert "/checkout@" not in step["uses"] or step["with"]["persist-credentials"] is False, path
            else:
                assert "${{" not in step["run"], path


@pytest.mark.parametrize("file", ["ci.yml", "nightly.yml", "pages.yml", "release.yml"])
def test_the_workflows_of_this_repository_follow_their_schema(file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(OWN / file)]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("answers", COMBINATIONS, ids=identify)
def test_github_and_gitlab_have_the_same_jobs_and_servers(render: Render, answers: Answers) -> None:
    github = load(render(answers) / ".github" / "workflows" / "ci.yml")["jobs"]
    gitlab = load(render({**answers, "ci": "gitlab"}) / ".gitlab-ci.yml")
    redis = answers["cache"] or answers["rate_limit"] or answers["websockets"]
    servers = {*(["postgres"] if answers["database"] else []), *(["redis"] if redis else [])}

    assert {*github, "template"} == {name for name in gitlab if not name.startswith(".")}
    assert {*github} == {"check", "audit", "container", *(["servers"] if servers else [])}
    if servers:
        images = {service["image"] for service in github["servers"]["services"].values()}
        compose = load(render(answers) / "compose.yaml")["services"]
        assert {*github["servers"]["services"]} == servers
        assert images == {service["name"] for service in gitlab["servers"]["services"]}
        assert images == {compose[name]["image"] for name in servers}
        assert {name for name in github["servers"]["env"] if name != "UV_PYTHON"} == {*gitlab["servers"]["variables"]}


def engine(folder: Path, code: int) -> dict[str, str]:
    """Put an engine on the path that ends with a code when it is told to run, and else is content.

    What it has run has ended with 143.
    """
    program = folder / "docker"
    program.write_text(f'#!/bin/sh\n[ "$1" = run ] && exit {code}\n[ "$1" = inspect ] && echo 143\nexit 0\n', "utf-8")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("answers", [BARE, FULL], ids=identify)
@pytest.mark.parametrize(("code", "passes"), [(78, True), (0, False), (1, False)])
def test_the_container_has_to_say_what_is_missing_and_gets_it(
    render: Render, answers: Answers, tmp_path: Path, code: int, passes: bool
) -> None:
    shutil.copy2(render(answers) / "compose.yaml", tmp_path)
    environment = engine(tmp_path, code)
    codes = [
        subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", each], cwd=tmp_path, env=environment, check=False
        ).returncode
        for each in scripts(render(answers), "container")
    ]
    lines = (tmp_path / ".env").read_text("utf-8").splitlines()

    assert (codes[1] == 0) is passes
    assert set(codes[:1] + codes[2:]) == {0}
    asked = set(re.findall(r"\{(\w+):\?", (tmp_path / "compose.yaml").read_text("utf-8")))
    assert {line.partition("=")[0] for line in lines} == asked
    assert all(re.fullmatch(r"[A-Z_]+=[0-9a-f]{64}", line) for line in lines)


def test_a_release_has_its_notes() -> None:
    changelog = "# Changelog\n\n## Unreleased\n\n## 1.1.0 - 2026-01-02\n\n- b\n\n## 1.0.0 - 2026-01-01\n\n- a\n"

    assert section(changelog, "1.1.0") == "- b"
    assert section(changelog, "1.0.0") == "- a"
    for version in ("1", "1.2.0", "Unreleased"):
        with pytest.raises(LookupError):
            section(changelog, version)


@pytest.mark.parametrize(("tag", "code"), [("0.0.0", 1), ("vnonsense", 1)])
def test_a_tag_that_is_not_the_version_is_refused(tag: str, code: int) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.notes", tag], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert run.returncode == code
    assert run.stderr.startswith(f"The tag is {tag}, ")
