"""Prints what CHANGELOG.md says of a version: `python -m tests.notes v1.0.0`. It needs nothing but Python."""

import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def section(changelog: str, version: str) -> str:
    """Return the entries of a version, and raise `LookupError` where it has none."""
    for part in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        title, _, entries = part.partition("\n")
        if title.split(" - ")[0] == version and entries.strip():
            return entries.strip()
    raise LookupError(f"CHANGELOG.md has nothing about {version}.")


def main(tag: str) -> None:
    here = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if tag != here:
        sys.exit(f"The tag is {tag}, and pyproject.toml says {here}.")
    try:
        print(section((REPOSITORY / "CHANGELOG.md").read_text("utf-8"), tag))
    except LookupError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
