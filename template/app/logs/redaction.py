"""What must not be in a log is taken out of every record before it is written."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from structlog.types import EventDict, WrappedLogger

REDACTED = "[redacted]"

WORDS = (
    r"authorization|cookie|credential|e-?mail|jwt|passphrase|passw(?:or)?d|pwd|secret|session[-_]?id|token"
    r"|(?:access|api|encryption|private|signing)[-_]?key"
)

# A field of such a name: `user_email`, `X-API-Key`, `set-cookie`.
NAME = re.compile(rf"{WORDS}|^key$", re.IGNORECASE)

# Without one of these there is nothing to find, as in the many names of a stack.
POSSIBLE = re.compile(r"[\s=:@?,]")

# The same within a text, as far as it can be told apart there.
TEXT = re.compile(
    rf"""
    (?<=://)[^/\s@:'"]*:[^/\s'"]*(?=@)                                          # user and password of a URL
    | (?<=[\w/]\?)[\w.%~+\[\]-]+=[^\s'"<>]*                                     # query of a URL
    | authorization['"]?\s*[=:]\s*['"]?\w+\s[^\s'",]+                           # headers as they are sent
    | cookie\s*[=:]\s*[^\r\n'"]+
    | \b(?:bearer|basic)\s+[\w.~+/=-]{{8,}}
    | (?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+                                  # e-mail address
    | (?:{WORDS}|\bkey)['"]?\s*[=:]\s*(?:'[^']*'|"[^"]*"|[^\s,;&)}}\]]+)          # name=value, 'name': 'value'
    | (?:{WORDS})['"],\s*b?(?:'[^']*'|"[^"]*")                                   # ('name', 'value')
    | (?:input_value=|'input':\s|\bDETAIL:\s|\binvalid\ input\ for\ query\ ).+  # libraries that quote what they got
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {name: clean(value, name) for name, value in event.items()}


def clean(value: Any, name: object = None) -> Any:  # whatever the events carry
    match value:
        case None | bool() | int() | float() | datetime() | UUID():
            return value
        case _ if isinstance(name, str | bytes) and NAME.search(str(name)):
            return REDACTED
        case dict():
            return {TEXT.sub(REDACTED, key) if isinstance(key, str) else key: clean(value[key], key) for key in value}
        case (str() | bytes() as key, member):  # a header
            return [clean(key), clean(member, key)]
        case list() | tuple():
            return [clean(member) for member in value]
        case _:
            text = value if isinstance(value, str) else repr(value)
            return TEXT.sub(REDACTED, text) if POSSIBLE.search(text) else text
