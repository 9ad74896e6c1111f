"""A WebSocket's handshake is a request until it is accepted: it can be refused with an answer, and has an outcome."""

from http import HTTPStatus

import orjson
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, WebSocket
from starlette.status import WS_1000_NORMAL_CLOSURE, WS_1008_POLICY_VIOLATION, WS_1011_INTERNAL_ERROR
from starlette.types import Message

from app.context import after_commit, after_rollback
from app.errors import ServiceError
from tests.fixtures.http import shake_hands
from tests.fixtures.logs import Logged


class ShelfEmpty(ServiceError):
    status = HTTPStatus.CONFLICT


ERRORS: dict[str, Exception] = {
    "empty": ShelfEmpty("Nothing is left.", headers={"Retry-After": "60"}),
    "gone": HTTPException(HTTPStatus.GONE, "It has moved."),
    "jammed": ServiceError("The press is jammed."),
    "torn": RuntimeError("hunter2"),
}


@pytest.fixture
def done(app: FastAPI) -> list[str]:
    """What has been done at `/tests/socket/{when}/{error}`, which fails before it has accepted or after that."""
    done: list[str] = []

    async def keep() -> None:
        done.append("kept")

    async def undo() -> None:
        done.append("undone")

    @app.websocket("/tests/socket/{when}/{error}")
    async def answer(socket: WebSocket, when: str, error: str) -> None:
        after_commit(keep)
        after_rollback(undo)
        if when == "before":
            raise ERRORS[error]
        await socket.accept()
        done.append("accepted")
        if when == "after":
            raise ERRORS[error]
        await socket.close()

    return done


def summary(sent: list[Message]) -> list[tuple[str, int | None]]:
    return [
        (message["type"].removeprefix("websocket."), message.get("code", message.get("status"))) for message in sent
    ]


async def test_what_waits_is_done_before_it_is_accepted(app: FastAPI, done: list[str]) -> None:
    sent = await shake_hands(app, "/tests/socket/never/torn")

    assert done == ["kept", "accepted"]
    assert summary(sent) == [("accept", None), ("close", WS_1000_NORMAL_CLOSURE)]


@pytest.mark.parametrize(
    ("error", "status", "type", "detail"),
    [
        ("empty", 409, "/problems/shelf_empty", "Nothing is left."),
        ("gone", 410, "about:blank", "It has moved."),
        ("jammed", 500, "/problems/service_error", "The press is jammed."),
        ("torn", 500, "about:blank", "The service failed. The request id finds the cause in its log."),
    ],
)
async def test_an_error_before_that_is_an_answer(
    app: FastAPI, done: list[str], error: str, status: int, type: str, detail: str
) -> None:
    start, body = await shake_hands(app, f"/tests/socket/before/{error}", denial=True)

    problem = orjson.loads(body["body"])
    headers = dict(start["headers"])
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert (problem["type"], problem["detail"]) == (type, detail)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"x-request-id"].decode() == problem["request_id"]
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert done == ["undone"]


@pytest.mark.parametrize(("error", "code"), [("empty", WS_1008_POLICY_VIOLATION), ("torn", WS_1011_INTERNAL_ERROR)])
async def test_where_the_server_knows_no_answer_it_is_closed(
    app: FastAPI, done: list[str], error: str, code: int
) -> None:
    sent = await shake_hands(app, f"/tests/socket/before/{error}")

    assert summary(sent) == [("close", code)]
    assert done == ["undone"]


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("empty", WS_1008_POLICY_VIOLATION),
        ("gone", WS_1008_POLICY_VIOLATION),
        ("jammed", WS_1011_INTERNAL_ERROR),
        ("torn", WS_1011_INTERNAL_ERROR),
    ],
)
async def test_an_error_after_that_closes_it(
    app: FastAPI, done: list[str], error: str, code: int, denial: bool
) -> None:
    sent = await shake_hands(app, f"/tests/socket/after/{error}", denial=denial)

    assert summary(sent) == [("accept", None), ("close", code)]
    assert done == ["kept", "accepted"]


async def test_input_that_does_not_fit_is_pointed_at(app: FastAPI) -> None:
    @app.websocket("/tests/socket")
    async def answer(socket: WebSocket, number: int) -> None: ...

    start, body = await shake_hands(app, denial=True)

    problem = orjson.loads(body["body"])
    assert (start["status"], problem["type"]) == (HTTPStatus.UNPROCESSABLE_ENTITY, "/problems/validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == ["/query/number"]


async def test_where_nothing_is_there_is_no_socket(app: FastAPI) -> None:
    sent = await shake_hands(app, "/nowhere")

    assert summary(sent) == [("close", WS_1000_NORMAL_CLOSURE)]


async def test_who_closes_without_accepting_refuses(app: FastAPI, logged: Logged) -> None:
    done: list[str] = []

    async def undo() -> None:
        done.append("undone")

    @app.websocket("/tests/socket")
    async def answer(socket: WebSocket) -> None:
        after_rollback(undo)
        await socket.close()

    sent = await shake_hands(app)

    (line,) = logged()
    assert summary(sent) == [("close", WS_1000_NORMAL_CLOSURE)]
    assert (line["status"], done) == (HTTPStatus.FORBIDDEN, ["undone"])


@pytest.mark.parametrize(
    ("path", "denial", "status"),
    [
        ("never/torn", False, HTTPStatus.SWITCHING_PROTOCOLS),
        ("after/empty", True, HTTPStatus.SWITCHING_PROTOCOLS),
        ("before/empty", True, HTTPStatus.CONFLICT),
        ("before/empty", False, HTTPStatus.FORBIDDEN),
    ],
)
async def test_each_is_one_line_of_the_log(
    app: FastAPI, done: list[str], logged: Logged, path: str, denial: bool, status: HTTPStatus
) -> None:
    await shake_hands(app, f"/tests/socket/{path}", denial=denial)

    (line,) = logged()
    assert (line["event"], line["method"], line["status"]) == ("http.request", "GET", status)
    assert line["route"] == "/tests/socket/{when}/{error}"
    assert line["client_ip"] == "127.0.0.1"
    assert line["duration_ms"] > 0


async def test_the_line_names_the_route_with_its_prefix(app: FastAPI, logged: Logged) -> None:
    router = APIRouter(prefix="/orders")

    @router.websocket("/{id}")
    async def answer(socket: WebSocket, id: int) -> None:
        await socket.accept()

    app.include_router(router, prefix="/tests")
    await shake_hands(app, "/tests/orders/7")

    (line,) = logged()
    assert line["route"] == "/tests/orders/{id}"


async def test_accepting_it_names_the_request(app: FastAPI, done: list[str]) -> None:
    accepted, _ = await shake_hands(app, "/tests/socket/never/torn", headers={"x-request-id": "deploy_2026-11"})

    assert accepted["headers"] == [(b"x-request-id", b"deploy_2026-11")]


@pytest.mark.parametrize(
    ("path", "denial"), [("never/torn", True), ("before/empty", True), ("before/empty", False), ("before/gone", True)]
)
async def test_who_leaves_before_the_answer_is_no_error(
    app: FastAPI, done: list[str], logged: Logged, path: str, denial: bool
) -> None:
    await shake_hands(app, f"/tests/socket/{path}", denial=denial, gone=True)

    assert [(line["event"], line["level"]) for line in logged()] == [("http.request", "info")]


async def test_who_hangs_up_while_an_endpoint_waits_for_them_is_no_error(app: FastAPI, logged: Logged) -> None:
    @app.websocket("/tests/socket")
    async def answer(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_text()

    sent = await shake_hands(app)

    assert summary(sent) == [("accept", None)]
    assert [(line["event"], line["level"]) for line in logged()] == [("http.request", "info")]
