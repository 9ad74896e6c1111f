"""What is expensive cannot be had as often as the rest."""

from http import HTTPStatus

from httpx2 import AsyncClient


async def test_an_export_has_a_limit_of_its_own(client: AsyncClient) -> None:
    exports = [(await client.get("/v1/items/export")).status_code for _ in range(11)]
    listed = await client.get("/v1/items")

    assert exports == [HTTPStatus.OK] * 10 + [HTTPStatus.TOO_MANY_REQUESTS]
    assert listed.status_code == HTTPStatus.OK
