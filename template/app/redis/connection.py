"""One connection for everything that a process asks: redis-py opens it, and many use it at the same time.

A client of redis-py takes a connection for each question, which costs five times the processor's time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Connection as Transport
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError

PATIENCE = 0.08  # seconds; with it an answer is less than 100 ms late
LOOKS = 8  # at the answer, within that time
CONNECT_SECONDS = 1
FAILURES = (RedisError, OSError, TimeoutError)

# What redis-py would do is off: `Connection` has the patience.
OPTIONS: Mapping[str, Any] = {  # of many types
    "retry": Retry(NoBackoff(), 0),
    "socket_connect_timeout": None,
    "socket_timeout": None,
}


def make(url: str) -> Transport:
    pool = ConnectionPool.from_url(url, **OPTIONS)
    transport: Transport = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no type there
    return transport


class Connection:
    """Answers come in the order of the questions. When one of them does not come in time, it ends for all."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        self.outgoing: list[bytes] = []
        self.is_outgoing = asyncio.Event()
        self.waiting: deque[tuple[asyncio.Future[Any], int]] = deque()  # and after how many looks they have asked
        self.looks = 0
        self.timer: asyncio.TimerHandle | None = None
        self.lost = asyncio.Event()
        self.reason: BaseException = ConnectionError()

    def send(self, *command: bytes | str | int) -> asyncio.Future[Any]:  # as Redis has it
        """Return what will be the answer. Whoever stops waiting for it leaves the others theirs."""
        if self.lost.is_set():
            raise ConnectionError
        self.outgoing += self.transport.pack_command(*command)
        self.is_outgoing.set()
        answer = self.loop.create_future()
        self.waiting.append((answer, self.looks))
        if self.timer is None:
            self.timer = self.loop.call_later(PATIENCE / LOOKS, self.look)
        return answer

    async def send_all(self, commands: Sequence[Sequence[bytes | str | int]]) -> list[Any]:
        return await asyncio.gather(*[self.send(*command) for command in commands])

    async def write(self) -> None:
        while True:
            await self.is_outgoing.wait()
            self.is_outgoing.clear()
            outgoing, self.outgoing = self.outgoing, []
            await self.transport.send_packed_command(outgoing, check_health=False)  # which would read

    async def read(self) -> None:
        while True:
            reply: Any
            try:
                reply = await self.transport.read_response(disconnect_on_error=False)
            except (ReadOnlyError, MasterDownError):  # of a replica: the name may lead elsewhere by now
                raise
            except ResponseError as error:
                reply = error
            answer, _ = self.waiting.popleft()
            if answer.done():  # nobody waits for it any more
                continue
            if isinstance(reply, ResponseError):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    def look(self) -> None:
        """Count turns of the event loop, in which what has arrived is read: a process that is busy waits longer."""
        self.looks += 1
        self.timer = None
        if self.waiting:
            if self.looks - self.waiting[0][1] >= LOOKS:
                self.end(TimeoutError())
            else:
                self.timer = self.loop.call_later(PATIENCE / LOOKS, self.look)

    def end(self, error: BaseException) -> None:
        if self.lost.is_set():
            return
        self.reason = error
        self.lost.set()
        for answer, _ in self.waiting:
            if not answer.done():
                answer.set_exception(error)
        if self.timer is not None:
            self.timer.cancel()

    def end_with(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            # uvloop has a RuntimeError for a socket that is closed
            self.end(error if isinstance(error, FAILURES) else ConnectionError(repr(error)))


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[Connection]:
    transport = make(url)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await transport.connect()  # type: ignore[no-untyped-call]  # redis-py has no type there
        connection = Connection(transport)
        tasks = [asyncio.create_task(connection.read()), asyncio.create_task(connection.write())]
        for task in tasks:
            task.add_done_callback(connection.end_with)
        try:
            yield connection
        finally:
            connection.end(ConnectionError())
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    finally:
        await transport.disconnect(nowait=True)
