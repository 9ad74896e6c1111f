"""What a client says, and what it is told."""

from typing import assert_never

import orjson
from fastapi import WebSocket
from pydantic import BaseModel, ValidationError
from starlette.status import WS_1007_INVALID_FRAME_PAYLOAD_DATA, WS_1008_POLICY_VIOLATION

from app.context import current
from app.websockets.allowance import Allowance
from app.websockets.hub import Hub, Member
from app.websockets.refusals import Forbidden, TooDeep, TooManyRooms, explain, invalid, read_id
from app.websockets.rooms import Action, Permit, Room, find
from app.websockets.schemas import (
    Error,
    Joined,
    Left,
    Message,
    Ping,
    Pong,
    Publish,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    client_frames,
)
from app.websockets.units import unit_of_work

MALFORMED = 3  # messages in a row


class Dialogue:
    def __init__(self, websocket: WebSocket, hub: Hub, member: Member) -> None:
        self.websocket = websocket
        self.hub = hub
        self.member = member
        self.rooms: dict[str, tuple[Room[...], Permit]] = {}
        self.allowance = Allowance(hub.settings.messages_per_second)
        self.malformed = 0  # messages in a row

    def tell(self, frame: BaseModel) -> None:
        text = frame.model_dump_json()
        self.member.put(text, len(text.encode()))

    async def hear(self, text: str) -> None:
        """Do what a message asks for, or tell the client why not."""
        if not self.allowance.take():
            self.tell(Error(code="rate_limited", detail="There are too many messages: send them more slowly."))
            if self.allowance.exhausted:
                self.member.end(WS_1008_POLICY_VIOLATION, "There have been too many messages.")
            return
        try:
            data = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.tell(Error(code="malformed_json", detail=f"The message is no JSON. {error}"))
            self.malformed += 1
            if self.malformed == MALFORMED:
                self.member.end(WS_1007_INVALID_FRAME_PAYLOAD_DATA, "Messages are JSON.")
            return
        self.malformed = 0
        id = read_id(data)
        try:
            frame = client_frames.validate_python(data)
        except ValidationError as error:
            self.tell(invalid(error, id))
            return
        try:
            async with unit_of_work():
                await self.act(frame)
        except Exception as error:  # whatever it is, the client is told, and what it says next is heard
            self.tell(await explain(self.websocket, error, id))

    async def act(self, frame: Subscribe | Unsubscribe | Publish | Ping) -> None:
        match frame:
            case Ping():
                self.tell(Pong(id=frame.id))
            case Subscribe():
                await self.subscribe(frame)
            case Unsubscribe():
                find(frame.room)
                await self.leave(frame.room)
                self.tell(Unsubscribed(room=frame.room, id=frame.id))
            case Publish():
                _, permit = find(frame.room)
                if not await permit(Action.PUBLISH):
                    raise Forbidden
                member = self.member
                message = Message(
                    room=frame.room, data=frame.data, sender=member.id, principal_id=member.context.principal_id
                )
                try:
                    await self.hub.publish(frame.room, message)
                except orjson.JSONEncodeError:
                    raise TooDeep from None
            case _:
                assert_never(frame)

    async def subscribe(self, frame: Subscribe) -> None:
        room, permit = find(frame.room)
        unit, context = current.get(), self.member.context
        while True:
            unit.principal, unit.permissions = context.principal, context.permissions
            if not await permit(Action.SUBSCRIBE):
                raise Forbidden
            if context.principal is unit.principal:  # else they may do something else since
                break
        is_new = frame.room not in self.rooms
        if is_new and len(self.rooms) >= self.hub.settings.rooms_per_connection:
            raise TooManyRooms(self.hub.settings.rooms_per_connection)
        self.rooms[frame.room] = room, permit
        self.hub.join(frame.room, self.member)
        self.tell(Subscribed(room=frame.room, member=self.member.id, id=frame.id))
        if is_new and room.presence:
            joined = Joined(room=frame.room, member=self.member.id, principal_id=self.member.context.principal_id)
            await self.hub.publish(frame.room, joined, but=self.member)

    async def leave(self, *addresses: str) -> None:
        """Leave them all at once, and then say so where that is said."""
        left = {address: self.rooms.pop(address)[0] for address in addresses if address in self.rooms}
        for address in left:
            self.hub.leave(address, self.member)
        for address, room in left.items():
            if room.presence:
                member = self.member
                await self.hub.publish(
                    address, Left(room=address, member=member.id, principal_id=member.context.principal_id)
                )

    async def review(self) -> None:
        """Leave the rooms in which the client may not be any more."""
        for address, (_, permit) in [*self.rooms.items()]:
            async with unit_of_work():
                allowed = await permit(Action.SUBSCRIBE)
            if not allowed and address in self.rooms:
                await self.leave(address)
                self.tell(Unsubscribed(room=address))
