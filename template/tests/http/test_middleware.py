"""Every request has an id that its caller, its log lines and its answer share."""

from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from starlette.types import Receive, Scope, Send


async def test_an_answer_carries_a_new_id(client: AsyncClient) -> None:
    first = await client.get("/livez")
    second = await client.get("/livez")

    assert len(first.headers["x-request-id"]) == 32
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize("offered", ["deploy_2026-11", "a" * 8, "a" * 64])
async def test_the_callers_id_is_kept(client: AsyncClient, offered: str) -> None:
    response = await client.get("/livez", headers={"X-Request-ID": offered})

    assert response.headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["a" * 7, "a" * 65, "line\tbreak", "<script>alert(1)</script>"])
async def test_an_id_that_could_do_harm_is_replaced(client: AsyncClient, offered: str) -> None:
    response = await client.get("/livez", headers={"X-Request-ID": offered})

    assert response.headers["x-request-id"] != offered


async def test_an_answer_without_headers_gets_one(app: FastAPI, client: AsyncClient) -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    app.mount("/plain", plain)

    response = await client.get("/plain/")

    assert response.status_code == HTTPStatus.OK
    assert len(response.headers["x-request-id"]) == 32
