"""The health check of the containers of worker and beat: ends with 1 unless it has been heard of within a minute.

Run it by its path, with the name of the program. It imports nothing of the service, for that would take longer than
the question.
"""

import sys
import tempfile
import time
from pathlib import Path

SECONDS = 60


def beats(program: str) -> Path:
    """Return the file that `worker` or `beat` touches."""
    return Path(tempfile.gettempdir(), f"{Path(__file__).resolve().parents[2].name}-{program}")


def main(program: str = "worker") -> int:
    try:
        silent = time.time() - beats(program).stat().st_mtime
    except OSError:
        print(f"The {program} has not begun.", file=sys.stderr)
        return 1
    if silent > SECONDS:
        print(f"The {program} has been silent for {silent:.0f} seconds.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
