"""Items belong to somebody, and so does the client."""

import pytest
from httpx2 import AsyncClient

from tests.fixtures.auth import MakeUser, log_in


@pytest.fixture
async def client(client: AsyncClient, make_user: MakeUser) -> AsyncClient:
    await make_user()
    await log_in(client)
    return client
