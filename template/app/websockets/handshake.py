"""Whether a handshake is looked at all: before that it is not asked who is calling."""

from http import HTTPStatus

from fastapi import WebSocket
from fastapi.requests import HTTPConnection
from fastapi.responses import Response

from app.errors import ServiceError, problem
from app.websockets.hub import HubDep

DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class OriginNotAllowed(ServiceError):
    status = HTTPStatus.FORBIDDEN

    def __init__(self) -> None:
        super().__init__("Pages of this origin may not connect.")


class ServiceStopping(ServiceError):
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("The service is about to stop: try again.", headers={"Retry-After": "1"})


async def on_service_stopping(request: HTTPConnection, error: Exception) -> Response:
    """Answer, and log nothing: with many clients each ordinary stop would look like an outage."""
    assert isinstance(error, ServiceStopping)
    return problem(request, error.status, error.detail, code=error.code, headers=error.headers)


async def check_handshake(websocket: WebSocket, hub: HubDep) -> None:
    """Let in pages of the service's own origin and of those that are named, and what is no browser."""
    if websocket.app.state.readiness.draining:
        raise ServiceStopping
    origins = websocket.headers.getlist("origin")
    if any(origin not in hub.settings.origins and origin != own_origin(websocket) for origin in origins):
        raise OriginNotAllowed


def own_origin(websocket: WebSocket) -> str:
    """Return what a browser calls the origin of this service (RFC 6454, section 6.2)."""
    scheme = "https" if websocket.scope["scheme"] == "wss" else "http"
    return f"{scheme}://{websocket.headers.get('host', '').lower().removesuffix(DEFAULT_PORTS[scheme])}"
