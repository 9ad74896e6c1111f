"""What a copy or an update leaves behind when it is stopped in the middle, a repeated command mends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from extensions.context import QUESTIONS
from tests.combinations import BARE, FEATURES, FULL, REPOSITORY, Answers
from tests.conftest import Copy, Render
from tests.serving import run
from tests.test_combinations import texts
from tests.test_command_line import COPY, UPDATE, copier
from tests.test_update import tree

PAGE = (REPOSITORY / "docs" / "updating.md").read_text("utf-8")
(RECIPE,) = re.findall(r"^\| an update was interrupted.* \| `(.+?)`", PAGE, re.MULTILINE)

DEFAULTS: Answers = {name: QUESTIONS[name]["default"] for name in FEATURES}


def stopped(folder: Path, arguments: tuple[str, ...], sign: signal.Signals, when: Callable[[], bool]) -> None:
    """Send Copier a signal as soon as the condition holds; its temporary folders stay beside the service."""
    temporary = folder.parent / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "copier", *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    ) as process:
        while not when():
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(sign)
    assert process.returncode != 0, "it was through before it could be stopped"


def count(folder: Path) -> int:
    return sum(len(names) for path, _, names in os.walk(folder) if ".git" not in Path(path).parts)


TENTHS = [
    *((signal.SIGKILL, tenth) for tenth in range(10)),
    *((signal.SIGTERM, tenth) for tenth in (0, 5)),
    (signal.SIGINT, 5),
]


@pytest.mark.parametrize(("sign", "tenth"), TENTHS)
def test_a_copy_is_mended_by_another(
    render: Render, template: Path, tmp_path: Path, sign: signal.Signals, tenth: int
) -> None:
    whole, folder = render(DEFAULTS), tmp_path / "work"
    folder.mkdir()
    service, files = folder / "service", len(texts(whole)) * tenth // 10
    stopped(folder, (*COPY, str(template), "service"), sign, lambda: count(service) > files)

    repeated = copier(folder, *COPY, "--overwrite", str(template), "service")

    assert repeated.returncode == 0, repeated.stderr
    assert texts(service) == texts(whole)
    assert [path.name for path in folder.iterdir()] == ["service"]


@pytest.mark.parametrize(
    ("before", "after", "sign", "tenth"),
    [
        (BARE, FULL, signal.SIGKILL, 0),
        (BARE, FULL, signal.SIGKILL, 5),
        (BARE, FULL, signal.SIGKILL, 9),
        (BARE, FULL, signal.SIGTERM, 5),
        (FULL, BARE, signal.SIGKILL, 0),
        (FULL, BARE, signal.SIGTERM, 5),
    ],
)
def test_an_update_is_undone_as_documented_and_repeated(
    copy: Copy, before: dict[str, bool], after: dict[str, bool], sign: signal.Signals, tenth: int
) -> None:
    service, fresh = copy("service", before), copy("fresh", after)
    first, last = count(service), count(fresh)
    answers = [option for name, answer in after.items() for option in ("-d", f"{name}={answer}")]
    stopped(
        service,
        (*UPDATE, "-r", ":current:", *answers),
        sign,
        lambda: abs(count(service) - first) > abs(last - first) * tenth // 10,
    )

    refused = copier(service, *UPDATE, "-r", ":current:", *answers)
    run(service, "sh", "-c", RECIPE, check=True)
    repeated = copier(service, *UPDATE, "-r", ":current:", *answers)

    assert "dirty" in refused.stderr
    assert repeated.returncode == 0, repeated.stderr
    assert tree(service) == tree(fresh)
