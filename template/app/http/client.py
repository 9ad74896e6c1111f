"""The client for calling other services: one pool for the whole process, time-outs, and no answer without end."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from http import HTTPStatus
from typing import Annotated, TypedDict

import httpx2
from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import PositiveFloat, PositiveInt
from pydantic_settings import SettingsConfigDict
from structlog.stdlib import get_logger

from app.errors import problem
from app.settings import Settings

logger = get_logger()


class HttpClientSettings(Settings):
    """`timeout` is in seconds and holds for each phase of a call: connecting, each write, each read."""

    model_config = SettingsConfigDict(env_prefix="HTTP_CLIENT_")

    timeout: PositiveFloat = 5.0
    max_response_bytes: PositiveInt = 5_000_000


class ResponseTooLarge(httpx2.TransportError):
    """Raised while the body is read, as soon as it passes the limit."""


class LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self.stream = stream
        self.limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self.stream:
            received += len(chunk)
            if received > self.limit:
                raise ResponseTooLarge(f"The answer has more than {self.limit} bytes.")
            yield chunk

    async def aclose(self) -> None:
        await self.stream.aclose()


@cache
def tls() -> ssl.SSLContext:
    """Read the trusted certificates once: it takes 40 ms."""
    return httpx2.create_ssl_context()


class LimitedTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, max_response_bytes: int) -> None:
        # Without a limit: one silent service would take all connections from the others.
        super().__init__(verify=tls(), limits=httpx2.Limits(max_connections=None))
        self.max_response_bytes = max_response_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if "content-encoding" in response.headers:
            await response.aclose()
            raise httpx2.RemoteProtocolError("The answer is compressed, which was not asked for.")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = LimitedStream(response.stream, self.max_response_bytes)
        return response


class ClientState(TypedDict):
    http_client: httpx2.AsyncClient


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[ClientState]:
    settings: HttpClientSettings = app.state.http_client_settings
    async with httpx2.AsyncClient(
        timeout=settings.timeout,
        transport=LimitedTransport(settings.max_response_bytes),
        headers={"Accept-Encoding": "identity"},  # a small compressed answer can be a large one
    ) as client:
        yield {"http_client": client}


async def get_http_client(request: Request) -> httpx2.AsyncClient:
    client: httpx2.AsyncClient = request.state.http_client
    return client


HttpClientDep = Annotated[httpx2.AsyncClient, Depends(get_http_client)]


async def on_upstream_error(request: Request, error: Exception) -> Response:
    """Tell the caller that the fault lies behind this service, and the log where."""
    assert isinstance(error, httpx2.HTTPError)
    logger.warning("http.upstream_failed", host=error.request.url.host, error=type(error).__name__)
    if isinstance(error, httpx2.TimeoutException):
        return problem(request, HTTPStatus.GATEWAY_TIMEOUT, "A service behind this one did not answer in time.")
    return problem(request, HTTPStatus.BAD_GATEWAY, "A service behind this one failed.")
