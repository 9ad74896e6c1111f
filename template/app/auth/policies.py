"""Who may call what: every route says so, or the application does not start."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.requests import HTTPConnection
from fastapi.routing import RouteContext, iter_route_contexts
from structlog.stdlib import get_logger

from app.auth.audit import Audit
from app.auth.identity import CurrentUser, get_current_user, needed
from app.auth.state import identify
from app.database import SessionsDep
from app.errors import ServiceError

logger = get_logger()

SIGNED_IN, PUBLIC = "signed in", "public"
# What cannot say so itself.
PUBLIC_PATHS = {"/docs", "/livez", "/openapi.json", "/readyz"}


class PermissionDenied(ServiceError):
    status = HTTPStatus.FORBIDDEN

    def __init__(self, permission: str) -> None:
        super().__init__(f"It takes the permission {permission}.")


class PolicyMissing(Exception):
    def __init__(self, routes: list[str]) -> None:
        super().__init__(f"Nothing says who may call {', '.join(routes)}; docs/auth.md tells how to.")


@dataclass(frozen=True)
class Requires:
    permission: str

    async def __call__(self, request: HTTPConnection, user: CurrentUser, sessions: SessionsDep) -> None:
        permission = needed(self.permission, user.method)
        if not user.may(permission):
            audit = Audit(sessions, identify(request).address)
            audit.add_refused("denied", actor=user.id, permission=permission)
            raise PermissionDenied(permission)


def requires(permission: str) -> Any:  # a dependency, which FastAPI types as anything
    """Let in who has the permission; `orders` is `orders:read` for GET and HEAD, else `orders:write`.

    Of several, on a router and on its operations, all have to be had.
    """
    return Depends(Requires(permission))


async def let_everybody_in() -> None: ...


public: Any = Depends(let_everybody_in)  # as FastAPI types it
signed_in: Any = Depends(get_current_user)


def make_public(app: FastAPI, path: str) -> None:
    """Let everybody call what cannot say so itself: a path, and whatever is mounted there."""
    if not path.startswith("/") or path == "/":
        raise ValueError("A path that is public begins with a slash and goes on.")
    app.state.public_paths |= {path, f"{path}/"}


def is_public(app: FastAPI, path: str) -> bool:
    known: set[str] = app.state.public_paths
    return path in known or any(path.startswith(prefix) for prefix in known if prefix.endswith("/"))


def calls(dependant: Dependant) -> Iterator[object]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from calls(dependency)


def policy(route: RouteContext, method: str) -> str | None:
    """Return the permissions that a route takes, `signed in` or `public`; `None` where it says nothing."""
    dependant: Dependant | None = getattr(route, "dependant", None)
    found = set(calls(dependant)) if dependant else set()
    if asked := sorted({needed(call.permission, method) for call in found if isinstance(call, Requires)}):
        return " ".join(asked)
    if get_current_user in found:
        return SIGNED_IN
    return PUBLIC if let_everybody_in in found else None


def policies(app: FastAPI) -> Iterator[tuple[str, str, str | None]]:
    """Yield the method, the path and the policy of every route."""
    for route in iter_route_contexts(app.routes):
        path = route.path_format or route.path or ""
        for method in sorted(route.methods or {"*"}):
            yield method, path, policy(route, method) or (PUBLIC if is_public(app, path) else None)


def check_policies(app: FastAPI) -> None:
    if missing := [f"{method} {path}" for method, path, found in policies(app) if found is None]:
        logger.error("auth.policy_missing", routes=missing)  # one line, beside the server's stack
        raise PolicyMissing(missing)


def describe_policies(app: FastAPI) -> None:
    """Have the OpenAPI description say which permissions each operation takes."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:  # as FastAPI has it
        description = describe()
        for method, path, found in policies(app):
            operation = description["paths"].get(path, {}).get(method.lower())
            if operation and found and found not in {SIGNED_IN, PUBLIC}:
                operation["x-permissions"] = found.split()
        return description

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
