"""The decorator that keeps what a function returns, and what makes it forget."""

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial, wraps
from hashlib import blake2b
from string import Formatter
from typing import Any, ParamSpec, TypeVar, get_type_hints
from urllib.parse import quote

from pydantic import TypeAdapter

from app.cache.loading import Cache, Recipe
from app.context import after_commit, current

P = ParamSpec("P")
T = TypeVar("T")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def cached(
    key: str, *, ttl: str, tags: Sequence[str] = (), refresh: str | None = None, shared: bool = False
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Keep what the function returns, for as long as `ttl` says: `30s`, `5m`, `2h`, `1d`.

    Names in braces, in the key and in the tags, are the function's parameters. Every caller has entries of their own,
    unless they are `shared`. An entry older than `refresh` is loaded again while it is still served; what loads it then
    must not need the request's session. Only what reads is answered from there: GET and HEAD, for example.
    """
    seconds = parse(ttl)
    fresh_seconds = parse(refresh) if refresh else seconds

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        signature = inspect.signature(function)
        if unknown := {name for text in [key, *tags] for name in names(text)} - signature.parameters.keys():
            raise TypeError(f"{function.__qualname__} has no parameter {', '.join(sorted(unknown))}.")
        adapter: TypeAdapter[T] = TypeAdapter(get_type_hints(function)["return"])

        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            load = partial(function, *args, **kwargs)
            context = current.get(None)
            cache: Cache | None = context.opened.get("cache") if context and context.reads else None
            if cache is None:
                return await load()
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            tagged = [fill(tag, bound.arguments) for tag in tags]
            name = fill(key, bound.arguments) if shared else f"{fill(key, bound.arguments)}:{caller()}"
            return await cache.get(Recipe(name, tagged, seconds, fresh_seconds), adapter, load)

        return call

    return decorate


def invalidate(*tags: str) -> None:
    """Forget what is kept under these tags once the work of this request is stored, and not at all if it is undone.

    Outside of requests there is no cache to tell.
    """
    context = current.get(None)
    if context is not None and (cache := context.opened.get("cache")) is not None:
        context.reads = False
        after_commit(partial(cache.invalidate, tags))


def parse(duration: str) -> int:
    """Return seconds."""
    if found := re.fullmatch(r"([1-9]\d*)([smhd])", duration):
        return int(found[1]) * UNITS[found[2]]
    raise ValueError(f"A duration is like 30s, 5m, 2h or 1d, not {duration!r}.")


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def fill(text: str, arguments: Mapping[str, Any]) -> str:  # whatever the function takes
    """Put the arguments in, so that none can pass for two, or for the rest of the key."""
    return text.format_map({name: escape(arguments[name]) for name in names(text)})


def escape(value: object) -> str:
    """Return an argument as `invalidate` has to write it in a tag."""
    return quote(str(value), safe="")


def caller() -> str:
    """Return who is calling, and in short what they may do: what they see may change with either."""
    context = current.get(None)
    if context is None or context.principal_id is None:
        return ""
    permissions = " ".join(sorted(context.permissions))
    return f"{escape(context.principal_id)}:{blake2b(permissions.encode(), digest_size=8).hexdigest()}"
