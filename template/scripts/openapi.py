"""Write the OpenAPI description, for what generates clients from it, to standard output or to a file."""

import json
import sys
from argparse import ArgumentParser
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path


def main() -> None:
    parser = ArgumentParser(prog="poe openapi", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="standard output unless given")
    file: Path | None = parser.parse_args().file

    with redirect_stdout(sys.stderr):  # what is logged meanwhile
        app = import_module("app.main").app
    description = f"{json.dumps(app.openapi(), indent=2)}\n"
    if file:
        file.write_text(description, "utf-8", newline="\n")
    else:
        print(description, end="")


if __name__ == "__main__":
    main()
