"""HTTP, incoming and outgoing: what happens around every request, and the client for calling other services."""

import httpx2
from fastapi import FastAPI

from app.feature import add_lifespan
from app.http.admission import Admission, BodyLimit
from app.http.client import HttpClientDep, HttpClientSettings, lifespan, on_upstream_error
from app.http.cors import add_cors
from app.http.middleware import RequestContextMiddleware
from app.http.settings import ServiceSettings

__all__ = [
    "Admission",
    "BodyLimit",
    "HttpClientDep",
    "RequestContextMiddleware",
    "ServiceSettings",
    "add_cors",
    "install",
]


def install(app: FastAPI) -> None:
    app.state.http_client_settings = HttpClientSettings()
    add_lifespan(app, lifespan)
    app.add_exception_handler(httpx2.HTTPError, on_upstream_error)
    app.add_exception_handler(TimeoutError, on_upstream_error)  # of `asyncio.timeout`, where nobody catches it
