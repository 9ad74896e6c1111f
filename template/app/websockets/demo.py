"""A page to try rooms with, and a room to try: not in production."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import make_public

# {%- endif +%}
from app.websockets.rooms import Action, Room, declared

PAGE = Path(__file__).with_name("demo.html")
SCRIPTS = [
    "demo.js",
    # {% if auth %}
    "sign_in.js",
    # {% endif %}
]


async def let_everybody_in(action: Action) -> bool:
    return True


def install(app: FastAPI) -> None:
    declared.setdefault("demo", Room("demo", let_everybody_in, presence=True))
    # {% if auth %}
    make_public(app, "/ws-demo")
    # {% endif %}

    @app.get("/ws-demo", include_in_schema=False)
    async def demo() -> HTMLResponse:
        page = assemble()
        return HTMLResponse(page, headers={"Content-Security-Policy": content_policy(page)})


def assemble() -> str:
    scripts = "\n".join(f"<script>{PAGE.with_name(name).read_text('utf-8')}</script>" for name in SCRIPTS)
    return PAGE.read_text("utf-8").replace("</body>", f"{scripts}\n</body>")


def content_policy(page: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashes('script', page)}",
            f"style-src {hashes('style', page)}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "img-src data:",
            "frame-ancestors 'none'",
        )
    )


def hashes(element: str, page: str) -> str:
    """Return what lets these elements of the page in, and no others (CSP 3, section 8.4)."""
    texts = re.findall(rf"<{element}>(.+?)</{element}>", page, re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts)
