"""Items belong to somebody, and so does the client."""

import pytest
from httpx2 import AsyncClient

from tests.fixtures.auth import SignIn


@pytest.fixture
async def client(client: AsyncClient, sign_in: SignIn) -> AsyncClient:
    await sign_in(client)
    return client
