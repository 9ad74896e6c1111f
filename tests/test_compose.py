"""The compose file: only the service can be reached, everything behind it wants a password and is waited for."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.combinations import BARE, EACH, FULL, Answers, identify, unique
from tests.conftest import Render
from tests.postgresql import free_port
from tests.redis_server import PROGRAM, needs_redis

Compose = dict[str, Any]  # of what YAML has

# what runs from the image of the service, and what it needs beside it
SECRETS = {
    "database": {"DATABASE_PASSWORD"},
    "auth": {"AUTH_SECRET_KEY"},
    "cache": {"REDIS_PASSWORD"},
    "rate_limit": {"REDIS_PASSWORD"},
    "tasks": {"TASKS_BROKER_PASSWORD"},
    "websockets": {"REDIS_PASSWORD"},
}


@pytest.fixture(params=unique([BARE, *EACH, FULL]), ids=identify)
def answers(request: pytest.FixtureRequest) -> Answers:
    answers: Answers = request.param
    return answers


def load(service: Path) -> Compose:
    compose: Compose = yaml.safe_load((service / "compose.yaml").read_text("utf-8"))
    return compose


@pytest.fixture
def compose(render: Render, answers: Answers) -> Compose:
    return load(render(answers))


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from strings([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def test_only_the_service_can_be_reached_and_only_from_this_machine(compose: Compose) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}

    assert ports == {"app": ["127.0.0.1:8000:8000"]}
    assert not any(
        {"network_mode", "privileged", "expose"} & service.keys() for service in compose["services"].values()
    )


def test_what_stands_behind_it_has_no_way_out(compose: Compose) -> None:
    networks = {name: service["networks"] for name, service in compose["services"].items()}

    assert compose["networks"] == {"inside": {"internal": True}, "outside": None}
    assert all("inside" in each for each in networks.values())
    assert {name for name, each in networks.items() if "outside" in each} <= {"app", "worker", "beat"}


def test_whatever_runs_on_is_asked_whether_it_is_well(compose: Compose) -> None:
    """The image asks for itself where the compose file does not."""
    own = {name for name, service in compose["services"].items() if "build" in service}
    asked = {name for name, service in compose["services"].items() if "healthcheck" in service}

    assert compose["services"].keys() - asked <= {"app", "migrate"}
    assert own <= {"app", "migrate", "worker", "beat"}
    for name in asked:
        assert {"test", "interval", "timeout"} <= compose["services"][name]["healthcheck"].keys()


def test_everything_that_is_needed_is_waited_for(compose: Compose, answers: Answers) -> None:
    services = compose["services"]
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            ends = "restart" not in services[name]
            condition = "service_completed_successfully" if ends else "service_healthy"
            assert needed == {"condition": condition}
            assert ends or "healthcheck" in services[name]

    needed = set(services["app"].get("depends_on", {}))
    assert needed == {
        *(["migrate"] if answers["database"] else []),
        *(["redis"] if answers["cache"] or answers["rate_limit"] or answers["websockets"] else []),
    }
    if answers["database"]:
        assert list(services["migrate"]["depends_on"]) == ["postgres"]
    if answers["tasks"]:
        assert set(services["worker"]["depends_on"]) == {*needed, "rabbitmq"}
        assert services["beat"]["depends_on"] == services["worker"]["depends_on"]


def test_every_secret_comes_from_one_place_and_none_is_in_a_url(compose: Compose, answers: Answers) -> None:
    texts = list(strings(compose))
    asked = {match for text in texts for match in re.findall(r"\$\{(\w+):\?set it in \.env\}", text)}

    assert asked == {name for feature, names in SECRETS.items() if answers[feature] for name in names}
    assert not [text for text in texts if re.search(r"//[^/]*:[^/]*@", text)]
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|_PASS$|AUTH$", name):
                assert re.fullmatch(r"\$\{\w+:\?set it in \.env\}", value), name


def test_each_secret_is_written_once(render: Render, answers: Answers) -> None:
    text = (render(answers) / "compose.yaml").read_text("utf-8")
    asked = re.findall(r"\$\{(\w+):\?", text)

    assert len(asked) == len(set(asked))


def test_worker_and_beat_know_what_the_service_knows(render: Render) -> None:
    services = load(render(FULL))["services"]

    assert services["app"]["environment"].items() <= services["worker"]["environment"].items()
    assert services["beat"]["environment"] == services["worker"]["environment"]


def test_what_is_ours_may_do_nothing_but_its_work(compose: Compose) -> None:
    for service in compose["services"].values():
        if "build" in service:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert service["tmpfs"] == ["/tmp"]


def test_what_is_not_ours_has_an_exact_version(compose: Compose) -> None:
    for service in compose["services"].values():
        assert "build" in service or re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-alpine", service["image"])


@needs_redis
def test_its_redis_wants_the_password(render: Render) -> None:
    assert PROGRAM is not None
    service = load(render(FULL))["services"]["redis"]
    secret, port = "p@ss 'w\"rd\\", free_port()
    program, *options = [secret if option.startswith("${") else option for option in service["command"]]
    command, *arguments = service["healthcheck"]["test"][1:]
    assert program == "redis-server"

    def ask(password: str) -> int:
        environment = {**os.environ, "REDISCLI_AUTH": password}
        question = [shutil.which(command) or command, "-p", str(port), *arguments]
        return subprocess.run(question, env=environment, capture_output=True, check=False, timeout=10).returncode

    with subprocess.Popen(
        [PROGRAM, *options, "--port", str(port), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 10
            while (code := ask(secret)) and time.monotonic() < deadline:
                time.sleep(0.05)
            wrong = ask("something else")
            shown = Path(f"/proc/{process.pid}/cmdline")
            listed = shown.read_text("utf-8") if shown.exists() else ""
        finally:
            process.terminate()

    assert (code, wrong) == (0, 1)
    assert 'w"rd' not in listed, "whoever may list the processes sees the password"
    assert ask(secret) == 1
