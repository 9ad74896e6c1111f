"""Secrets are strong, or the service does not start."""

from pathlib import Path
from stat import S_IMODE

import pytest

from app.auth import settings
from app.auth.settings import AuthSettings, make_secret

STRONG = "kPz3vN8qLx1cRj7tWb5yHd9mSf2gAu6e"


def test_production_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")

    (mistake,) = AuthSettings.mistakes()

    assert mistake.startswith("AUTH_SECRET_KEY: production needs a secret: openssl rand ")


@pytest.mark.parametrize("environment", ["development", "test", "production"])
@pytest.mark.parametrize(
    "secret",
    [
        STRONG[:31],
        "x" * 64,
        "abcabcabc" * 8,
        "changeme-" + STRONG,
        "Change_Me-" + STRONG,
        STRONG + "-example",
        "PLACEHOLDER" + STRONG,
        "your-secret-" + STRONG,
    ],
)
@pytest.mark.parametrize("variable", ["AUTH_SECRET_KEY", "AUTH_OLD_SECRET_KEYS"])
def test_a_weak_secret_is_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, environment: str, secret: str, variable: str
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)
    monkeypatch.setenv("AUTH_SECRET_KEY", STRONG)
    monkeypatch.setenv(variable, secret)

    (mistake,) = AuthSettings.mistakes()

    assert mistake.startswith(f"{variable}: ")
    assert secret not in mistake


@pytest.mark.parametrize("secrets", ["{0},short", "short,{0}", "{0},"])
def test_every_old_secret_is_a_strong_one(monkeypatch: pytest.MonkeyPatch, secrets: str) -> None:
    monkeypatch.setenv("AUTH_OLD_SECRET_KEYS", secrets.format(STRONG))

    (mistake,) = AuthSettings.mistakes()

    assert mistake == "AUTH_OLD_SECRET_KEYS: a secret has at least 32 bytes"


def test_a_secret_has_bytes_and_not_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_SECRET_KEY", "éèàùâêîôûëïüÿçæœ")

    assert [*AuthSettings.mistakes()] == []


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_SECRET_KEY", STRONG)
    monkeypatch.setenv("AUTH_OLD_SECRET_KEYS", f"{STRONG}2,{STRONG}3")

    found = AuthSettings()

    assert found.secrets == [STRONG.encode(), f"{STRONG}2".encode(), f"{STRONG}3".encode()]
    assert STRONG not in f"{found} {found!r} {found.model_dump()} {found.model_dump_json()}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AUTH_ACCESS_TTL", "901"), ("AUTH_PASSWORD_MAX_LENGTH", "63"), ("AUTH_PASSWORD_MIN_LENGTH", "7")],
)
def test_limits_that_would_be_none_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    (mistake,) = AuthSettings.mistakes()

    assert mistake.startswith(f"{variable}: ")


def test_every_run_of_the_tests_has_a_secret_of_its_own() -> None:
    assert AuthSettings().secret_key != AuthSettings().secret_key


def test_development_makes_a_secret_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "TESTING", False)
    path = tmp_path / ".auth-secret-key"

    first, second = make_secret(path), make_secret(path)

    assert first == second
    assert first.get_secret_value() == path.read_text()
    assert len(first) == 43
    assert S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_keeps_no_secret_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "make_secret", lambda: make_secret(tmp_path / "gone" / ".auth-secret-key"))
    monkeypatch.setattr(settings, "TESTING", False)
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")

    (mistake,) = AuthSettings.mistakes()

    assert mistake == "AUTH_SECRET_KEY: .auth-secret-key cannot be kept here (FileNotFoundError): set a secret"


def test_what_development_has_lost_is_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / ".auth-secret-key"
    path.touch()
    monkeypatch.setattr(settings, "make_secret", lambda: make_secret(path))
    monkeypatch.setattr(settings, "TESTING", False)
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")

    (mistake,) = AuthSettings.mistakes()

    assert mistake.startswith("AUTH_SECRET_KEY: ")
