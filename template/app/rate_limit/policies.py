"""How often something may happen, and under which name that can be set."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    requests: int
    period: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `100/minute`; raise `ValueError` where it is something else."""
        found = re.fullmatch(rf"([1-9][0-9]{{0,8}})/({'|'.join(PERIODS)})", text)
        if found is None:
            raise ValueError(f"a limit is a number per {', '.join(PERIODS)}, like 100/minute")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.requests}/{self.period}"


class Policy:
    """A limit of that name. `requests` are let through in any `seconds`."""

    __slots__ = ("header", "name", "requests", "seconds")

    def __init__(self, name: str, rate: Rate) -> None:
        self.name = name
        self.requests = rate.requests
        self.seconds = PERIODS[rate.period]
        self.header = f'"{name}";q={self.requests};w={self.seconds}'.encode()


declared: dict[str, Rate] = {}
"""The limits that the code names: settings can be held to them before the first request."""


def declare(name: str, rate: Rate) -> Policy:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name == "default":
        raise ValueError(f"{name!r} cannot be the name of a limit")
    if declared.setdefault(name, rate) != rate:
        raise ValueError(f"the limit {name} is {declared[name]} elsewhere; a name has one number")
    return Policy(name, rate)


def check_declared(name: str) -> None:
    """Raise `ValueError` where no limit has the name, and say which one may be meant."""
    if name not in declared:
        meant = get_close_matches(name, declared, n=1, cutoff=0.0)
        hint = f"did you mean {meant[0]}?" if meant else "there are none"
        raise ValueError(f"no route has a limit of the name {name}; {hint}")
