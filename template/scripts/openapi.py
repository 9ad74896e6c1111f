"""Write the OpenAPI description, for what generates clients from it, to standard output or to a file."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

with redirect_stdout(sys.stderr):  # what is logged meanwhile
    from app.main import app

    description = f"{json.dumps(app.openapi(), indent=2)}\n"

if file := sys.argv[1:]:
    Path(*file).write_text(description, "utf-8", newline="\n")
else:
    print(description, end="")
