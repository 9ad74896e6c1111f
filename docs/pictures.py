"""Makes the pictures of the README: Copier's questions in a terminal, and `/docs` of the service that they lead to.

`poe pictures` writes them to `docs/pictures`.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from io import FileIO
from pathlib import Path

import pyte
from pyte.modes import DECAWM

from docs.build import PICTURES, copy_template
from docs.drawing import draw
from extensions.context import QUESTIONS
from tests.chromium import PROGRAM, launched
from tests.serving import COMMAND, served

QUESTIONS_PICTURE, API_PICTURE = PICTURES / "questions.svg", PICTURES / "api.png"

COPY = ["copier", "copy", "--trust", "copier-fastapi", "my-service"]
TYPED = {"project_name": "\x15Bookshop\r", "database": "y", "auth": "y"}
"""What is typed where Enter alone would not do, after a ^U, which empties the line."""

MARK = "🎤"  # Copier puts it before each question
ROWS, COLUMNS = 4 * len(QUESTIONS), 104  # more than they take, so that none scrolls away
PATIENCE_SECONDS = 120

WIDTH = 1280
FOLDED, LAST = ["health", "auth"], "items"
FRAME = "html::after { content: ''; position: fixed; inset: 0; border: 1px solid #d0d7de; }"
ENVIRONMENT = {"SERVICE_ENVIRONMENT": "test"}
SWAGGER_UI = "swagger-ui-dist@5"
CDN = f"https://cdn.jsdelivr.net/npm/{SWAGGER_UI}/"  # where `/docs` has it from


def ask(folder: Path) -> tuple[str, Path]:
    """Answer every question; return a picture of the terminal before the last answer, and the service."""
    copy_template(folder)
    (folder / ".gitconfig").write_text("[user]\nname = Ada Lovelace\nemail = ada@example.org\n", "utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "TERM": "xterm-256color",
        "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody would answer where the cursor is
    }
    outside, inside = os.openpty()
    termios.tcsetwinsize(inside, (ROWS, COLUMNS))
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {' '.join(COPY)}\r\n".encode())
    command = [sys.executable, "-m", *COPY]
    names, asked, picture = list(QUESTIONS), 0, ""
    with (
        FileIO(outside, "r+") as terminal,
        subprocess.Popen(command, cwd=folder, env=environment, stdin=inside, stdout=inside, stderr=inside) as process,
    ):
        os.close(inside)
        hanging = threading.Timer(PATIENCE_SECONDS, process.kill)
        hanging.start()
        for output in outputs(terminal):
            stream.feed(output)
            drawn = DECAWM in screen.mode  # which Copier switches off while it draws
            if drawn and "".join(screen.display).count(MARK) > asked:
                picture = draw(screen)
                terminal.write(TYPED.get(names[asked], "\r").encode())
                asked += 1
        hanging.cancel()
    if process.returncode:
        shown = "\n".join(line.rstrip() for line in screen.display if line.strip())
        raise SystemExit(f"Copier ended with {process.returncode}:\n{shown}")
    return picture, folder / COPY[-1]


def outputs(terminal: FileIO) -> Iterator[bytes]:
    """Yield what a program writes, until it ends."""
    with suppress(OSError):  # by which Linux says so
        while output := terminal.read(2**16):
            yield output


def digest(service: Path) -> str:
    """Return a digest of what `/docs` shows, whichever version of FastAPI describes the service."""
    written = subprocess.check_output(
        [sys.executable, "-m", "scripts.openapi"], cwd=service, env={"PATH": os.environ["PATH"], **ENVIRONMENT}
    )
    description = json.loads(written)
    operations = [
        (method, path, operation["summary"], operation["tags"], "security" in operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    shown = json.dumps([description["info"], description["tags"], operations])
    return sha256(shown.encode()).hexdigest()


def photograph(service: Path, swagger_ui: Path) -> bytes:
    """Return `/docs` as PNG, with Swagger UI from that folder."""
    with served(service, COMMAND, variables=ENVIRONMENT) as (_, port, _), launched() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": WIDTH})
        page.route(f"{CDN}*", lambda route: route.fulfill(path=swagger_ui / route.request.url.removeprefix(CDN)))
        page.goto(f"http://127.0.0.1:{port}/docs")
        for tag in FOLDED:
            page.locator(f"#operations-tag-{tag}").dispatch_event("click")
            page.locator(f"#operations-tag-{tag}[data-is-open=false]").wait_for()
        last = page.locator(f".opblock-tag-section:has(#operations-tag-{LAST})").bounding_box()
        assert last is not None
        page.set_viewport_size({"width": WIDTH, "height": round(last["y"] + last["height"])})
        return page.screenshot(animations="disabled", style=FRAME)


def fetch_swagger_ui(folder: Path) -> Path:
    command = ["npm", "pack", "--loglevel=error", SWAGGER_UI]
    name = subprocess.check_output(command, cwd=folder, text=True).strip()
    shutil.unpack_archive(folder / name, folder, filter="data")
    return folder / "package"


def label(png: bytes, text: str) -> bytes:
    """Write a text into a picture, behind the head."""
    chunk = f"tEXtComment\0{text}".encode()
    head = 33  # bytes, in every PNG
    return png[:head] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[head:]


def main() -> None:
    if PROGRAM is None:
        raise SystemExit("There is no Chromium on this machine: install Debian's package chromium, or Google Chrome.")
    if shutil.which("npm") is None:
        raise SystemExit("There is no npm on this machine, which fetches Swagger UI: install Node.js.")
    with tempfile.TemporaryDirectory() as folder:
        try:
            questions, service = ask(Path(folder))
            api = label(photograph(service, fetch_swagger_ui(Path(folder))), digest(service))
        except subprocess.CalledProcessError as error:
            raise SystemExit(error.returncode) from None
    QUESTIONS_PICTURE.write_text(questions, "utf-8")
    API_PICTURE.write_bytes(api)
    print(f"Look at {QUESTIONS_PICTURE} and {API_PICTURE}")


if __name__ == "__main__":
    main()
