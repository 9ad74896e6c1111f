"""What tasks there are: the decorator that turns a function into one."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from string import Formatter
from typing import Any, Concatenate, Generic, ParamSpec, get_type_hints
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from app.tasks.runs import Run

P = ParamSpec("P")
Function = Callable[Concatenate[Run, P], Awaitable[object]]

MOST_BYTES = 100_000
MOST_CHARACTERS = 200  # of a key
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


@dataclass(frozen=True)
class Options:
    """How a task is run; what is `None` is as the settings have it."""

    queue: str
    key: str | None
    shared: bool
    attempts: int | None
    retry_on: tuple[type[Exception], ...]
    soft_limit: float | None
    hard_limit: int | None
    schedule: str | None
    reads: bool


class Definition(Generic[P]):
    """A function that can be run later; raise `TypeError` for one that cannot."""

    def __init__(self, name: str, function: Function[P], options: Options) -> None:
        self.name = name
        self.function = function
        self.options = options
        hints = get_type_hints(function, include_extras=True)
        parameters = [*inspect.signature(function).parameters.values()][1:]
        for parameter in parameters:
            if parameter.kind in VARIADIC or parameter.name.startswith("_") or hasattr(BaseModel, parameter.name):
                raise TypeError(f"The task {name} cannot have the parameter {parameter}.")
        fields: dict[str, Any] = {  # as Pydantic has it
            parameter.name: (hints[parameter.name], ... if parameter.default is parameter.empty else parameter.default)
            for parameter in parameters
        }
        self.arguments: type[BaseModel] = create_model(name, __config__=STRICT, **fields)
        if "return" not in hints:
            raise TypeError(f"The task {name} does not say what it returns.")
        self.result: TypeAdapter[object] = TypeAdapter(hints["return"])
        if unknown := names(options.key or "") - fields.keys():
            raise TypeError(f"The task {name} has no parameter {', '.join(sorted(unknown))}.")
        if options.schedule and any(field.is_required() for field in self.arguments.model_fields.values()):
            raise TypeError(f"The task {name} is due by the clock, which knows no arguments.")

    def dump(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:  # JSON
        """Return the arguments as they are stored; raise `ValueError` for what is too much, or of another type."""
        bound = inspect.signature(self.function).bind(None, *args, **kwargs)
        given = dict([*bound.arguments.items()][1:])  # all but the run
        model = self.arguments.model_validate(given)
        # without defaults: a worker of the last version does not know a parameter that is new
        text = model.model_dump_json(by_alias=True, round_trip=True, exclude_defaults=True).encode()
        if len(text) > MOST_BYTES:
            raise ValueError(f"The arguments of {self.name} have {len(text)} bytes: a task takes identifiers.")
        arguments: dict[str, Any] = orjson.loads(text)
        self.load(arguments)
        return arguments

    def load(self, arguments: Mapping[str, Any]) -> BaseModel:  # JSON
        return self.arguments.model_validate_json(orjson.dumps(arguments))

    def key(self, arguments: Mapping[str, Any], principal_id: str | None) -> str | None:  # JSON
        """Put the arguments in, so that none can pass for two, or for the rest of the key."""
        if self.options.key is None:
            return None
        whole = self.load(arguments).model_dump(mode="json")
        key = self.options.key.format_map({name: quote(str(each), safe="") for name, each in whole.items()})
        if not self.options.shared:
            key = f"{principal_id or ''}:{key}"
        return key if len(key) <= MOST_CHARACTERS else blake2b(key.encode(), digest_size=32).hexdigest()

    async def call(self, run: Run, arguments: Mapping[str, Any]) -> Any:  # JSON
        """Call the function with what was stored, and return what is to be stored."""
        function: Callable[..., Awaitable[object]] = self.function
        model = self.load(arguments)
        result = await function(run, **{name: getattr(model, name) for name in self.arguments.model_fields})
        text = self.result.dump_json(result)
        if len(text) > MOST_BYTES:
            raise ValueError(f"The result of {self.name} has {len(text)} bytes: keep it elsewhere.")
        return orjson.loads(text)


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


TASKS: dict[str, Definition[...]] = {}


def task(
    name: str,
    *,
    queue: str = "default",
    key: str | None = None,
    shared: bool = False,
    attempts: int | None = None,
    retry_on: tuple[type[Exception], ...] = (),
    soft_limit: float | None = None,
    hard_limit: int | None = None,
    schedule: str | None = None,
    reads: bool = False,
) -> Callable[[Function[P]], Definition[P]]:
    """Have a function run by a worker: `orders.report`. It takes a `Run`, and what JSON can carry.

    It is begun again when its process dies and, where an error of `retry_on` ends it, after a pause: `attempts` times
    in all. Limits are in seconds. Of those with the same `key`, which may name parameters like `orders:{id}`, every
    caller can have one, or all of them together where it is `shared`. `schedule` is a crontab in UTC: `0 * * * *`. One
    that only `reads` may be answered from what is kept.
    """
    options = Options(queue, key, shared, attempts, retry_on, soft_limit, hard_limit, schedule, reads)

    def define(function: Function[P]) -> Definition[P]:
        if name in TASKS:
            raise ValueError(f"There are two tasks {name}.")
        TASKS[name] = definition = Definition(name, function, options)
        return definition

    return define
