"""A number that cannot be kept stops the start."""

import pytest
from pydantic import SecretStr

from app.rate_limit.policies import Rate, declared
from app.rate_limit.settings import RateLimitSettings


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The routes of a service have two limits."""
    monkeypatch.delenv("RATE_LIMIT_DEFAULT")
    for name in [*declared]:
        monkeypatch.delitem(declared, name)
    monkeypatch.setitem(declared, "exports", Rate(10, "minute"))
    monkeypatch.setitem(declared, "reports", Rate(5, "hour"))


def test_there_is_a_limit_when_nobody_has_thought_of_it() -> None:
    settings = RateLimitSettings()

    assert settings.default == Rate(100, "minute")
    assert settings.routes == ()
    assert settings.url is None


def test_routes_are_read_from_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_ROUTES", "exports=20/minute, reports=7/day")

    assert dict(RateLimitSettings().routes) == {"exports": Rate(20, "minute"), "reports": Rate(7, "day")}


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RATE_LIMIT_DEFAULT", "hunter2", "a limit is a number per second, minute, hour, day, like 100/minute"),
        ("RATE_LIMIT_DEFAULT", "0/minute", "a limit is a number per second, minute, hour, day, like 100/minute"),
        ("RATE_LIMIT_ROUTES", "exports", "a limit is a number per second, minute, hour, day, like 100/minute"),
        ("RATE_LIMIT_ROUTES", "export=1/minute", "no route has a limit of the name export; did you mean exports?"),
        ("RATE_LIMIT_ROUTES", "exports=1/minute,exports=2/minute", "a name comes twice"),
    ],
)
def test_a_mistake_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    monkeypatch.setenv(variable, value)

    assert list(RateLimitSettings.mistakes()) == [f"{variable}: {words}"]


def test_a_name_is_a_mistake_where_no_route_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(declared, "exports")
    monkeypatch.delitem(declared, "reports")
    monkeypatch.setenv("RATE_LIMIT_ROUTES", "exports=1/minute")

    assert list(RateLimitSettings.mistakes()) == [
        "RATE_LIMIT_ROUTES: no route has a limit of the name exports; there are none"
    ]


@pytest.mark.parametrize(
    ("own", "common", "used"),
    [
        ("redis://here", "redis://there", SecretStr("redis://here")),
        ("", "redis://there", SecretStr("redis://there")),
        ("", "", None),
    ],
)
def test_it_counts_in_the_redis_of_all_features_unless_it_has_one_of_its_own(
    monkeypatch: pytest.MonkeyPatch, own: str, common: str, used: SecretStr | None
) -> None:
    monkeypatch.setenv("RATE_LIMIT_URL", own)
    monkeypatch.setenv("REDIS_URL", common)

    assert RateLimitSettings().url == used


@pytest.mark.parametrize(
    ("environment", "workers", "url", "mistakes"),
    [
        ("production", "2", "", ["RATE_LIMIT_URL"]),
        ("production", "2", "redis://here", []),
        ("production", "1", "", []),
        ("development", "2", "", []),
    ],
)
def test_several_processes_in_production_need_redis(
    monkeypatch: pytest.MonkeyPatch, environment: str, workers: str, url: str, mistakes: list[str]
) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", environment)
    monkeypatch.setenv("SERVER_WORKERS", workers)
    monkeypatch.setenv("RATE_LIMIT_URL", url)

    assert [line.partition(":")[0] for line in RateLimitSettings.mistakes()] == mistakes
