"""Prints every setting: its variable, type and default, where its value comes from, and what it is for."""

from collections.abc import Iterator
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource, SettingsError

from app.logs.redaction import clean
from app.settings import SecretFiles, Settings

# Whatever brings settings along; nothing is opened by that.
MODULES = ("app.features", "app.resources", "app.serve")
# The first one that has a value wins.
SOURCES = {
    "environment": EnvSettingsSource,
    "file": SecretFiles,
    ".env": DotEnvSettingsSource,
}


def declared(base: type[Settings]) -> Iterator[tuple[str, type[Settings], str]]:
    """Yield the variable, the class and the field of every setting."""
    for settings in base.__subclasses__():
        for name in settings.model_fields:
            yield settings.variable(name), settings, name
        yield from declared(settings)


def find(settings: type[Settings], name: str) -> tuple[str, Any] | None:  # values of any type
    """Return the source that wins and its value, or nothing where the default holds."""
    key = str(settings.model_fields[name].validation_alias or name).lower()
    for label, source in SOURCES.items():
        try:
            values = {found.lower(): value for found, value in source(settings)().items()}
        except SettingsError as error:  # about this setting, or another one of its class
            if str(error).startswith((f"{settings.variable(name)}_FILE", f"{settings.variable(name)} ")):
                return "wrong", error
            continue
        if key in values:
            return label, values[key]
    return None


def describe(annotation: Any) -> str:  # whatever a type may be
    """Write a type without what further limits it."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None:
            return "None" if annotation is NoneType else str(getattr(annotation, "__name__", annotation))
        case origin if origin is Annotated:
            return describe(arguments[0])
        case origin if origin in {Union, UnionType}:
            return " | ".join(map(describe, arguments))
        case origin if origin is Literal:
            return " | ".join(map(str, arguments))
        case origin:
            return f"{origin.__name__}[{', '.join('...' if each is ... else describe(each) for each in arguments)}]"


def show(field: FieldInfo, value: Any) -> str:  # values of any type
    if value is field.default and field.is_required():
        return "required"
    if value is None or value == ():
        return "unset"
    if "Secret" in str(field.annotation) and not isinstance(value, SettingsError):
        return "**********"
    return str(clean(",".join(map(str, value)) if isinstance(value, tuple) else str(value)))


def main() -> None:
    for module in MODULES:
        import_module(module)
    known = set()
    for variable, settings, name in declared(Settings):
        if variable in known:
            continue
        known.add(variable)
        field = settings.model_fields[name]
        print(f"{variable}: {describe(field.annotation)} = {show(field, field.default)}")
        if found := find(settings, name):
            print(f"  {found[0]}: {show(field, found[1])}")
        if field.description:
            print(f"  {field.description}")


if __name__ == "__main__":
    main()
