"""Jinja filters: what an answer may be, and how it is written in each language."""

import re
import subprocess
import unicodedata
from collections.abc import Callable

from jinja2 import Environment
from jinja2.ext import Extension

# Control, surrogate, separator, unassigned and private characters, and those that turn the direction of the text.
INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp", "Cn", "Co"})
BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")

# A distribution cannot depend on itself: what the service depends on, with any of its features, is taken.
TAKEN = frozenset(
    (
        "aiosqlite",
        "alembic",
        "amqp",
        "annotated-doc",
        "annotated-types",
        "anyio",
        "app",
        "argon2-cffi",
        "argon2-cffi-bindings",
        "ast-serialize",
        "async-timeout",
        "asyncpg",
        "billiard",
        "cachetools",
        "celery",
        "celery-types",
        "cffi",
        "click",
        "click-didyoumean",
        "click-plugins",
        "click-repl",
        "colorama",
        "colorlog",
        "coverage",
        "cryptography",
        "deptry",
        "dnspython",
        "email-validator",
        "fakeredis",
        "fastapi",
        "greenlet",
        "grimp",
        "h11",
        "hiredis",
        "httpcore2",
        "httptools",
        "httpx2",
        "idna",
        "import-linter",
        "iniconfig",
        "kombu",
        "librt",
        "lupa",
        "mako",
        "markdown-it-py",
        "markupsafe",
        "mdurl",
        "mypy",
        "mypy-extensions",
        "obstore",
        "opentelemetry-api",
        "opentelemetry-sdk",
        "orjson",
        "packaging",
        "pathspec",
        "pluggy",
        "poethepoet",
        "prek",
        "prompt-toolkit",
        "psutil",
        "puremagic",
        "pwdlib",
        "pycparser",
        "pydantic",
        "pydantic-core",
        "pydantic-settings",
        "pygments",
        "pyjwt",
        "pytest",
        "pytest-cov",
        "python-dateutil",
        "python-dotenv",
        "python-multipart",
        "pyyaml",
        "redis",
        "requirements-parser",
        "rich",
        "ruff",
        "schemathesis",
        "service",
        "shellingham",
        "six",
        "sortedcontainers",
        "sqlalchemy",
        "starlette",
        "structlog",
        "tenacity",
        "test",
        "tests",
        "tomli",
        "truststore",
        "typer",
        "types-cachetools",
        "types-psutil",
        "typing-extensions",
        "typing-inspection",
        "tzlocal",
        "uv",
        "uvicorn",
        "uvloop",
        "vine",
        "watchfiles",
        "wcwidth",
        "websockets",
        "wsproto",
    )
)


def is_line(text: object) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= 200
        and text != ""
        and text == text.strip()
        and not any(unicodedata.category(c) in INVISIBLE or c in BIDIRECTIONAL for c in text)
    )


def is_name(text: object) -> bool:
    return (
        is_line(text)
        and isinstance(text, str)
        and len(text) <= 80
        and text[0].isalpha()
        and text[-1].isalnum()
        and not set(text) & set("/\\")
    )


def is_slug(text: object) -> bool:
    return (
        isinstance(text, str)
        and 2 <= len(text) <= 40
        and re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", text) is not None
        and text not in TAKEN
    )


def is_email(text: object) -> bool:
    return isinstance(text, str) and (
        text == ""
        or (
            len(text) <= 254
            and re.fullmatch(r"[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", text, re.ASCII) is not None
        )
    )


def slug(text: object) -> str:
    """Return a name that `is_slug` accepts, whatever the text."""
    ascii_text = unicodedata.normalize("NFKD", str(text)).encode("ascii", "ignore").decode().lower()
    words = re.sub("[^a-z0-9]+", "-", ascii_text).strip("-")
    if not words[:1].isalpha():
        words = f"service-{words}"
    words = words[:32].strip("-")
    return words if is_slug(words) else f"{words}-service" if words != "service" else "my-service"


def escape(text: object, *, wide: Callable[[int], str]) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(
        short.get(c, wide(ord(c)) if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029\ufeff" else c)
        for c in str(text)
    )


def toml_string(text: object) -> str:
    """Return the inside of a basic TOML string; the quotes stand in the template."""
    return escape(text, wide="\\u{:04x}".format)


def yaml_string(text: object) -> str:
    """Return the inside of a double-quoted YAML scalar; the quotes stand in the template."""
    return escape(text, wide="\\u{:04x}".format)


def markdown_text(text: object) -> str:
    """Return the text so that a Markdown reader shows every character of it, wherever in a paragraph it stands."""
    shown = re.sub(r"([\\`*_<>\[\]&~|])", r"\\\1", str(text))
    return re.sub(r"^(\d*)([-+#=.)])", r"\1\\\2", shown)


def git(key: str) -> str:
    """Return what git knows of its user, or nothing."""
    try:
        answer = subprocess.run(["git", "config", "--get", key], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode("utf-8", "surrogateescape").strip()


def git_name(key: str) -> str:
    name = git(key)
    return name if is_line(name) else "Nobody"


def git_email(key: str) -> str:
    email = git(key)
    return email if is_email(email) else ""


class Filters(Extension):
    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        filters = [
            is_line,
            is_name,
            is_slug,
            is_email,
            slug,
            toml_string,
            yaml_string,
            markdown_text,
            git_name,
            git_email,
        ]
        environment.filters.update({function.__name__: function for function in filters})
