"""Settings are safe when nobody has thought of them."""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from app import settings
from app.settings import ROOT, Environment, Settings


def test_an_unset_environment_means_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_ENVIRONMENT")

    assert Settings().environment is Environment.PRODUCTION


def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "")

    assert Settings().environment is Environment.PRODUCTION


@pytest.mark.parametrize(("environment", "file"), [("test", None), ("development", ROOT / ".env"), ("", ROOT / ".env")])
def test_only_tests_do_not_read_the_file(monkeypatch: pytest.MonkeyPatch, environment: str, file: Path | None) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)

    assert run_path(settings.__file__)["Settings"].model_config["env_file"] == file


def test_an_unknown_environment_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "hunter2")

    with pytest.raises(ValidationError, match="SERVICE_ENVIRONMENT") as caught:
        Settings()

    assert "hunter2" not in str(caught.value)


class Lists(Settings):
    model_config = SettingsConfigDict(env_prefix="LISTS_")

    hosts: Sequence[str] = ()


def test_a_list_that_is_no_json_is_a_mistake_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTS_HOSTS", "hunter2,")

    (mistake,) = Lists.mistakes()

    assert "hosts" in mistake
    assert "hunter2" not in mistake


def declared(base: type[Settings]) -> Iterator[str]:
    """Yield the variable of each setting in the classes of the service that derive from this one."""
    for found in base.__subclasses__():
        if found.__module__.startswith("app."):
            yield from map(found.variable, found.model_fields)
            yield from declared(found)


def test_the_example_lists_exactly_the_settings_that_there_are() -> None:
    import_module("app.main")
    import_module("app.serve")

    listed = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)

    assert sorted(listed) == sorted(set(declared(Settings)))
