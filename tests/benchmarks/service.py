"""What the service costs beside bare FastAPI on the raw driver: prints a table for docs/performance.md.

`python -m tests.benchmarks.service` runs the service with every feature where it lies, in `template/`. The server has a
core, the load and PostgreSQL another, and the two applications take turns, so that whatever else the machine does hits
both alike. Compare ratios, and only within one table.
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple, cast
from uuid import UUID, uuid4

import psutil
import uvloop

from tests.combinations import REPOSITORY
from tests.postgresql import PostgreSQL, free_port

TEMPLATE = REPOSITORY / "template"
APPLICATIONS = Path(__file__).with_name("applications.py")
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
CONNECTIONS = 16
STARTS = 5
START_SECONDS = 30
LOAD_SECONDS = 300
SECRET = secrets.token_urlsafe(32)

USER, SESSION = UUID(int=1), UUID(int=2)
FILL = (
    f"""
    INSERT INTO users (id, email, name, password_hash, roles, is_active, created_at, updated_at)
    VALUES ('{USER}', 'ada@example.org', 'Ada', '', '["user"]', true, now(), now())
    """,
    f"""
    INSERT INTO user_sessions (id, user_id, last_used_at, expires_at, created_at, updated_at)
    VALUES ('{SESSION}', '{USER}', now(), now() + interval '1 day', now(), now())
    """,
    f"""
    INSERT INTO items (id, owner_id, name, description, price_cents, created_at, updated_at)
    SELECT uuidv7(), '{USER}', 'item ' || number, 'One of a thousand.', number, now(), now()
    FROM generate_series(1, 1000) AS number
    """,
    "VACUUM ANALYZE",
)
SIGN = f"""
from uuid import UUID
from app.auth.settings import AuthSettings
from app.auth.tokens import Tokens
print(Tokens(AuthSettings()).write(UUID("{USER}"), UUID("{SESSION}")), end="")
"""


class Route(NamedTuple):
    name: str
    target: str
    status: HTTPStatus
    request: Callable[[str], bytes]
    application: str = "service"


class Server(NamedTuple):
    process: psutil.Popen
    port: int
    seconds_to_start: float


class Cost(NamedTuple):
    """Processor time of one request in microseconds, and requests in a second."""

    microseconds: float
    rate: float


def request(method: str, path: str, token: str = "", body: bytes = b"") -> bytes:
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    if token:
        headers += f"\r\nAuthorization: Bearer {token}"
    return f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body


def create(token: str) -> bytes:
    item = {"name": uuid4().hex, "description": "One of many.", "price_cents": 1999}
    return request("POST", "/v1/items", token, json.dumps(item).encode())


ROUTES: Sequence[Route] = (
    Route("`/v1`, no feature", "≥ 0.80", HTTPStatus.OK, lambda _: request("GET", "/v1/ping"), "always"),
    Route("`/v1` without a database", "", HTTPStatus.OK, lambda _: request("GET", "/v1/ping")),
    Route("me", "≥ 0.36", HTTPStatus.OK, lambda token: request("GET", "/v1/users/me", token)),
    Route("list of 20", "≥ 0.35", HTTPStatus.OK, lambda token: request("GET", "/v1/items?limit=20", token)),
    Route("create", "≥ 0.32", HTTPStatus.CREATED, create),
)


class Client(asyncio.Protocol):
    """One connection; it sends the next request when it has read the answer, and in the end keeps the last body."""

    def __init__(self, requests: Iterator[bytes], status: HTTPStatus) -> None:
        self.requests = requests
        self.status = status
        self.received = self.body = b""
        self.ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        if request := next(self.requests, None):
            self.transport.write(request)
        else:
            self.ended.set_result(self.body)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, self.body = self.received.partition(b"\r\n\r\n")
        if not end or len(self.body) < content_length(head):
            return
        if int(head.split(maxsplit=2)[1]) != self.status:
            self.transport.close()
            return
        self.received = b""
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError(f"Not the expected answer: {self.received!r}"))


def content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0])


async def load(server: Server, route: Route, token: str, count: int) -> bytes:
    """Return one of the bodies; raise unless every answer has the status of the route."""
    loop = asyncio.get_running_loop()
    requests = (route.request(token) for _ in range(count))
    clients = [
        (await loop.create_connection(lambda: Client(requests, route.status), "127.0.0.1", server.port))[1]
        for _ in range(CONNECTIONS)
    ]
    async with asyncio.timeout(LOAD_SECONDS):
        return max(await asyncio.gather(*(client.ended for client in clients)), key=len)


def measure(server: Server, route: Route, token: str, count: int) -> Cost:
    processor, started = processor_seconds(server), time.perf_counter()
    uvloop.run(load(server, route, token, count))
    seconds = time.perf_counter() - started
    return Cost((processor_seconds(server) - processor) / count * 1_000_000, count / seconds)


def processor_seconds(server: Server) -> float:
    times = server.process.cpu_times()
    return float(times.user + times.system)


def warm_up(servers: Sequence[Server], route: Route, token: str, count: int) -> None:
    """Raise unless all servers give answers of the same form."""
    forms = [form(json.loads(uvloop.run(load(server, route, token, count)))) for server in servers]
    if any(found != forms[0] for found in forms):
        raise ValueError(f"{route.name}: the answers differ: {forms}")


def form(value: object) -> object:
    if isinstance(value, dict):
        return {name: form(member) for name, member in value.items()}
    if isinstance(value, list):
        return [form(member) for member in value]
    return type(value).__name__


def pin(process: int, core: int) -> None:
    if len(CORES) > 1:
        os.sched_setaffinity(process, {CORES[core]})


@contextmanager
def serve(*command: str | Path, url: str, path: str) -> Iterator[Server]:
    """Start a server, and wait until it answers on `path`."""
    port = free_port()
    settings = {
        "SERVICE_ENVIRONMENT": "production",
        "SERVICE_ALLOWED_HOSTS": "localhost,127.0.0.1",
        "SERVER_PORT": str(port),
        "DATABASE_URL": url,
        "AUTH_SECRET_KEY": SECRET,
        "RATE_LIMIT_DEFAULT": "1000000/second",  # counted all the same
    }
    started = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, *command],
        cwd=TEMPLATE,
        env={**os.environ, **settings, "PYTHONPATH": str(TEMPLATE)},
        stdout=subprocess.DEVNULL,
    )
    try:
        pin(process.pid, 0)
        while not answers(port, path):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise ChildProcessError(f"{command} does not answer.")
            time.sleep(0.005)
        yield Server(process, port, time.perf_counter() - started)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def answers(port: int, path: str) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False


def start(*command: str | Path, url: str, path: str) -> float:
    """Return the seconds to the first 200."""
    seconds = []
    for _ in range(STARTS):
        with serve(*command, url=url, path=path) as server:
            seconds.append(server.seconds_to_start)
    return statistics.median(seconds)


def mebibytes(server: Server) -> str:
    """Return the proportional set size, where the system tells it: a page shared by n processes counts as an nth."""
    pss = getattr(server.process.memory_full_info(), "pss", None)
    return "unknown" if pss is None else f"{pss / 2**20:.0f} MiB"


def create_database(postgresql: PostgreSQL) -> str:
    url = postgresql.create()
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=TEMPLATE, env={**os.environ, "DATABASE_URL": url}, check=True)
    for statement in FILL:
        postgresql.execute(statement, url)
    return url


def sign() -> str:
    """Return an access token of the service's own making, which is good for a quarter of an hour."""
    environment = {**os.environ, "AUTH_SECRET_KEY": SECRET}
    return subprocess.check_output([sys.executable, "-c", SIGN], cwd=TEMPLATE, env=environment, text=True)


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def report(route: Route, bare: Sequence[Cost], service: Sequence[Cost]) -> None:
    microseconds = [statistics.median(cost.microseconds for cost in costs) for costs in (bare, service)]
    rates = [statistics.median(cost.rate for cost in costs) for costs in (bare, service)]
    row(f"{route.name}: CPU a request", *(f"{value:.0f} µs" for value in microseconds), ratio(*microseconds), "")
    row(
        f"{route.name}: requests a second", *(f"{value:,.0f}" for value in rates), ratio(*reversed(rates)), route.target
    )


def ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}"


def run(rounds: int, requests: int) -> None:
    with closing(PostgreSQL()) as postgresql:
        urls = [create_database(postgresql) for _ in range(2)]
        starts = [
            start(APPLICATIONS, "bare", url=urls[0], path="/v1/ping"),
            start("-m", "app.serve", url=urls[1], path="/livez"),
        ]
        costs: dict[str, list[list[Cost]]] = {route.name: [] for route in ROUTES}
        with serve(APPLICATIONS, "service", url=urls[1], path="/v1/ping") as service:
            with (
                serve(APPLICATIONS, "bare", url=urls[0], path="/v1/ping") as bare,
                serve(APPLICATIONS, "always", url=urls[1], path="/v1/ping") as always,
            ):
                servers = {"service": service, "always": always}
                token = sign()
                for route in ROUTES:
                    warm_up([bare, servers[route.application]], route, token, requests)
                for _ in range(rounds):
                    token = sign()
                    for route in ROUTES:
                        pair = (bare, servers[route.application])
                        costs[route.name].append([measure(server, route, token, requests) for server in pair])
            memory = mebibytes(service)  # alone, for bare FastAPI would share its pages

    row(
        f"{date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "bare",
        "service",
        "ratio",
        "target",
    )
    row("---", "---:", "---:", "---:", "---:")
    for route in ROUTES:
        report(route, *zip(*costs[route.name], strict=True))
    row("time to the first 200", *(f"{seconds:.2f} s" for seconds in starts), ratio(*starts), "≤ 1.3 s")
    row("memory (PSS) after the load", "", memory, "", "≤ 75 MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the service costs beside bare FastAPI on the raw driver.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4000, help="in each round, of each route, to each of the two")
    options = parser.parse_args()
    pin(0, 1)  # and with it PostgreSQL, its child
    try:
        run(options.rounds, options.requests)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
