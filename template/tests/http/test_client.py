"""Calls to other services end in time, and their failures are not blamed on this one."""

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from app.http import HttpClientDep
from app.main import create_app
from tests.fixtures.http import Upstream, connect
from tests.fixtures.logs import Logged


def serve_proxy(app: FastAPI) -> None:
    @app.get("/tests/proxy")
    async def get_proxy(url: str, http_client: HttpClientDep) -> str:
        return (await http_client.get(url)).raise_for_status().text

    @app.post("/tests/proxy")
    async def post_proxy(url: str, http_client: HttpClientDep) -> str:
        return (await http_client.post(url)).raise_for_status().text


async def ask(app: FastAPI, url: str, method: str = "GET") -> Response:
    serve_proxy(app)
    async with connect(app) as client:
        return await client.request(method, "/tests/proxy", params={"url": url})


async def test_an_answer_comes_through(app: FastAPI, upstream: Upstream) -> None:
    response = await ask(app, await upstream.start("hello"))

    assert response.json() == "hello"


async def test_silence_is_a_gateway_timeout(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_CLIENT_TIMEOUT", "0.05")

    response = await ask(create_app(), await upstream.start(silent=True))

    assert response.status_code == HTTPStatus.GATEWAY_TIMEOUT
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_deadline_is_a_gateway_timeout(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/weather")
    async def get_weather() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)

    response = await client.get("/tests/weather")

    assert response.status_code == HTTPStatus.GATEWAY_TIMEOUT
    assert [record["level"] for record in logged()] == ["warning", "info"]


async def test_an_endless_answer_is_cut(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_CLIENT_MAX_RESPONSE_BYTES", "1000")

    response = await ask(create_app(), await upstream.start("x" * 1001))

    assert response.status_code == HTTPStatus.BAD_GATEWAY


async def test_a_compressed_answer_is_refused(app: FastAPI, upstream: Upstream) -> None:
    response = await ask(app, await upstream.start("x", headers="Content-Encoding: gzip\r\n"))

    assert response.status_code == HTTPStatus.BAD_GATEWAY


async def test_an_upstream_error_is_a_bad_gateway_whose_address_only_the_log_has(
    logged: Logged, app: FastAPI, upstream: Upstream
) -> None:
    url = await upstream.start(status=HTTPStatus.INTERNAL_SERVER_ERROR)

    response = await ask(app, f"{url}/?token=hunter2")

    assert response.status_code == HTTPStatus.BAD_GATEWAY
    assert "127.0.0.1" not in response.text
    (record,) = (record for record in logged() if record["event"] == "http.upstream_failed")
    assert record["host"] == "127.0.0.1"
    assert "hunter2" not in str(record)


async def test_a_server_that_is_gone_is_a_bad_gateway(app: FastAPI, gone: str) -> None:
    response = await ask(app, gone)

    assert response.status_code == HTTPStatus.BAD_GATEWAY


async def test_all_requests_share_one_client(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/client")
    async def get_client(http_client: HttpClientDep) -> int:
        return id(http_client)

    assert (await client.get("/tests/client")).json() == (await client.get("/tests/client")).json()


async def test_the_client_is_closed_with_the_application(app: FastAPI) -> None:
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        assert not state["http_client"].is_closed

    assert state["http_client"].is_closed


async def test_a_hundred_calls_that_wait_do_not_stop_the_next(
    app: FastAPI, client: AsyncClient, upstream: Upstream
) -> None:
    serve_proxy(app)
    url = await upstream.start("hello", barrier=asyncio.Barrier(101))

    responses = await asyncio.gather(*(client.get("/tests/proxy", params={"url": url}) for _ in range(101)))

    assert {response.status_code for response in responses} == {HTTPStatus.OK}


@pytest.mark.parametrize("status", [HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT])
async def test_what_may_be_asked_twice_is_asked_three_times(
    app: FastAPI, upstream: Upstream, status: HTTPStatus
) -> None:
    response = await ask(app, await upstream.start(status=status))

    assert response.status_code == HTTPStatus.BAD_GATEWAY
    assert upstream.asked == ["/"] * 3


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("POST", HTTPStatus.SERVICE_UNAVAILABLE),
        ("GET", HTTPStatus.INTERNAL_SERVER_ERROR),
        ("GET", HTTPStatus.NOT_FOUND),
    ],
)
async def test_everything_else_is_asked_once(app: FastAPI, upstream: Upstream, method: str, status: HTTPStatus) -> None:
    response = await ask(app, await upstream.start(status=status), method)

    assert response.status_code == HTTPStatus.BAD_GATEWAY
    assert upstream.asked == ["/"]


async def test_a_body_that_can_be_read_once_is_sent_once(app: FastAPI, client: AsyncClient, upstream: Upstream) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"a"

    @app.get("/tests/copy")
    async def get_copy(url: str, http_client: HttpClientDep) -> int:
        return (await http_client.put(url, content=pieces())).status_code

    url = await upstream.start(status=HTTPStatus.SERVICE_UNAVAILABLE)
    response = await client.get("/tests/copy", params={"url": url})

    assert response.json() == HTTPStatus.SERVICE_UNAVAILABLE
    assert upstream.asked == ["/"]


async def test_silence_is_not_waited_for_twice(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_CLIENT_TIMEOUT", "0.05")

    response = await ask(create_app(), await upstream.start(silent=True))

    assert response.status_code == HTTPStatus.GATEWAY_TIMEOUT
    assert upstream.asked == ["/"]


async def test_a_connection_that_is_lost_is_made_again(app: FastAPI, upstream: Upstream) -> None:
    response = await ask(app, await upstream.start("hello", lost=1))

    assert response.json() == "hello"
    assert upstream.asked == ["/", "/"]


async def test_the_number_of_attempts_is_a_setting(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_CLIENT_ATTEMPTS", "1")

    await ask(create_app(), await upstream.start(status=HTTPStatus.SERVICE_UNAVAILABLE))

    assert upstream.asked == ["/"]


async def test_the_id_of_the_request_is_passed_on(app: FastAPI, upstream: Upstream) -> None:
    response = await ask(app, await upstream.start("hello"))

    assert response.headers["x-request-id"] in upstream.heads[0].decode()


async def test_a_redirect_within_the_host_is_followed(app: FastAPI, upstream: Upstream) -> None:
    there = await upstream.start("hello", detour="/there")

    response = await ask(app, there)

    assert response.json() == "hello"
    assert upstream.asked == ["/", "/there"]


@pytest.mark.parametrize(
    "location", ["{elsewhere}", "http://169.254.169.254/", "//127.0.0.2/", "ftp:/x", "http://[", "https://127.0.0.1:1/"]
)
async def test_a_redirect_to_another_host_is_not(app: FastAPI, upstream: Upstream, location: str) -> None:
    elsewhere = await upstream.start("secret")
    url = await upstream.start(detour=location.format(elsewhere=elsewhere))

    response = await ask(app, url)

    assert response.status_code == HTTPStatus.BAD_GATEWAY
    assert upstream.asked == ["/"]


async def test_a_server_that_says_when_to_come_back_is_not_asked_before(app: FastAPI, upstream: Upstream) -> None:
    url = await upstream.start(status=HTTPStatus.SERVICE_UNAVAILABLE, headers="Retry-After: 30\r\n")

    await ask(app, url)

    assert upstream.asked == ["/"]


async def test_a_cookie_is_not_taken_from_one_request_to_the_next(app: FastAPI, upstream: Upstream) -> None:
    url = await upstream.start("hello", headers="Set-Cookie: session=hunter2\r\nContent-Encoding: identity\r\n")
    serve_proxy(app)

    async with connect(app) as client:
        responses = [await client.get("/tests/proxy", params={"url": url}) for _ in range(2)]

    assert [response.json() for response in responses] == ["hello", "hello"]
    assert "hunter2" not in str(upstream.heads)
