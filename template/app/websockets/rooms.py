"""What rooms there are: the decorator that declares one, and the one that a name stands for."""

import inspect
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from string import Formatter
from typing import Concatenate, Generic, ParamSpec, get_type_hints

from pydantic import TypeAdapter, ValidationError

from app.errors import ServiceError

P = ParamSpec("P")

PART = r"[a-z][a-z0-9_-]*"
NAME = re.compile(rf"{PART}(:({PART}|\{{{PART}\}}))*")


class Action(StrEnum):
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"


Rule = Callable[Concatenate[Action, P], Awaitable[bool]]
Permit = Callable[[Action], Awaitable[bool]]


class RoomNotFound(ServiceError):
    status = HTTPStatus.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("There is no such room.")


class Room(Generic[P]):
    """One room, or as many as there are values for the `{parameters}` in its name; `presence` tells who comes and goes.

    Raise `TypeError` for a name that cannot be one.
    """

    def __init__(self, name: str, rule: Rule[P], *, presence: bool) -> None:
        self.name = name
        self.presence = presence
        parameters = [field for _, field, _, _ in Formatter().parse(name) if field] if NAME.fullmatch(name) else None
        if parameters is None or parameters != [*inspect.signature(rule).parameters][1:]:
            raise TypeError(
                f"The room {name!r} is named like orders or orders:{{id}}, and its function takes the same."
            )
        self.rule: Callable[..., Awaitable[bool]] = rule
        hints = get_type_hints(rule, include_extras=True)
        self.types = {parameter: TypeAdapter(hints.get(parameter, str)) for parameter in parameters}
        self.pattern = re.compile(re.sub(r"\\{(.+?)\\}", r"(?P<\1>[^:]+)", re.escape(name)))

    def address(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the name of the room with these parameters; raise `ValueError` where nobody could subscribe to it."""
        arguments = inspect.signature(partial(self.rule, Action.SUBSCRIBE)).bind(*args, **kwargs).arguments
        address = self.name.format_map(arguments)
        if self.pattern.fullmatch(address) is None:
            raise ValueError(f"{address!r} is no {self.name}")
        return address

    def permit(self, address: str) -> Permit | None:
        """Return what decides, where the address is one of this room, written as `announce` writes it."""
        found = self.pattern.fullmatch(address)
        if found is None:
            return None
        try:
            arguments = {name: self.types[name].validate_python(text) for name, text in found.groupdict().items()}
        except ValidationError:
            return None
        return partial(self.rule, **arguments) if self.name.format_map(arguments) == address else None

    def overlaps(self, other: "Room[...]") -> bool:
        """Say whether an address may be one of both: then the first of them would decide."""
        ours, theirs = self.name.split(":"), other.name.split(":")
        return len(ours) == len(theirs) and all(
            one == another or "{" in one + another for one, another in zip(ours, theirs, strict=True)
        )


declared: dict[str, Room[...]] = {}


def room(name: str, *, presence: bool = False) -> Callable[[Rule[P]], Room[P]]:
    """Declare a room; the function says who may subscribe and who may publish, and runs each time that somebody does.

    `orders:{id}` is a room for each order: the function takes an `id`, of whatever type, and for values that are of
    another one there is no room. With `presence` everybody hears who comes and goes: it is for rooms that are small.
    """

    def declare(rule: Rule[P]) -> Room[P]:
        made = Room(name, rule, presence=presence)
        if taken := [other.name for other in declared.values() if made.overlaps(other)]:
            raise TypeError(f"What is in the room {name!r} could be in {taken[0]!r} as well.")
        declared[name] = made
        return made

    return declare


def find(address: str) -> tuple[Room[...], Permit]:
    """Raise `RoomNotFound` where no room is declared for the address."""
    for room in declared.values():
        if (permit := room.permit(address)) is not None:
            return room, permit
    raise RoomNotFound
