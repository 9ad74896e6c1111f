"""What the processes of a service tell each other, through Redis."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import uuid4

import orjson
from redis.asyncio import Connection as Transport
from structlog.stdlib import get_logger

from app.health import State
from app.redis import RedisUnavailable, Server, connection
from app.redis.server import Kept
from app.settings import project

logger = get_logger()

QUIET = 60.0  # seconds between two lines of the log about it
SHORTEST, LONGEST = 0.1, 5.0  # seconds from one look for a server that is gone to the next
MOST_UNANSWERED = 100  # messages that have been published
SILENCE = 5.0  # seconds after which it is asked whether it is still there


class RedisBackplane(Kept):
    """Listens on one connection for everything that other processes publish.

    While Redis is gone the processes do not hear of each other, and what they have missed is lost.
    """

    def __init__(self, url: str, server: Server, deliver: Callable[[str, str], None]) -> None:
        super().__init__()
        self.url = url
        self.server = server
        self.deliver = deliver
        self.origin = uuid4().hex.encode()
        self.channel = f"{project().name}:{connection.make(url).db}:websockets"  # Redis has one for all databases
        self.subscribed = False
        self.logged_at = float("-inf")
        self.unanswered: set[asyncio.Task[None]] = set()

    async def publish(self, address: str, text: str) -> None:
        """Return before it is done: in a busy process each answer takes several turns of the event loop."""
        while len(self.unanswered) >= MOST_UNANSWERED:
            await asyncio.wait(self.unanswered, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self.send(b"%b %b\n%b" % (self.origin, address.encode(), text.encode())))
        self.unanswered.add(task)
        task.add_done_callback(self.unanswered.discard)

    async def send(self, payload: bytes) -> None:
        with suppress(RedisUnavailable):
            await self.server.ask(lambda redis: redis.send("PUBLISH", self.channel, payload))

    async def keep(self) -> None:
        pause = SHORTEST
        while True:
            try:
                await self.listen()
            except Exception as error:  # whatever it is, else nobody would look for the server any more
                if self.subscribed:
                    pause = SHORTEST
                if monotonic() - self.logged_at > QUIET:
                    self.logged_at = monotonic()
                    logger.warning("websockets.backplane_lost", error=repr(error)[:200])
            finally:
                self.subscribed = False
                self.looked.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # not all processes at the same moment
            pause = min(2 * pause, LONGEST)

    async def listen(self) -> None:
        """Deliver what the others publish until the connection ends, which raises."""
        transport = connection.make(self.url)
        try:
            async with asyncio.timeout(connection.CONNECT_SECONDS):
                await transport.connect()  # type: ignore[no-untyped-call]  # redis-py has no type there
                await transport.send_command("SUBSCRIBE", self.channel)
                await read(transport)
            self.subscribed = True
            self.looked.set()
            while True:
                self.hear(await read_patiently(transport))
        finally:
            await transport.disconnect(nowait=True)

    def hear(self, received: Any) -> None:  # as Redis has it
        """Deliver a message, unless it is one of this process, which has been delivered already."""
        if not isinstance(received, list) or received[0] != b"message":
            return
        head, _, text = received[2].partition(b"\n")
        origin, _, address = head.partition(b" ")
        if origin != self.origin:
            with suppress(ValueError):  # it is not ours: no UTF-8, or no JSON, which clients expect
                orjson.loads(text)
                self.deliver(address.decode(), text.decode())

    async def check(self) -> State:
        """For the readiness of the service, which goes on in each process by itself."""
        published = await self.server.check()
        return published if self.subscribed else State.DEGRADED

    async def __aexit__(self, *raised: Any) -> None:  # as Python has it
        await super().__aexit__(*raised)
        if self.unanswered:
            await asyncio.wait(self.unanswered)


async def read(transport: Transport) -> Any:  # as Redis has it
    return await transport.read_response(disconnect_on_error=False, push_request=True)


async def read_patiently(transport: Transport) -> Any:
    """Ask after a silence whether the server is there; raise `TimeoutError` where it does not say."""
    try:
        async with asyncio.timeout(SILENCE):
            return await read(transport)
    except TimeoutError:
        await transport.send_command("PING")
        async with asyncio.timeout(SILENCE):
            return await read(transport)
