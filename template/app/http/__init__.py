"""HTTP, incoming and outgoing: the request context with its log line, and the client for calling other services."""

import httpx2
from fastapi import FastAPI

from app.feature import add_lifespan
from app.http.client import HttpClientDep, lifespan, on_upstream_error
from app.http.middleware import RequestContextMiddleware
from app.logs import access_logger

__all__ = ["HttpClientDep", "install"]


def install(app: FastAPI) -> None:
    add_lifespan(app, lifespan)
    app.add_exception_handler(httpx2.HTTPError, on_upstream_error)
    app.add_middleware(RequestContextMiddleware, write=access_logger())
