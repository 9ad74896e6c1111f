"""What a client is told when its message cannot be heeded."""

from http import HTTPStatus
from inspect import iscoroutinefunction

import orjson
from fastapi import WebSocket
from pydantic import ValidationError
from structlog.stdlib import get_logger

from app.errors import FieldProblem, ServiceError, json_pointer, message
from app.websockets.schemas import Error, frame_ids

logger = get_logger()

MOST_ERRORS = 10  # that one message is told of


class Forbidden(ServiceError):
    status = HTTPStatus.FORBIDDEN

    def __init__(self) -> None:
        super().__init__("You may not do this in the room.")


class TooManyRooms(ServiceError):
    status = HTTPStatus.CONFLICT

    def __init__(self, most: int) -> None:
        super().__init__(f"A connection is in at most {most} rooms.")


class TooDeep(ServiceError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self) -> None:
        super().__init__("The data is nested too deep.")


async def explain(websocket: WebSocket, error: Exception, id: str | None) -> Error:
    """Return what a request would be answered with."""
    handlers = websocket.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    try:
        if handler is None or not iscoroutinefunction(handler):
            raise error
        problem = orjson.loads((await handler(websocket, error)).body)
        return Error(code=problem["type"].rpartition("/")[2], detail=problem["detail"], id=id)
    except Exception as unexpected:  # its handler may not know what to make of it either
        logger.error("websockets.message_failed", exc_info=unexpected)
        return Error(code="internal_error", detail="The service failed. Its log tells why.", id=id)


def read_id(data: object) -> str | None:
    """Return the id of what may otherwise be no frame."""
    try:
        return frame_ids.validate_python(data.get("id") if isinstance(data, dict) else None)
    except ValidationError:
        return None


def invalid(error: ValidationError, id: str | None) -> Error:
    """Name the place and the rule, and never the input: it may hold a secret."""
    errors = [
        FieldProblem(pointer=json_pointer(found["loc"][1:]), code=found["type"], message=message(found))
        for found in error.errors()[:MOST_ERRORS]
    ]
    return Error(code="validation_failed", detail="The message does not have the expected form.", errors=errors, id=id)
