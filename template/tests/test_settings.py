"""Settings are safe when nobody has thought of them."""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from app import settings
from app.http import ServiceSettings
from app.settings import ROOT, Environment, Settings
from scripts import settings as printed_settings


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

    assert sorted(listed) == sorted(set(declared(Settings))), "name yours in .env.example, below `# this service`"


def test_every_setting_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_MAX_BODY_BYTES", "2000")
    monkeypatch.setenv("LOG_LEVEL_FILE", "/nowhere")

    printed_settings.main()

    printed = capsys.readouterr().out
    shown = dict(re.findall(r"^([A-Z_]+): (.+\n(?:  .+\n?)*)", printed, re.MULTILINE))
    assert shown.keys() >= set(declared(Settings))
    assert shown["SERVICE_MAX_BODY_BYTES"].splitlines() == [
        "int = 1000000",
        "  environment: 2000",
        "  the longest body that is read",
    ]
    assert shown["SERVICE_ALLOWED_HOSTS"].startswith("tuple[str, ...] = unset\n  names")
    assert "  wrong: LOG_LEVEL_FILE: FileNotFoundError\n" in shown["LOG_LEVEL"]


class Safe(Settings):
    model_config = SettingsConfigDict(env_prefix="SAFE_")

    password: SecretStr | None = Field(default=SecretStr("hunter2"), description="opens the safe")


def test_a_secret_is_shown_nowhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFE_PASSWORD", "hunter3")

    printed_settings.main()
    print(Safe(), repr(Safe()))

    printed = capsys.readouterr().out
    assert "SAFE_PASSWORD: SecretStr | None = **********\n  environment: **********\n" in printed
    assert "hunter" not in printed


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter 2\n")
    monkeypatch.setenv("SAFE_PASSWORD_FILE", str(file))

    password = Safe().password

    assert password is not None
    assert password.get_secret_value() == "hunter 2"


@pytest.mark.parametrize(
    ("content", "testing", "password"), [("a\n", False, "a"), ("\n", False, "hunter2"), ("a", True, "hunter2")]
)
def test_a_secret_may_lie_where_the_platform_puts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, testing: bool, password: str
) -> None:
    (tmp_path / "safe_password").write_text(content)
    monkeypatch.setattr(settings, "SECRETS", tmp_path)
    monkeypatch.setattr(settings, "TESTING", testing)

    assert Safe().password == SecretStr(password)


@pytest.mark.parametrize(
    ("variables", "mistake"),
    [
        (
            {"SAFE_PASSWORD": "hunter2", "SAFE_PASSWORD_FILE": "/hunter2"},
            "SAFE_PASSWORD and SAFE_PASSWORD_FILE are both",
        ),
        ({"SAFE_PASSWORD_FILE": "/hunter2"}, "SAFE_PASSWORD_FILE: FileNotFoundError"),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], mistake: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    (found,) = Safe.mistakes()

    assert mistake in found
    assert "hunter2" not in found


@pytest.mark.parametrize("hosts", ["", "*", "a.example,*", "https://a.example", "a.example:80", "a/b"])
def test_production_has_to_name_its_hosts(monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    monkeypatch.setenv("SERVICE_ALLOWED_HOSTS", hosts)
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")

    mistakes = [mistake.partition(":")[0] for mistake in ServiceSettings.mistakes()]

    assert set(mistakes) == {"SERVICE_ALLOWED_HOSTS"}
