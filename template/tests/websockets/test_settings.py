"""A setting that cannot be kept stops the start."""

import sys

import pytest
import uvicorn

from app.serve import main
from app.websockets.protocol import Protocol
from app.websockets.settings import WebSocketsSettings


def test_there_are_limits_when_nobody_has_thought_of_them() -> None:
    settings = WebSocketsSettings()

    assert settings.max_message_bytes == 65_536
    assert (settings.messages_per_second, settings.rooms_per_connection) == (20, 50)
    assert (settings.connections_per_principal, settings.connections_per_address) == (5, 100)
    assert settings.max_connections == 10_000
    assert (settings.origins, settings.url) == ((), None)


@pytest.mark.parametrize("value", ["shop.example", "https://shop.example/", "https://shop.example/path", "ftp://a"])
def test_an_origin_is_what_browsers_send(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WEBSOCKETS_ORIGINS", value)

    (mistake,) = WebSocketsSettings.mistakes()

    assert mistake.startswith("WEBSOCKETS_ORIGINS: ")
    assert "example" not in mistake


@pytest.mark.parametrize("value", ["http://shop.example", "https://shop.example,http://localhost:5173"])
def test_production_knows_pages_by_https_alone(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")
    monkeypatch.setenv("WEBSOCKETS_ORIGINS", value)

    assert [*WebSocketsSettings.mistakes()] == ["WEBSOCKETS_ORIGINS: origins must be https in production"]


def test_every_origin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSOCKETS_ORIGINS", "https://shop.example,*")

    assert [*WebSocketsSettings.mistakes()] == ["WEBSOCKETS_ORIGINS: every origin has to be named"]


def test_several_processes_need_redis_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")
    monkeypatch.setenv("SERVER_WORKERS", "2")
    without = [*WebSocketsSettings.mistakes()]
    monkeypatch.setenv("REDIS_URL", "redis://redis.example")

    (mistake,) = without
    assert mistake.startswith("WEBSOCKETS_URL: several processes know of each other only in Redis")
    assert [*WebSocketsSettings.mistakes()] == []


@pytest.mark.parametrize("variable", ["WEBSOCKETS_MAX_MESSAGE_BYTES", "WEBSOCKETS_MESSAGES_PER_SECOND"])
def test_a_limit_is_a_number_above_nothing(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "0")

    assert [*WebSocketsSettings.mistakes()] == [f"{variable}: Input should be greater than 0"]


@pytest.mark.parametrize(
    ("variable", "most"), [("WEBSOCKETS_MAX_MESSAGE_BYTES", 262_144), ("WEBSOCKETS_MESSAGES_PER_SECOND", 1000)]
)
def test_a_limit_is_one_that_the_server_keeps(monkeypatch: pytest.MonkeyPatch, variable: str, most: int) -> None:
    monkeypatch.setenv(variable, f"{most + 1}")

    assert [*WebSocketsSettings.mistakes()] == [f"{variable}: Input should be less than or equal to {most}"]


def test_the_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, object] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: told.update(options))
    monkeypatch.setattr(sys, "argv", ["serve"])
    monkeypatch.setenv("SERVER_WORKERS", "")  # which the command sets
    monkeypatch.setenv("WEBSOCKETS_MAX_MESSAGE_BYTES", "1000")

    assert main() == 0

    assert (told["ws"], told["ws_max_size"], told["ws_per_message_deflate"]) == (Protocol, 1000, False)
