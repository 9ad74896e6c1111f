"""The client for calling other services: one pool for the whole process, time-outs, limits, and second attempts."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, TypedDict

import httpx2
from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import SettingsConfigDict
from structlog.stdlib import get_logger
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from app.context import current
from app.errors import problem
from app.settings import Settings

logger = get_logger()

# What may be done twice (RFC 9110, section 9.2.2), and what is worth it; a time-out has taken its time already.
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
LOST = (httpx2.ConnectError, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
OVERLOADED = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


class HttpClientSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="HTTP_CLIENT_")

    timeout: PositiveFloat = Field(
        default=5.0, description="seconds for each phase of a call to another service: connecting, a write, a read"
    )
    max_response_bytes: PositiveInt = Field(default=5_000_000, description="the longest answer that is read")
    attempts: PositiveInt = Field(
        default=3, description="how often a call that may be repeated is made before its failure counts"
    )


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
    def __init__(self, settings: HttpClientSettings) -> None:
        # Without a limit: one silent service would take all connections from the others.
        super().__init__(verify=tls(), limits=httpx2.Limits(max_connections=None))
        self.attempts = settings.attempts
        self.max_response_bytes = settings.max_response_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        repeatable = request.method in IDEMPOTENT and isinstance(request.stream, httpx2.ByteStream)
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.attempts if repeatable else 1),
            wait=wait_random_exponential(multiplier=0.1, max=1),
            retry=retry_if_exception_type(LOST) | retry_if_result(is_overloaded),
            before_sleep=close_unwanted,
            retry_error_callback=last_outcome,
        )
        response: httpx2.Response = await retrying(super().handle_async_request, request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("The answer is compressed, which was not asked for.")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = LimitedStream(response.stream, self.max_response_bytes)
        return response


def is_overloaded(response: httpx2.Response) -> bool:
    """A server that says when to come back is not asked before."""
    return response.status_code in OVERLOADED and "retry-after" not in response.headers


async def close_unwanted(state: RetryCallState) -> None:
    """Give up the connection of an answer before there is another one."""
    if state.outcome is not None and not state.outcome.failed:
        await state.outcome.result().aclose()


def last_outcome(state: RetryCallState) -> httpx2.Response:
    """Return or raise what the last attempt did, instead of an error of tenacity's."""
    assert state.outcome is not None
    response: httpx2.Response = state.outcome.result()
    return response


async def pass_on_request_id(request: httpx2.Request) -> None:
    if (context := current.get(None)) is not None:
        request.headers.setdefault("X-Request-ID", context.request_id)


async def stay_with_host(response: httpx2.Response) -> None:
    """Refuse to be sent elsewhere: to another service inside, for example (OWASP API7)."""
    if response.has_redirect_location:
        here = response.request.url
        try:
            there = here.join(response.headers["Location"])
        except httpx2.InvalidURL:
            there = httpx2.URL()
        if (there.host, there.port) != (here.host, here.port) or there.scheme not in {here.scheme, "https"}:
            raise httpx2.RemoteProtocolError("The answer redirects to another host.", request=response.request)


class ClientState(TypedDict):
    http_client: httpx2.AsyncClient


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[ClientState]:
    settings: HttpClientSettings = app.state.http_client_settings
    async with httpx2.AsyncClient(
        timeout=settings.timeout,
        transport=LimitedTransport(settings),
        follow_redirects=True,
        event_hooks={"request": [pass_on_request_id], "response": [stay_with_host]},
        headers={"Accept-Encoding": "identity"},  # a small compressed answer can be a large one
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one caller's would reach the next one's calls
    ) as client:
        yield {"http_client": client}


async def get_http_client(request: Request) -> httpx2.AsyncClient:
    client: httpx2.AsyncClient = request.state.http_client
    return client


HttpClientDep = Annotated[httpx2.AsyncClient, Depends(get_http_client)]


async def on_upstream_error(request: Request, error: Exception) -> Response:
    """Tell the caller that the fault lies behind this service, and the log where."""
    host = error.request.url.host if isinstance(error, httpx2.HTTPError) else None
    logger.warning("http.upstream_failed", host=host, error=type(error).__name__)
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return problem(request, HTTPStatus.GATEWAY_TIMEOUT, "A service behind this one did not answer in time.")
    return problem(request, HTTPStatus.BAD_GATEWAY, "A service behind this one failed.")
