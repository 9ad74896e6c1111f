"""Whatever goes wrong, the caller gets a problem document and no more than the caller may know."""

import logging
from collections.abc import AsyncGenerator
from http import HTTPStatus

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from httpx2 import AsyncClient

from app.errors import ServiceError
from tests.fixtures.logs import Logged


class ShelfEmpty(ServiceError):
    status = HTTPStatus.CONFLICT


async def test_an_unknown_path_is_a_problem_document(client: AsyncClient) -> None:
    response = await client.get("/nowhere")

    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
        "instance": "/nowhere",
        "request_id": response.headers["x-request-id"],
    }


async def test_a_slash_too_many_is_an_unknown_path(client: AsyncClient) -> None:
    assert (await client.get("/livez/")).status_code == HTTPStatus.NOT_FOUND


async def test_a_wrong_method_names_the_right_ones(client: AsyncClient) -> None:
    response = await client.post("/livez")

    assert response.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert response.headers["allow"] == "GET"
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_wrong_method_names_those_of_all_endpoints_with_the_path(app: FastAPI, client: AsyncClient) -> None:
    router = APIRouter(prefix="/shelves")

    @router.get("/{number}")
    async def get_shelf(number: int) -> int:
        return number

    @router.delete("/{number}")
    async def delete_shelf(number: int) -> None: ...

    app.include_router(router, prefix="/tests")

    response = await client.put("/tests/shelves/1")

    assert response.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert response.headers["allow"] == "DELETE, GET"


async def test_a_service_error_is_named_after_its_class(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise ShelfEmpty("Nothing is left.", headers={"Retry-After": "60"})

    response = await client.get("/tests/shelves")

    assert response.status_code == HTTPStatus.CONFLICT
    assert response.headers["retry-after"] == "60"
    assert response.json()["type"] == "/problems/shelf_empty"
    assert response.json()["title"] == "Shelf empty"
    assert response.json()["detail"] == "Nothing is left."


async def test_an_http_exception_keeps_its_words_whatever_its_cause(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        try:
            int("x")
        except ValueError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "No number.") from error

    response = await client.get("/tests/shelves")

    assert (response.json()["type"], response.json()["detail"]) == ("about:blank", "No number.")


async def test_the_detail_of_an_http_exception_may_be_more_than_text(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise HTTPException(HTTPStatus.CONFLICT, {"shelf": 7})

    response = await client.get("/tests/shelves")

    assert (response.status_code, response.json()["detail"]) == (HTTPStatus.CONFLICT, {"shelf": 7})


async def test_wrong_input_is_pointed_at_and_not_repeated(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves(limit: int) -> None: ...

    response = await client.get("/tests/shelves", params={"limit": "hunter2"})

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["errors"] == [
        {
            "pointer": "/query/limit",
            "code": "int_parsing",
            "message": "Input should be a valid integer, unable to parse string as an integer",
        }
    ]
    assert "hunter2" not in response.text


async def test_a_pointer_escapes_what_pointers_reserve(app: FastAPI, client: AsyncClient) -> None:
    @app.post("/tests/shelves")
    async def create_shelf(sizes: dict[str, int]) -> None: ...

    response = await client.post("/tests/shelves", json={"a/b~c": "wide"})

    assert response.json()["errors"][0]["pointer"] == "/body/a~1b~0c"


async def test_an_unexpected_error_shows_only_the_request_id(logged: Logged, app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        password = "a local " + "secret"
        raise RuntimeError("hunter2" if password else "")

    response = await client.get("/tests/shelves")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert response.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in response.text
    lines = logged()
    assert "a local secret" not in str(lines)
    (record,) = (record for record in lines if record["level"] == "error")
    assert record["request_id"] == response.json()["request_id"] == response.headers["x-request-id"]
    assert record["exception"][0]["exc_value"] == "hunter2"


async def test_an_error_in_mid_response_breaks_the_response_off(
    logged: Logged, app: FastAPI, client: AsyncClient
) -> None:
    async def half() -> AsyncGenerator[str]:
        yield "half"
        raise RuntimeError("torn")

    @app.get("/tests/shelves")
    async def get_shelves() -> StreamingResponse:
        return StreamingResponse(half())

    with pytest.raises(RuntimeError, match="torn"):
        await client.get("/tests/shelves")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")

    request, error = logged()
    assert request["status"] == HTTPStatus.OK
    assert error["request_id"] == request["request_id"]


async def test_an_unusual_status_stays_what_it_is(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise HTTPException(499, "The caller has gone.")

    response = await client.get("/tests/shelves")

    assert response.status_code == 499
    assert response.json()["title"] == "Error"


async def test_a_name_of_its_own_wins(app: FastAPI, client: AsyncClient) -> None:
    class OutOfStock(ServiceError):
        status = HTTPStatus.CONFLICT
        code = "conflict"

    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise OutOfStock("Nothing is left.")

    assert (await client.get("/tests/shelves")).json()["type"] == "/problems/conflict"


async def test_a_status_without_a_body_stays_without(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise HTTPException(HTTPStatus.NOT_MODIFIED, headers={"ETag": '"1"'})

    response = await client.get("/tests/shelves")

    assert response.status_code == HTTPStatus.NOT_MODIFIED
    assert response.headers["etag"] == '"1"'
    assert response.content == b""


@pytest.mark.parametrize(
    ("error", "levels"),
    [
        (ServiceError("The press is jammed."), ["error", "info"]),
        (HTTPException(HTTPStatus.BAD_GATEWAY), ["error", "info"]),
        (RuntimeError("The press is jammed."), ["error", "info"]),
        (ShelfEmpty("Nothing is left."), ["info"]),
        (HTTPException(HTTPStatus.NOT_FOUND), ["info"]),
    ],
)
async def test_a_failure_of_the_service_is_one_error_with_its_stack(
    logged: Logged, app: FastAPI, client: AsyncClient, error: Exception, levels: list[str]
) -> None:
    @app.get("/tests/shelves")
    async def get_shelves() -> None:
        raise error

    await client.get("/tests/shelves")

    records = logged()
    assert [record["level"] for record in records] == levels
    assert ["get_shelves" in str(record.get("exception")) for record in records] == [
        *([True] * (len(levels) - 1)),
        False,
    ]
