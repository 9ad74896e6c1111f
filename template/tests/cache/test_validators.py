"""What clients keep, and how they ask whether it is still good."""

from collections.abc import AsyncGenerator
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from httpx2 import AsyncClient

from app.cache import keep
from app.errors import ServiceError


class NoticeTorn(ServiceError):
    pass


@pytest.fixture
def board() -> dict[str, str]:
    return {"notice": "old"}


@pytest.fixture
def app(app: FastAPI, board: dict[str, str]) -> FastAPI:
    @app.get("/tests/notices")
    @keep("private, no-cache")
    async def read(torn: bool = False) -> str:
        if torn:
            raise NoticeTorn("It is torn.")
        return board["notice"]

    @app.get("/tests/others")
    async def others() -> str:
        return "others"

    @app.get("/tests/streams")
    @keep("max-age=60")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncGenerator[str]:
            yield "a"
            yield "b"

        return StreamingResponse(parts())

    return app


async def test_what_may_be_kept_says_so(client: AsyncClient) -> None:
    response = await client.get("/tests/notices")

    assert response.json() == "old"
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["ETag"].startswith('"')


async def test_what_a_client_has_is_not_sent_again(client: AsyncClient) -> None:
    tag = (await client.get("/tests/notices")).headers["ETag"]

    response = await client.get("/tests/notices", headers={"If-None-Match": tag})

    assert response.status_code == HTTPStatus.NOT_MODIFIED
    assert response.content == b""
    assert response.headers["ETag"] == tag
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert "Content-Length" not in response.headers
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("given", ["*", "W/{tag}", '"a", {tag}', '"a",W/{tag} ,"b"'])
async def test_a_client_may_have_several(client: AsyncClient, given: str) -> None:
    tag = (await client.get("/tests/notices")).headers["ETag"]

    response = await client.get("/tests/notices", headers={"If-None-Match": given.format(tag=tag)})

    assert response.status_code == HTTPStatus.NOT_MODIFIED


@pytest.mark.parametrize("given", ["", '"a"', "a", '"', '"*"', "*, *"])
async def test_a_client_may_have_none(client: AsyncClient, given: str) -> None:
    response = await client.get("/tests/notices", headers={"If-None-Match": given})

    assert response.status_code == HTTPStatus.OK


async def test_what_has_changed_is_sent(client: AsyncClient, board: dict[str, str]) -> None:
    tag = (await client.get("/tests/notices")).headers["ETag"]
    board["notice"] = "new"

    response = await client.get("/tests/notices", headers={"If-None-Match": tag})

    assert response.json() == "new"
    assert response.headers["ETag"] != tag


@pytest.mark.parametrize("path", ["/tests/others", "/tests/notices?torn=true", "/nowhere"])
async def test_everything_else_is_kept_by_nobody(client: AsyncClient, path: str) -> None:
    response = await client.get(path, headers={"If-None-Match": "*"})

    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    assert response.content != b""


async def test_a_stream_has_no_tag_and_is_kept_all_the_same(client: AsyncClient) -> None:
    response = await client.get("/tests/streams")

    assert response.text == "ab"
    assert response.headers["Cache-Control"] == "max-age=60"
    assert "ETag" not in response.headers


async def test_what_somebody_signed_in_gets_is_kept_for_nobody_else(client: AsyncClient) -> None:
    response = await client.get("/tests/streams", headers={"Authorization": "Bearer a"})

    assert response.headers["Cache-Control"] == "private, max-age=60"
