"""README's commands, as they stand there, on a machine that has only Python and git."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.combinations import REPOSITORY
from tests.conftest import Commit
from tests.postgresql import free_port

RENDER, TEST = re.findall(
    r"^python3 .+$",
    (REPOSITORY / "README.md").read_text("utf-8").partition("## With a published version")[0],
    re.MULTILINE,
)
START = re.findall(r"Then `(.+?)` serves", (REPOSITORY / "README.md").read_text("utf-8"))[0]


@pytest.fixture
def checkout(template: Path, tmp_path: Path, commit: Commit) -> Path:
    """A clone of this repository, in a folder of its own."""
    folder = tmp_path / "work" / "copier-fastapi"
    shutil.copytree(template, folder)
    commit(folder)
    return folder


def shell(command: str, folder: Path, machine: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(["bash", "-c", command], cwd=folder, env=machine, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run


@contextmanager
def started(command: str, folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Give out the process of a command that serves, and end it with all that it has started, as a terminal does."""
    with subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGINT)


def test_the_first_line_renders_a_service_that_starts_and_can_be_updated(
    checkout: Path, machine: Mapping[str, str], commit: Commit
) -> None:
    port = free_port()
    lines = f"{RENDER} --defaults && {START}"

    with started(lines, checkout, {**machine, "SERVER_PORT": str(port)}) as process:
        assert "swagger" in wait_for(f"http://127.0.0.1:{port}/docs", process)
        assert '"migrations":"ok"' in wait_for(f"http://127.0.0.1:{port}/readyz", process)

    service = checkout.parent / "my-service"
    assert (service / "uv.lock").exists()
    assert yaml.safe_load((service / ".copier-answers.yml").read_text("utf-8"))["_src_path"] == str(checkout)
    commit(service)

    page = checkout / "template" / "docs" / "logs.md"
    page.write_text(page.read_text("utf-8").replace("# Logs", "# The logs"), "utf-8")
    commit(checkout)
    update = f"export PATH={checkout}/.uv/bin:$PATH && uvx --with copier-template-extensions copier update --trust"
    shell(f"{update} --defaults --vcs-ref HEAD", service, machine)

    assert (service / "docs" / "logs.md").read_text("utf-8").startswith("# The logs")
    changed = subprocess.check_output(["git", "diff", "--name-only"], cwd=service, text=True).split()
    assert changed == [".copier-answers.yml", "docs/logs.md"]


def wait_for(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 600  # all of it may have to be fetched first
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return str(response.read(), "utf-8")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise ChildProcessError(f"It ended with {process.returncode}, or does not answer.")


def test_the_second_line_runs_the_tests_of_the_template(checkout: Path, machine: Mapping[str, str]) -> None:
    one_test = {**machine, "PYTEST_ADDOPTS": "-k test_two_copies_with_the_same_answers --numprocesses=0"}

    run = shell(TEST, checkout, one_test)

    assert re.search(r"\b1 passed\b", run.stdout)
    status = subprocess.check_output(["git", "status", "--porcelain"], cwd=checkout, text=True)
    assert status == ""
