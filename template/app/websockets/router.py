"""Endpoints of WebSockets."""

from typing import Any

from fastapi import APIRouter, Depends, WebSocket

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import public, signed_in

# {%- endif +%}
from app.context import current
from app.websockets.connection import Connection
from app.websockets.handshake import check_handshake
from app.websockets.hub import HubDep
from app.websockets.schemas import json_schema

router = APIRouter(prefix="/ws", tags=["websockets"])

PROTOCOL = "rooms.v1"


@router.websocket(
    "",
    dependencies=[
        Depends(check_handshake),
        # {% if auth %}
        signed_in,
        # {% endif %}
    ],
)
async def connect(websocket: WebSocket, hub: HubDep) -> None:
    connection = Connection(websocket, hub, current.get())
    with hub.admit(connection, websocket.client.host if websocket.client else None):
        await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
        await connection.serve()


@router.get(
    "/schema",
    # {% if auth %}
    dependencies=[public],
    # {% endif %}
)
async def get_schema() -> dict[str, Any]:  # as JSON Schema has it
    """The JSON Schema of the frames that go over the WebSocket."""
    return json_schema()
