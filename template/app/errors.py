"""Errors as problem documents (RFC 9457)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from http.client import responses
from typing import Any, ClassVar

from fastapi import FastAPI, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.stdlib import get_logger

from app.context import current

logger = get_logger()

# FastAPI's words for a body that is no JSON
UNREADABLE = "There was an error parsing the body"
UNDECODABLE = "JSON decode error"


class ServiceError(Exception):
    """A failure that the caller is told about. `OrderNotFound` becomes the type `/problems/order_not_found`."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "service_error"

    def __init_subclass__(cls) -> None:
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers


class FieldProblem(BaseModel):
    """One thing wrong with the input; `pointer` is a JSON pointer (RFC 6901) into body, query, path or header."""

    pointer: str = Field(examples=["/body/name"])
    code: str = Field(examples=["string_too_short"])
    message: str = Field(examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """What went wrong (RFC 9457); `type` names the kind of problem, and `errors` what is wrong with the input."""

    type: str = Field(examples=["/problems/validation_failed"])
    title: str = Field(examples=["Validation failed"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The request does not have the expected form."])
    instance: str = Field(examples=["/v1/orders"])
    request_id: str = Field(examples=["9f1c2d8e4b7a4f0c8d3e5a6b7c8d9e0f"])
    errors: Sequence[FieldProblem] | None = None


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def problem(
    request: HTTPConnection,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    errors: Sequence[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """Without a `code` the problem is no more than its HTTP status, which RFC 9457 calls `about:blank`."""
    content = {
        "type": f"/problems/{code}" if code else "about:blank",
        "title": code.replace("_", " ").capitalize() if code else responses.get(status, "Error"),
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": current.get().request_id,
    }
    if errors is not None:
        content["errors"] = [error.model_dump() for error in errors]
    return ProblemResponse(content, status, headers)


def log_failure(status: int, error: Exception) -> None:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("http.request_failed", exc_info=error)


async def on_service_error(request: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    log_failure(error.status, error)
    return problem(request, error.status, error.detail, code=error.code, headers=error.headers)


async def on_http_exception(request: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.detail == UNREADABLE and "json" in request.headers.get("content-type", ""):
        return malformed_json(request, "It cannot be read.")
    if error.status_code in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return Response(status_code=error.status_code, headers=error.headers)
    log_failure(error.status_code, error)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(allowed_methods(request))
    return problem(request, error.status_code, error.detail, headers=headers)


def allowed_methods(request: HTTPConnection) -> Iterator[str]:
    """Yield the methods of every route with this path (RFC 9110, 10.2.1); Starlette names those of the first."""
    for method in HTTPMethod:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            yield method


async def on_validation_error(request: HTTPConnection, error: Exception) -> Response:
    """Name the place and the rule, and never the input: it may hold a secret."""
    assert isinstance(error, ValidationException)
    if (
        isinstance(error, RequestValidationError)
        and isinstance(error.body, bytes)
        and any(found["loc"] == ("body",) for found in error.errors())
    ):
        return problem(
            request,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send JSON, and say so: Content-Type: application/json.",
            code="unsupported_media_type",
        )
    for found in error.errors():
        if found["msg"] == UNDECODABLE:
            return malformed_json(request, f"{found['ctx']['error']}.")
    errors = [
        FieldProblem(pointer=json_pointer(found["loc"]), code=found["type"], message=message(found))
        for found in error.errors()
    ]
    return problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request does not have the expected form.",
        code="validation_failed",
        errors=errors,
    )


def message(found: Mapping[str, Any]) -> str:  # as Pydantic has it
    """Return Pydantic's words, but for those that repeat the input."""
    if found["type"] == "union_tag_invalid":
        return f"Input should have one of the tags {found['ctx']['expected_tags']}"
    return str(found["msg"])


def malformed_json(request: HTTPConnection, detail: str) -> Response:
    return problem(request, HTTPStatus.BAD_REQUEST, f"The body is no JSON. {detail}", code="malformed_json")


def json_pointer(location: Sequence[str | int]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


class UnhandledErrors:
    """Answers what nobody expected. A response that has started is left to the server, which logs and breaks it off."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except WebSocketDisconnect:  # nobody is left who could be told
            return
        except Exception:  # the last place where the caller can still be answered
            if current.get().status is not None and scope["type"] == "http":
                raise
            logger.exception("http.unhandled_error")
            response = problem(
                HTTPConnection(scope),
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "The service failed. The request id finds the cause in its log.",
            )
            await response(scope, receive, send)


def install(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(WebSocketRequestValidationError, on_validation_error)
