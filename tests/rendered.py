"""Renders a service for a workflow: `python -m tests.rendered full ../service`."""

import sys
from pathlib import Path

from copier import run_copy

from tests.combinations import BARE, FULL, REPOSITORY


def main(features: str, target: str) -> None:
    answers = {"bare": BARE, "full": FULL}[features]
    run_copy(str(REPOSITORY), Path(target), data=dict(answers), defaults=True, unsafe=True, vcs_ref="HEAD", quiet=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
