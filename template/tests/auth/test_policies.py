"""Every route says who may call it, and that is how it is."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple
from uuid import uuid4

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from httpx2 import AsyncClient, Response
from starlette.routing import Mount

from app.auth import CurrentUser, current_user, make_public, public, requires
from app.auth.policies import PolicyMissing, policies
from app.auth.roles import ROLES, grants, permissions
from tests.fixtures.auth import MakeUser, act_as, log_in
from tests.fixtures.http import connect


async def nothing() -> None: ...


async def starts(app: FastAPI) -> bool:
    async with connect(app):
        return True


async def test_a_route_without_a_policy_keeps_the_application_from_starting(app: FastAPI) -> None:
    router = APIRouter(prefix="/orders")
    router.add_api_route("/{id}", nothing, methods=["GET", "PUT"])
    outer = APIRouter()
    outer.include_router(router)
    app.include_router(outer, prefix="/v9")

    with pytest.raises(PolicyMissing, match=r"who may call GET /v9/orders/\{id\}, PUT /v9/orders/\{id\}; docs/auth.md"):
        await starts(app)


async def test_a_socket_without_a_policy_keeps_it_from_starting(app: FastAPI) -> None:
    @app.websocket("/orders")
    async def listen(socket: WebSocket) -> None: ...

    with pytest.raises(PolicyMissing, match="/orders"):
        await starts(app)


async def test_what_is_mounted_without_a_policy_keeps_it_from_starting(app: FastAPI) -> None:
    app.router.routes.append(Mount("/static", FastAPI()))

    with pytest.raises(PolicyMissing, match="/static"):
        await starts(app)


async def test_what_is_mounted_can_be_made_public(app: FastAPI) -> None:
    app.router.routes.append(Mount("/static", FastAPI()))

    make_public(app, "/static")

    assert await starts(app)


@pytest.mark.parametrize("path", ["", "/", "static"])
async def test_not_everything_can_be_made_public_by_mistake(app: FastAPI, path: str) -> None:
    with pytest.raises(ValueError, match="slash"):
        make_public(app, path)


@pytest.mark.parametrize("path", ["/docs/secret", "/livez/secret"])
async def test_what_lies_below_a_public_path_is_not_public(app: FastAPI, path: str) -> None:
    app.add_api_route(path, nothing)

    with pytest.raises(PolicyMissing, match=path):
        await starts(app)


async def test_a_path_that_begins_like_a_public_one_is_not_public(app: FastAPI) -> None:
    app.add_api_route("/livezoo", nothing)

    with pytest.raises(PolicyMissing, match="/livezoo"):
        await starts(app)


async def signed_in(user: CurrentUser) -> None: ...


@pytest.mark.parametrize(
    ("route", "method", "policy"),
    [
        ({"dependencies": [public]}, "POST", "public"),
        ({"endpoint": signed_in}, "POST", "signed in"),
        ({"endpoint": signed_in, "dependencies": [public]}, "GET", "signed in"),
        ({"dependencies": [requires("orders")]}, "GET", "orders:read"),
        ({"dependencies": [requires("orders")]}, "HEAD", "orders:read"),
        ({"dependencies": [requires("orders")]}, "POST", "orders:write"),
        ({"dependencies": [requires("orders")]}, "DELETE", "orders:write"),
        ({"dependencies": [requires("orders:publish")]}, "GET", "orders:publish"),
        ({"dependencies": [requires("orders"), requires("orders:publish")]}, "PUT", "orders:publish orders:write"),
        ({"dependencies": [public, requires("orders")]}, "PUT", "orders:write"),
        ({"dependencies": [requires("orders"), requires("orders:write")]}, "PUT", "orders:write"),
    ],
)
async def test_a_policy_is_what_its_dependencies_say(
    app: FastAPI, route: dict[str, object], method: str, policy: str
) -> None:
    router = APIRouter()
    router.add_api_route("/orders", **{"endpoint": nothing, "methods": [method], **route})  # type: ignore[arg-type]  # of many types
    app.include_router(router, prefix="/v9")

    assert (method, "/v9/orders", policy) in [*policies(app)]


@pytest.mark.parametrize(
    ("method", "granted", "status"),
    [
        ("GET", "orders:read", HTTPStatus.OK),
        ("GET", "orders:write", HTTPStatus.FORBIDDEN),
        ("POST", "orders:write", HTTPStatus.OK),
        ("POST", "orders:read", HTTPStatus.FORBIDDEN),
        ("POST", "orders:*", HTTPStatus.OK),
        ("POST", "*", HTTPStatus.OK),
        ("POST", "order:*", HTTPStatus.FORBIDDEN),
        ("POST", "orders", HTTPStatus.FORBIDDEN),
        ("POST", "orders:", HTTPStatus.FORBIDDEN),
    ],
)
async def test_a_role_opens_what_it_is_granted(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, method: str, granted: str, status: HTTPStatus
) -> None:
    monkeypatch.setattr("app.auth.roles.ROLES", {"clerk": [granted]})
    app.add_api_route("/v9/orders", nothing, methods=[method], dependencies=[requires("orders")])
    act_as(app, "clerk")

    async with connect(app) as client:
        response = await client.request(method, "/v9/orders")

    assert response.status_code == status


async def test_all_policies_of_a_route_have_to_be_met(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.auth.roles.ROLES", {"clerk": ["orders:write"]})
    policy = [requires("orders"), requires("orders:publish")]
    app.add_api_route("/v9/orders", nothing, methods=["POST"], dependencies=policy)
    act_as(app, "clerk")

    async with connect(app) as client:
        response = await client.post("/v9/orders")

    assert response.status_code == HTTPStatus.FORBIDDEN
    assert response.json()["detail"] == "It takes the permission orders:publish."


async def test_on_a_public_route_nobody_is_who_called_before(
    app: FastAPI, client: AsyncClient, make_user: MakeUser
) -> None:
    @app.get("/tests/orders", dependencies=[public])
    async def list_orders() -> str:
        with pytest.raises(LookupError):
            current_user()
        return "nobody"

    await make_user()
    await log_in(client)
    assert (await client.get("/v1/users/me")).is_success

    assert (await client.get("/tests/orders")).json() == "nobody"


async def test_the_description_names_the_permissions(client: AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]

    assert paths["/v1/users"]["get"]["x-permissions"] == ["users:read"]
    assert paths["/v1/users"]["post"]["x-permissions"] == ["users:write"]
    assert paths["/v1/users"]["post"]["security"] == [{"Bearer": []}]
    assert "x-permissions" not in paths["/v1/users/me"]["get"]
    assert "security" not in paths["/livez"]["get"]


class Operation(NamedTuple):
    """What the description tells of an operation; nobody has to log in for one that is `public`."""

    method: str
    path: str
    permissions: Sequence[str]
    public: bool

    async def call(self, client: AsyncClient, token: str = "") -> Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await client.request(self.method, self.path, json={}, headers=headers)


@pytest.fixture
def operations(app: FastAPI) -> list[Operation]:
    return [
        Operation(
            method.upper(),
            path.replace("{base}", "EUR").replace("{id}", str(uuid4())),
            operation.get("x-permissions", ()),
            "security" not in operation,
        )
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


async def test_nobody_gets_in_without_logging_in(
    client: AsyncClient, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        with subtests.test(f"{operation.method} {operation.path}"):
            response = await operation.call(client)

            assert (response.status_code == HTTPStatus.UNAUTHORIZED) is not operation.public
            assert operation.public or response.headers["WWW-Authenticate"] == "Bearer"


async def test_no_other_token_gets_anybody_in(
    client: AsyncClient, make_user: MakeUser, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    await make_user("ada@example.org", "admin")
    ended = await log_in(client)
    await client.post("/v1/auth/logout")
    tokens = await log_in(client)
    del client.headers["Authorization"]
    others = {
        "refresh token": tokens["refresh_token"],
        "of a session that has ended": ended["access_token"],
        "unsigned": tokens["access_token"].rpartition(".")[0] + ".",
    }

    for operation in operations:
        for name, token in others.items():
            with subtests.test(f"{operation.method} {operation.path}, {name}"):
                response = await operation.call(client, token)

                assert (response.status_code == HTTPStatus.UNAUTHORIZED) is not operation.public


@pytest.mark.parametrize("role", ["nobody", *ROLES])
async def test_a_role_gets_to_what_it_may_and_nowhere_else(
    client: AsyncClient, make_user: MakeUser, operations: list[Operation], role: str, subtests: pytest.Subtests
) -> None:
    await make_user("ada@example.org", role)
    await log_in(client)

    for operation in [each for each in operations if each.permissions]:
        with subtests.test(f"{operation.method} {operation.path}"):
            response = await client.request(operation.method, operation.path, json={})

            may = all(grants(permissions([role]), permission) for permission in operation.permissions)
            assert (response.status_code == HTTPStatus.FORBIDDEN) is not may
