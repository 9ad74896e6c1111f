"""Where Redis is."""

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from redis.asyncio.connection import parse_url

from app.redis import RedisFields
from app.settings import Settings


class ShelfSettings(RedisFields, Settings):
    model_config = SettingsConfigDict(env_prefix="SHELF_")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost?nonsense=1",
        "redis://localhost?socket_timeout=9",
        "redis://localhost?max_connections=9",
        "redis://localhost?decode_responses=true",
    ],
)
def test_what_names_no_server_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SHELF_URL", url)

    assert [*ShelfSettings.mistakes()] == ["SHELF_URL: a server is named like redis://user:password@host:6379/0"]


@pytest.mark.parametrize(("own", "used"), [("", "redis://all"), ("redis://own", "redis://own")])
def test_a_feature_has_a_server_of_its_own_or_that_of_all(monkeypatch: pytest.MonkeyPatch, own: str, used: str) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://all")
    monkeypatch.setenv("SHELF_URL", own)

    assert ShelfSettings().url == SecretStr(used)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("redis://host", "redis://:p%40ss%2Fw%25rd@host"),
        (
            "rediss://user:old@host:6380/1?ssl_cert_reqs=none",
            "rediss://user:p%40ss%2Fw%25rd@host:6380/1?ssl_cert_reqs=none",
        ),
        ("redis://[::1]:6379", "redis://:p%40ss%2Fw%25rd@[::1]:6379"),
        ("unix:///run/redis.sock", "unix://:p%40ss%2Fw%25rd@/run/redis.sock"),
    ],
)
def test_a_password_of_its_own_is_written_as_it_is(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    monkeypatch.setenv("REDIS_URL", given)
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/w%rd")

    url = ShelfSettings().url

    assert url == SecretStr(used)
    assert parse_url(used)["password"] == "p@ss/w%rd"


def test_it_is_that_of_the_server_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF_URL", "redis://own")
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")

    assert ShelfSettings().url == SecretStr("redis://own")


def test_in_production_several_processes_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")
    monkeypatch.setenv("SERVER_WORKERS", "2")

    (mistake,) = ShelfSettings.mistakes()

    assert mistake.startswith("SHELF_URL: several processes")
