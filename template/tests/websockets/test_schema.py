"""What goes over a WebSocket is described, for whoever writes or generates a client."""

import re
from typing import Any, get_args

import orjson
import pytest
from httpx2 import AsyncClient

from app.websockets import schemas


@pytest.fixture
async def schema(sockets: AsyncClient) -> dict[str, Any]:  # JSON Schema
    response = await sockets.get("/v1/ws/schema")
    assert response.is_success
    described: dict[str, Any] = response.json()
    return described


@pytest.mark.parametrize("side", ["ClientFrame", "ServerFrame"])
async def test_every_frame_of_each_side_is_described(schema: dict[str, Any], side: str) -> None:
    frames: tuple[type, ...] = get_args(get_args(getattr(schemas, side))[0])

    mapping = schema["$defs"][side]["discriminator"]["mapping"]

    assert frames
    assert mapping == {frame.__name__.lower(): f"#/$defs/{frame.__name__}" for frame in frames}
    assert schema["anyOf"] == [{"$ref": "#/$defs/ClientFrame"}, {"$ref": "#/$defs/ServerFrame"}]


async def test_what_a_client_sends_is_described_to_the_letter(schema: dict[str, Any]) -> None:
    publish = schema["$defs"]["Publish"]

    assert publish["additionalProperties"] is False
    assert publish["required"] == ["type", "room", "data"]
    assert publish["properties"]["type"] == {"const": "publish", "title": "Type", "type": "string"}
    assert (publish["properties"]["room"]["minLength"], publish["properties"]["room"]["maxLength"]) == (1, 200)


async def test_everything_that_is_referred_to_is_there(schema: dict[str, Any]) -> None:
    referred = set(re.findall(r'"#/\$defs/(\w+)"', orjson.dumps(schema).decode()))

    assert referred == schema["$defs"].keys()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
