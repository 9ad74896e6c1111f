"""What every test may use."""

import os

import pytest

os.environ["SERVICE_ENVIRONMENT"] = "test"  # read when `app` is imported, which the fixtures do

pytest_plugins = ["tests.fixtures.http", "tests.fixtures.logs"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
