"""What every test may use."""

import os
from pathlib import Path

import pytest

# Before the fixtures import `app`: what this machine has set for the service stays out of the tests.
for line in Path(__file__).parents[1].joinpath(".env.example").read_text("utf-8").splitlines():
    for name in (line.partition("=")[0], line.partition("=")[0] + "_FILE"):
        os.environ.pop(name, None)
os.environ["SERVICE_ENVIRONMENT"] = "test"

pytest_plugins = [
    "tests.fixtures.http",
    "tests.fixtures.logs",
    # features
    # {% if database %}
    "tests.fixtures.database",
    # {% endif %}
    # {% if auth %}
    "tests.fixtures.auth",
    # {% endif %}
    # {% if cache or rate_limit or websockets %}
    "tests.fixtures.redis",
    # {% endif %}
    # {% if rate_limit %}
    "tests.fixtures.rate_limit",
    # {% endif %}
    # {% if tasks %}
    "tests.fixtures.tasks",
    # {% endif %}
    # {% if websockets %}
    "tests.fixtures.websockets",
    # {% endif %}
    # this service
]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
