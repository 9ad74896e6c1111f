"""What must not be in a log is taken out of every record before it is written."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from structlog.types import EventDict, WrappedLogger

REDACTED = "[redacted]"

WORDS = r"authorization|cookie|credential|e-?mail|passphrase|passw(?:or)?d|secret|token|api[-_]?key"

# A field of such a name: `user_email`, `X-API-Key`, `set-cookie`.
NAME = re.compile(WORDS, re.IGNORECASE)

# The same within a text, as far as it can be told apart there.
TEXT = re.compile(
    rf"""
    (?<=://)[^/\s@:'"]*:[^/\s'"]*(?=@)                                          # user and password of a URL
    | (?<=[\w/]\?)[\w.%~+-]+=[^\s'"<>]*                                         # query of a URL
    | \b(?:bearer|basic)\s+[\w.~+/=-]{{8,}}                                      # header
    | (?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+                                  # e-mail address
    | (?:{WORDS})['"]?\s*[=:]\s*(?:'[^']*'|"[^"]*"|[^\s,;&)}}\]]+)               # name=value, 'name': 'value'
    | (?:input_value=|'input':\s|\bDETAIL:\s|\binvalid\ input\ for\ query\ ).+  # libraries that quote what they got
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {name: clean(value, name) for name, value in event.items()}


def clean(value: Any, name: object = None) -> Any:  # whatever the events carry
    if isinstance(name, str) and NAME.search(name):
        return REDACTED
    match value:
        case None | bool() | int() | float() | datetime() | UUID():
            return value
        case dict():
            return {key: clean(member, key) for key, member in value.items()}
        case list() | tuple():
            return [clean(member) for member in value]
        case _:
            return TEXT.sub(REDACTED, value if isinstance(value, str) else repr(value))
