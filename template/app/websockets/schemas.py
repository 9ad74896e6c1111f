"""The frames: what clients send, and what they get."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, WithJsonSchema

from app.errors import FieldProblem
from app.schemas import Line, Schema

SCHEMA = "https://json-schema.org/draft/2020-12/schema"

# It has been read as JSON; to validate each value of it again would keep everybody waiting.
Json = Annotated[Any, WithJsonSchema({})]
RoomName = Annotated[Line, Field(min_length=1, max_length=200, examples=["orders"])]
FrameId = Annotated[
    Line | None, Field(max_length=64, description="chosen by the client; the frame that answers has it too")
]


class Subscribe(Schema):
    type: Literal["subscribe"]
    room: RoomName
    id: FrameId = None


class Unsubscribe(Schema):
    type: Literal["unsubscribe"]
    room: RoomName
    id: FrameId = None


class Publish(Schema):
    type: Literal["publish"]
    room: RoomName
    data: Json
    id: FrameId = None


class Ping(Schema):
    type: Literal["ping"]
    id: FrameId = None


ClientFrame = Annotated[Subscribe | Unsubscribe | Publish | Ping, Field(discriminator="type")]


class Message(BaseModel):
    """Without a sender it comes from the service itself."""

    type: Literal["message"] = "message"
    room: RoomName
    data: Json
    sender: str | None = Field(default=None, description="the member that has published it")
    principal_id: str | None = Field(default=None, description="who that is, where it is known")


class Subscribed(BaseModel):
    type: Literal["subscribed"] = "subscribed"
    room: RoomName
    member: str = Field(description="what this connection is called in the room")
    id: FrameId = None


class Unsubscribed(BaseModel):
    """Without having asked for it, a client gets it where it may not be in the room any more."""

    type: Literal["unsubscribed"] = "unsubscribed"
    room: RoomName
    id: FrameId = None


class Joined(BaseModel):
    type: Literal["joined"] = "joined"
    room: RoomName
    member: str
    principal_id: str | None = None


class Left(BaseModel):
    type: Literal["left"] = "left"
    room: RoomName
    member: str
    principal_id: str | None = None


class Pong(BaseModel):
    type: Literal["pong"] = "pong"
    id: FrameId = None


class Error(BaseModel):
    """`code` is the end of a problem's type, and `errors` are as in a problem document."""

    type: Literal["error"] = "error"
    code: str = Field(examples=["forbidden"])
    detail: str
    errors: Sequence[FieldProblem] | None = None
    id: FrameId = None


ServerFrame = Annotated[Message | Subscribed | Unsubscribed | Joined | Left | Pong | Error, Field(discriminator="type")]

client_frames: TypeAdapter[Subscribe | Unsubscribe | Publish | Ping] = TypeAdapter(ClientFrame)
frame_ids: TypeAdapter[str | None] = TypeAdapter(FrameId)


def json_schema() -> dict[str, Any]:  # as JSON Schema has it
    """Return the schema of all frames, in which `ClientFrame` and `ServerFrame` are those of each side."""
    server_frames: TypeAdapter[object] = TypeAdapter(ServerFrame)
    sides, schema = TypeAdapter.json_schemas(
        [("ClientFrame", "validation", client_frames), ("ServerFrame", "serialization", server_frames)],
        ref_template="#/$defs/{model}",
    )
    definitions = {name: side for (name, _), side in sides.items()}
    return {
        "$schema": SCHEMA,
        "$defs": {**schema["$defs"], **definitions},
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
    }
