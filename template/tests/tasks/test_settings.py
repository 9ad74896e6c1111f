"""Settings of the tasks are refused where they could not work."""

import pytest
from pydantic import ValidationError

from app.tasks import Run, task
from app.tasks.configuration import create_celery
from app.tasks.settings import TasksSettings


async def short(run: Run) -> None: ...


@pytest.mark.parametrize("url", ["amqp://", "http://localhost", "broker", "sqs://hunter2@"])
def test_a_broker_is_rabbitmq_or_redis(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TASKS_BROKER_URL", url)

    with pytest.raises(ValidationError, match="a broker is named like") as caught:
        TasksSettings()

    assert "hunter2" not in str(caught.value)


def test_production_needs_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "production")

    with pytest.raises(ValidationError, match="TASKS_BROKER_URL or REDIS_URL"):
        TasksSettings()


def test_the_redis_of_everything_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")

    assert TasksSettings().broker() == "redis://localhost:6379/0"


def test_a_password_of_its_own_is_written_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_BROKER_URL", "amqp://service:old@broker:5672/orders")
    monkeypatch.setenv("TASKS_BROKER_PASSWORD", "p@ss/w%rd")

    assert TasksSettings().broker() == "amqp://service:p%40ss%2Fw%25rd@broker:5672/orders"


def test_that_of_redis_is_not_lost_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://:old@localhost/1?ssl_cert_reqs=none")
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/w%rd")

    assert TasksSettings().broker() == "rediss://:p%40ss%2Fw%25rd@localhost/1?ssl_cert_reqs=none"


def test_a_password_for_the_containers_does_no_harm_in_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_BROKER_PASSWORD", "hunter2")

    assert TasksSettings().broker() is None


def test_a_task_has_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_SOFT_LIMIT", "90")

    with pytest.raises(ValidationError, match="TASKS_SOFT_LIMIT must be below TASKS_HARD_LIMIT"):
        TasksSettings()


def test_a_single_task_has_time_to_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tasks.definitions.TASKS", {})
    monkeypatch.setattr("app.tasks.settings.TASKS", {"tests.short": task("tests.short", hard_limit=30)(short)})

    with pytest.raises(ValidationError, match=r"leave tests\.short no time to end"):
        TasksSettings()


def test_a_password_has_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost")
    monkeypatch.setenv("TASKS_BROKER_PASSWORD", "hunter2")

    with pytest.raises(ValidationError, match="TASKS_BROKER_PASSWORD needs TASKS_BROKER_URL"):
        TasksSettings()


def test_nobody_else_gets_a_task_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_BROKER_URL", "redis://localhost")
    monkeypatch.setenv("TASKS_HARD_LIMIT", "4000")

    assert create_celery(TasksSettings()).conf.broker_transport_options["visibility_timeout"] > 4000


@pytest.mark.parametrize("url", ["amqps://broker", "rediss://broker"])
def test_certificates_are_verified(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TASKS_BROKER_URL", url)

    options = create_celery(TasksSettings()).conf.broker_use_ssl

    assert "CERT_REQUIRED" in {getattr(option, "name", None) for option in options.values()}
