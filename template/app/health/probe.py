"""The container's health check: ends with 1 unless the service says within three seconds that it is ready.

Run it by its path. It imports nothing of the service, for that would take longer than the question.
"""

import os
import sys
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

SECONDS = 3


def main() -> int:
    port = os.environ.get("SERVER_PORT") or "8000"
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS):
            return 0
    except (OSError, HTTPException) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
