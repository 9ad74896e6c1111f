"""What a room costs, whether one who does not read harms the others, and whether the service grows.

`python -m tests.benchmarks.websockets` renders a service and prints a table for docs/performance.md; with `--full` it
is the service with every feature, on PostgreSQL and Redis. The server has a core, the clients and the rest another. The
clients read no more of WebSockets than they need, so that it is not they who are measured.
"""

import argparse
import asyncio
import os
import platform
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Self, cast

import httpx2
import orjson
import psutil
import uvloop
from copier import run_copy

from tests.benchmarks.service import pin, row
from tests.combinations import BARE, FULL, REPOSITORY, Answers, identify, with_needs
from tests.ledger import change
from tests.postgresql import PostgreSQL
from tests.redis_server import RedisServer
from tests.serving import COMMAND, Service, activity, serve, served

CONNECTIONS, IN_ROOM = 1000, 500
RATE, BYTES = 100, 200  # messages a second, and the length of what is said in each
WARM, AT_ONCE = 1000, 50
CLOSED = 0x8  # an opcode (RFC 6455, section 11.8), as the next are
PING, PONG = 0x9, 0xA
SETTLE_SECONDS = 2.0
RAISED = {
    "WEBSOCKETS_CONNECTIONS_PER_ADDRESS": "100000",
    "WEBSOCKETS_CONNECTIONS_PER_PRINCIPAL": "100000",
    "WEBSOCKETS_MESSAGES_PER_SECOND": "1000",
}
CROWD = '''"""A room for everybody, and how many there are."""

import asyncio

from fastapi import APIRouter, FastAPI

from app.websockets import Action, room
from app.websockets.hub import HubDep


@room("crowd")
async def crowd(action: Action) -> bool:
    return True


router = APIRouter(prefix="/crowd", tags=["crowd"])


@router.get("")
async def count_crowd(hub: HubDep) -> dict[str, int]:
    return {"connections": len(hub.members), "rooms": len(hub.rooms), "tasks": len(asyncio.all_tasks())}


def install(app: FastAPI) -> None:
    app.include_router(router, prefix="/v1")
'''


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's, masked with nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def say(**members: str) -> bytes:
    return frame(0x1, orjson.dumps(members))


SUBSCRIBE = say(type="subscribe", room="crowd")


class Client(asyncio.Protocol):
    """One connection; it notes how long each message took, in nanoseconds, and whether they came in order."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.rest = b""
        self.open = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.delays: list[int] = []
        self.last = 0
        self.in_order = True

    @classmethod
    async def connect(cls, service: Service, *, buffers: bool = True) -> Self:
        connection = socket.socket()
        if not buffers:  # else the system keeps megabytes of what is not read, on the loopback interface
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", int(service.url.rpartition(":")[2])))
        _, client = await loop.create_connection(lambda: cls(service.headers), sock=connection)
        await client.opened
        return client

    async def subscribe(self) -> None:
        self.transport.write(SUBSCRIBE)
        await self.subscribed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        headers = {
            "Host": "localhost",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"GET /v1/ws HTTP/1.1\r\n{lines}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        at, end = 0, len(data)
        if not self.open:
            head, complete, rest = data.partition(b"\r\n\r\n")
            if not complete:
                self.rest = data
                return
            if b" 101 " not in head[:14]:
                raise ConnectionError(head)
            self.open = True
            self.opened.set_result(None)
            data, end = rest, len(rest)
        while end - at >= 4:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if start + size > end:
                break
            self.hear(data[at] & 0xF, data[start : start + size])
            at = start + size
        self.rest = data[at:]

    def hear(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif payload.startswith(b'{"type":"message"'):
            said = payload.index(b'"data":"') + 8
            sent = int(payload[said : said + 20])
            self.in_order &= sent > self.last
            self.last = sent
            self.delays.append(time.perf_counter_ns() - sent)
        elif payload.startswith(b'{"type":"subscribed"'):
            self.subscribed.set_result(None)
        elif opcode != CLOSED:
            raise ValueError(payload)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(None)
        for waiting in (self.opened, self.subscribed):
            waiting.cancel()


async def publish(client: Client, number: int) -> float:
    """Return the seconds it took; each message says when it was sent."""
    started = time.perf_counter()
    for index in range(number):
        await asyncio.sleep(started + index / RATE - time.perf_counter())
        said = f"{time.perf_counter_ns():020}".ljust(BYTES, ".")
        client.transport.write(say(type="publish", room="crowd", data=said))
    return time.perf_counter() - started


async def gather(service: Service, number: int) -> list[Client]:
    clients: list[Client] = []
    while len(clients) < number:
        clients += await asyncio.gather(*(Client.connect(service) for _ in range(min(AT_ONCE, number - len(clients)))))
    return clients


async def until_read(clients: Sequence[Client], number: int) -> None:
    """Give up when nothing has come for a while."""
    read = -1
    while read < (now := sum(len(client.delays) for client in clients)) and now < number * len(clients):
        read = now
        await asyncio.sleep(SETTLE_SECONDS)


async def come_and_go(service: Service, number: int) -> float:
    """Return how many connections there were in a second; every other one just breaks off."""
    numbers = iter(range(number))

    async def one_after_the_other() -> None:
        for index in numbers:
            client = await Client.connect(service)
            await client.subscribe()
            if index % 2:
                client.transport.abort()
            else:
                client.transport.write(frame(CLOSED, (1000).to_bytes(2)))
            await client.ended

    started = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return number / (time.perf_counter() - started)


def memory(service: Service) -> tuple[float, float]:
    """Return the proportional and the resident set size in MiB; the one only where the system tells it."""
    found = psutil.Process(service.process.pid).memory_full_info()
    return getattr(found, "pss", float("nan")) / 2**20, found.rss / 2**20


def processor_seconds(service: Service) -> float:
    times = psutil.Process(service.process.pid).cpu_times()
    return times.user + times.system


def counts(service: Service) -> dict[str, int]:
    found: dict[str, int] = httpx2.get(f"{service.url}/v1/crowd", headers=service.headers).raise_for_status().json()
    return found


async def measure_crowd(service: Service, seconds: int, postgresql: PostgreSQL | None) -> list[tuple[str, str]]:
    await come_and_go(service, AT_ONCE)
    await asyncio.sleep(SETTLE_SECONDS)
    before = memory(service)
    stalled = await Client.connect(service, buffers=False)
    speaker, *others = await gather(service, CONNECTIONS - 1)
    await asyncio.sleep(SETTLE_SECONDS)
    idle = memory(service)
    states = await asyncio.to_thread(activity, postgresql) if postgresql else None
    readers = others[: IN_ROOM - 1]
    await asyncio.gather(*(client.subscribe() for client in [stalled, *readers]))
    stalled.transport.pause_reading()
    number = seconds * RATE
    processor = processor_seconds(service)
    took = await publish(speaker, number)
    await until_read(readers, number)
    processor = processor_seconds(service) - processor
    after = memory(service)
    delays = [delay / 1e6 for client in readers for delay in client.delays]
    percentiles = statistics.quantiles(delays, n=100)
    records = [record for record in service.records() if record["event"] == "websockets.closed"]
    codes = Counter(record["code"] for record in records).items()
    return [
        ("memory of an idle connection (PSS)", f"{(idle[0] - before[0]) / CONNECTIONS * 1024:.0f} KiB"),
        *(
            [("database connections in use, all sockets idle", f"{len(states) - states.count('idle')}")]
            if states is not None
            else []
        ),
        ("messages published in a second", f"{number / took:.0f}"),
        ("delivered to those who read", f"{len(delays):,} of {number * len(readers):,}"),
        ("in order, each of them", "yes" if all(client.in_order for client in readers) else "no"),
        ("delivery: p50", f"{percentiles[49]:.1f} ms"),
        ("delivery: p99", f"{percentiles[98]:.1f} ms"),
        ("delivery: max", f"{max(delays):.1f} ms"),
        ("CPU", f"{processor / took * 100:.0f} % of a core"),
        ("CPU a delivery", f"{processor / len(delays) * 1e6:.1f} µs"),
        ("closed, where one does not read", ", ".join(f"{number} with {code}" for code, number in codes) or "none"),
        ("PSS before and after", f"{idle[0]:.0f}, {after[0]:.0f} MiB"),
        ("RSS before and after", f"{idle[1]:.0f}, {after[1]:.0f} MiB"),
    ]


async def measure_growth(service: Service, number: int) -> list[tuple[str, str]]:
    await come_and_go(service, WARM)
    await asyncio.sleep(SETTLE_SECONDS)
    before, tasks = memory(service)[0], counts(service)["tasks"]
    rate = await come_and_go(service, number)
    await asyncio.sleep(SETTLE_SECONDS)
    left, after = counts(service), memory(service)[0]
    remain = (left["connections"], left["rooms"], left["tasks"] - tasks)
    levels = [record["level"] for record in service.records()]
    return [
        (f"{number:,} come and go: in a second", f"{rate:.0f}"),
        ("more memory (PSS) after them", f"{after - before:.1f} MiB"),
        ("connections, rooms, more tasks after them", ", ".join(map(str, remain))),
        ("lines of the log at warning or above", f"{sum(level not in {'debug', 'info'} for level in levels)}"),
    ]


@contextmanager
def serve_alone(folder: Path) -> Iterator[Service]:
    with served(folder, COMMAND, variables=RAISED) as (process, port, log):
        assert process.stdout is not None
        reader = threading.Thread(target=log.extend, args=[process.stdout], daemon=True)
        reader.start()
        service = Service(f"http://127.0.0.1:{port}", process, "", {}, log, reader)
        yield service
        service.stop()


def measure(answers: Answers, seconds: int, connections: int) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary, "service")
        run_copy(str(REPOSITORY), folder, data=dict(answers), defaults=True, unsafe=True, quiet=True, vcs_ref="HEAD")
        (folder / "app" / "crowd.py").write_text(CROWD, "utf-8")
        if answers["auth"]:
            change(
                folder / "app" / "crowd.py",
                "from app.websockets import",
                "from app.auth import make_public\nfrom app.websockets import",
            )
            change(folder / "app" / "crowd.py", "    app.", '    make_public(app, "/v1/crowd")\n    app.')
        change(folder / "app" / "resources.py", "Sequence[Feature] = []", "Sequence[Feature] = [crowd]")
        change(folder / "app" / "resources.py", "from app.feature", "from app import crowd\nfrom app.feature")
        postgresql = None
        if answers["database"]:
            postgresql = PostgreSQL()
            stack.callback(postgresql.close)
            redis = RedisServer()
            stack.callback(redis.close)
            names = ("CACHE_URL", "RATE_LIMIT_URL", "TASKS_BROKER_URL", "WEBSOCKETS_URL")
            variables = {**RAISED, **dict.fromkeys(names, redis.url)}
        for work in ("crowd", "growth"):
            with serve(folder, postgresql, variables=variables) if postgresql else serve_alone(folder) as service:
                pin(service.process.pid, 0)
                if work == "crowd":
                    yield from uvloop.run(measure_crowd(service, seconds, postgresql))
                else:
                    yield from uvloop.run(measure_growth(service, connections))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="with every feature, on PostgreSQL and Redis")
    parser.add_argument("--seconds", type=int, default=10, help="of publishing")
    parser.add_argument("--connections", type=int, default=10_000, help="that come and go")
    options = parser.parse_args()
    pin(0, 1)
    answers = FULL if options.full else with_needs(BARE, "websockets")
    row(f"{date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores", identify(answers))
    row("---", "---:")
    for cells in measure(answers, options.seconds, options.connections):
        row(*cells)


if __name__ == "__main__":
    main()
