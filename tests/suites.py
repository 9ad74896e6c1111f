"""Runs the test-suites of rendered services, each as if nothing were installed but what the service declares.

A parent imports what the services share once and forks a child for each of them, which saves the start of a new
interpreter. As a program it reads JSON lists from standard input, one a line: a folder, and which of its tests to run
where not all; it answers each with the exit code. Given these as arguments it runs that one suite, which is how it
works where there is no fork.
"""

import ast
import contextlib
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import aiosqlite
import pytest
from fastapi import routing
from fastapi.dependencies import utils
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel
from pydantic_settings import BaseSettings

TEMPLATE = Path(__file__).parents[1] / "template"
LOG = ".suite.log"
SECONDS = 600


def declared(project: Path) -> list[str]:
    """Return the requirements of the service and of its test group."""
    settings = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    test = [entry for entry in settings["dependency-groups"]["test"] if isinstance(entry, str)]
    return [*settings["project"]["dependencies"], *test]


@cache
def installed_modules() -> dict[str, set[str]]:
    """Return each importable name with the distributions that bring it."""
    return {
        module: {canonicalize_name(name) for name in names}
        for module, names in importlib.metadata.packages_distributions().items()
    }


@cache
def installed() -> list[tuple[str, importlib.metadata.Distribution]]:
    return [(canonicalize_name(found.name), found) for found in importlib.metadata.distributions()]


@cache
def requires(name: str) -> list[Requirement]:
    return [Requirement(text) for text in importlib.metadata.requires(name) or ()]


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of all distributions that the requirements bring."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [Requirement(requirement) for requirement in requirements]
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for needed in requires(name):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                queue.append(needed)
    return found


class Undeclared:
    """A finder that stands before all others and refuses what is not declared."""

    def __init__(self, hidden: set[str]) -> None:
        self.hidden = hidden

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"{name} is not declared by this service", name=name)
        return None


def hide_undeclared(project: Path) -> None:
    allowed = closure(declared(project))
    hidden = {module for module, distributions in installed_modules().items() if not distributions & allowed}
    for name in list(sys.modules):
        if name.partition(".")[0] in hidden:
            del sys.modules[name]
    sys.meta_path.insert(0, Undeclared(hidden))

    visible = [found for name, found in installed() if name in allowed]
    importlib.metadata.distributions = lambda **_: visible  # pytest finds its plugins through this


def run(project: str, *tests: str) -> int:
    """Run the suite of `project`, or some of its tests, in this process, which is good for nothing else afterwards."""
    if hasattr(signal, "alarm"):
        signal.alarm(SECONDS)
    os.chdir(project)
    with Path(LOG).open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    hide_undeclared(Path.cwd())
    # A plugin that the parent has imported cannot have its assertions rewritten; nothing is lost by that.
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests])
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


def remembered(work_out: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that works out the same thing only once."""
    known = lru_cache(4096)(work_out)

    def find(**arguments: Any) -> Any:  # as FastAPI has it
        hashable = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
        try:
            return known(**hashable)
        except TypeError:  # it cannot be told from others
            return work_out(**arguments)

    return find


def remembered_dependant(work_out: Callable[..., Any]) -> Callable[..., Any]:
    find = remembered(work_out)

    def copied(**arguments: Any) -> Any:  # as FastAPI has it
        dependant, *others = find(**arguments)
        return copy(dependant), *others  # an application may wrap its function

    return copied


def remember_endpoints() -> None:
    """Have FastAPI work out once what an endpoint takes and returns, and not for every application of every test.

    That is half the time of a suite, and nothing of an application is in it. A version without these functions takes
    its time; the environments that are true ones run without this.
    """
    slow = {
        "_build_dependant_with_parameterless_dependencies": remembered_dependant,
        "create_model_field": remembered,
    }
    for name, remember in slow.items():
        if hasattr(routing, name):
            setattr(routing, name, remember(getattr(routing, name)))
    # Asked with every request, for every dependency, as soon as a test has replaced one.
    utils.get_dependant = remembered(utils.get_dependant)


@cache
def files(kind: Any) -> frozenset[bytes]:  # a class of settings as the service has them
    """Return the variables that name files to read values from."""
    return frozenset(f"{kind.variable(field)}_FILE".encode() for field in kind.model_fields)


def remember_settings() -> None:
    """Have the environment searched once for each class of settings, and not for every application of every test.

    What is read from files is read each time.
    """
    slow = BaseSettings.__init__
    known: dict[object, dict[str, Any]] = {}
    numbers: dict[object, int] = {}
    latest: list[Any] = [None, 0]  # the environment, and its number
    variables = getattr(os.environ, "_data", os.environb)  # which encodes each of them again

    def fast(settings: BaseSettings, **values: Any) -> None:  # as pydantic-settings has it
        kind = type(settings)
        module = sys.modules.get("app.settings")
        environment = variables.copy()
        environment.pop(b"PYTEST_CURRENT_TEST", None)
        if values or module is None or kind.model_config.get("env_file") or not files(kind).isdisjoint(environment):
            slow(settings, **values)
            return
        if latest[0] != environment:
            latest[:] = environment, numbers.setdefault(frozenset(environment.items()), len(numbers))
        key = kind, latest[1], module.TESTING, module.SECRETS
        if key not in known:
            known[key] = kind._settings_build_values(*kind._settings_init_sources(_init_kwargs={}))
        BaseModel.__init__(settings, **known[key])

    if hasattr(BaseSettings, "_settings_init_sources") and hasattr(BaseSettings, "_settings_build_values"):
        setattr(BaseSettings, "__init__", fast)  # noqa: B010  # mypy has no way to say it


def spare_the_thread() -> None:
    """Have SQLite do at once what waits for nothing, and not in the thread of the connection: three calls of four.

    What may wait for a lock goes to the thread, and so does a call that comes while another one is there. A statement
    lets others run once, not four times; the environments that are true ones run without this.
    """
    slow: Any = getattr(aiosqlite.Connection, "_execute", None)
    at_once = {"Connection.cursor", "Cursor.fetchall", "Cursor.close"}

    async def execute(
        connection: aiosqlite.Connection, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:  # as aiosqlite has it
        under_way: list[None] = vars(connection).setdefault("under_way", [])  # two threads count there
        quick = getattr(function, "__qualname__", None) in at_once and not under_way
        if quick and connection._running and connection._connection:
            return function(*arguments, **options)

        def call() -> Any:  # whatever the function returns
            try:
                return function(*arguments, **options)
            finally:
                under_way.pop()

        under_way.append(None)
        return await slow(connection, call)

    if slow:
        setattr(aiosqlite.Connection, "_execute", execute)  # noqa: B010  # mypy has no way to say it


def preload() -> None:
    """Import every third-party module that the template names, with all features on."""
    for path in TEMPLATE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                if name.partition(".")[0] not in {"app", "tests"}:
                    with contextlib.suppress(ImportError):
                        importlib.import_module(name)
    importlib.import_module("pydantic.v1")  # FastAPI imports it with its first route
    closure(declared(TEMPLATE))
    installed_modules()
    installed()
    remember_endpoints()
    remember_settings()
    spare_the_thread()
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]  # httpx2 looks for it with every request
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # looking for what nobody refers to any more takes a tenth of a suite


def serve() -> None:
    preload()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                os._exit(run(*json.loads(line)))
            except BaseException:  # the child must end here, and say why in its log
                traceback.print_exc()
                os._exit(70)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(run(*sys.argv[1:]))
    serve()
