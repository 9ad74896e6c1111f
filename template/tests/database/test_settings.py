"""Where the database is, and what is refused."""

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from app.database import DatabaseSettings

HARD = "p@ss:w/rd%#?&=+ é"


def test_a_password_may_have_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://service@db.example:5433/service")
    monkeypatch.setenv("DATABASE_PASSWORD", HARD)

    url = DatabaseSettings().parsed_url()

    assert (url.username, url.password, url.host, url.port, url.database) == (
        "service",
        HARD,
        "db.example",
        5433,
        "service",
    )


def test_a_password_in_the_url_is_percent_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://service:p%40ss%3Aw%2Frd%25%23@db.example/service")

    assert DatabaseSettings().parsed_url().password == "p@ss:w/rd%#"


def test_a_password_alone_does_not_disturb_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///test.db")
    monkeypatch.setenv("DATABASE_PASSWORD", HARD)

    assert DatabaseSettings().parsed_url() == make_url("sqlite+aiosqlite:///test.db")


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://db.example/service", "postgresql+asyncpg"),
        ("postgresql://db.example/service", "postgresql+asyncpg"),
        ("postgresql+asyncpg://db.example/service", "postgresql+asyncpg"),
        ("sqlite:///test.db", "sqlite+aiosqlite"),
    ],
)
def test_a_url_gets_its_driver(monkeypatch: pytest.MonkeyPatch, url: str, driver: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert DatabaseSettings().parsed_url().drivername == driver


def test_the_url_that_providers_hand_out_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/service?sslmode=require")

    assert dict(DatabaseSettings().parsed_url().query) == {"ssl": "require"}


@pytest.mark.parametrize(
    "url", ["hunter2", "mysql://root:hunter2@db/service", "sqlite://", "sqlite:///", "sqlite:///:memory:", "http://["]
)
def test_what_is_no_database_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(ValidationError, match="DATABASE_URL") as caught:
        DatabaseSettings()

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("environment", ["production", ""])
@pytest.mark.parametrize("url", ["", "sqlite:///service.db"])
def test_production_refuses_sqlite(monkeypatch: pytest.MonkeyPatch, environment: str, url: str) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(ValidationError, match="DATABASE_URL must name a PostgreSQL database"):
        DatabaseSettings()


def test_development_needs_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "development")
    monkeypatch.delenv("DATABASE_URL")

    assert str(DatabaseSettings().parsed_url()).endswith("/service.db")


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://service:hunter2@db.example/service")
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter3")

    settings = DatabaseSettings()

    assert "hunter" not in repr(settings) + str(settings) + settings.model_dump_json() + str(settings.parsed_url())


def test_a_password_reaches_a_socket_in_the_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://service@/service?host=/var/run/postgresql")
    monkeypatch.setenv("DATABASE_PASSWORD", HARD)

    assert DatabaseSettings().parsed_url().password == HARD


@pytest.mark.parametrize("seconds", ["3.0", "4", "0"])
def test_a_statement_ends_before_the_server_counts_as_gone(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("DATABASE_STATEMENT_TIMEOUT", seconds)

    with pytest.raises(ValidationError, match="DATABASE_STATEMENT_TIMEOUT must be below DATABASE_COMMAND_TIMEOUT"):
        DatabaseSettings()
