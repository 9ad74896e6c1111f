"""What the full service does with a request whose server is told to stop, or whose client goes away; and its memory."""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest

from tests.combinations import BARE
from tests.conftest import Render
from tests.postgresql import PostgreSQL
from tests.serving import COMMAND, POOL, STOPPED, Service, activity, get, serve, served, stored, until

STOP_SECONDS = 25


def connect(service: Service) -> HTTPConnection:
    return HTTPConnection(urlsplit(service.url).netloc, timeout=30)


def ask(connection: HTTPConnection, method: str, path: str, item: object = None, **headers: str) -> int:
    body = None if item is None else json.dumps(item)
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    response.read()
    return response.status


def create(service: Service, name: str) -> int | None:
    """Return the status, and nothing where there was no answer; each time on a new connection."""
    connection = connect(service)
    try:
        item = {"name": name, "price_cents": 1}
        return ask(connection, "POST", "/v1/items", item, Connection="close", **service.headers)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def created(service: Service) -> int:
    """Return how many requests have created an item according to the log."""
    return sum(record["event"] == "http.request" and record["status"] == 201 for record in service.records())


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_no_request(full: Path, postgres: PostgreSQL, workers: int) -> None:
    answers: dict[str, int | None] = {}

    def load(service: Service) -> None:
        while service.process.poll() is None:
            name = uuid4().hex
            answers[name] = create(service, name)

    with serve(full, postgres, workers=workers) as service, ThreadPoolExecutor(8) as threads:
        loads = [threads.submit(load, service) for _ in range(8)]
        until(lambda: len(answers) > 200)
        started = time.monotonic()
        service.stop()
        seconds = time.monotonic() - started
        for each in loads:
            each.result()

    confirmed = {name for name, status in answers.items() if status == 201}
    assert service.process.returncode in STOPPED
    assert seconds < STOP_SECONDS
    assert set(answers.values()) == {201, None}, "every request was answered, or never accepted"
    assert created(service) == len(confirmed), "what it has answered has arrived"
    assert stored(postgres, service) == confirmed


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_waits_for_slow_requests(full: Path, postgres: PostgreSQL, workers: int) -> None:
    names = {uuid4().hex for _ in range(10)}
    with serve(full, postgres, workers=workers) as service, ThreadPoolExecutor(10) as threads:
        with postgres.locked(service.database):
            waiting = [threads.submit(create, service, name) for name in names]
            until(lambda: activity(postgres).count("active") == len(names))
            service.process.terminate()
            until(lambda: "".join(service.log).count('"Shutting down"') == workers)
            time.sleep(0.5)
        answers = [each.result() for each in waiting]
        service.stop()

    assert answers == [201] * len(names)
    assert service.process.returncode in STOPPED
    assert created(service) == len(names)
    assert stored(postgres, service) == names


@pytest.mark.parametrize(("workers", "group"), [(1, False), (2, False), (2, True)])
def test_it_says_that_it_will_stop_and_serves_until_then(render: Render, workers: int, group: bool) -> None:
    variables = {"HEALTH_DRAIN": "3"}
    with served(render(BARE), COMMAND, workers=workers, variables=variables) as (process, port, _):
        told = [process.pid, *(child.pid for child in psutil.Process(process.pid).children() if group)]
        for pid in told:
            os.kill(pid, signal.SIGTERM)
        until(lambda: get(port, "/readyz").status == 503)
        alive = get(port, "/livez").status
        running = process.poll() is None
        process.wait(STOP_SECONDS)

    assert alive == 200
    assert running
    assert process.returncode in STOPPED


@contextmanager
def sent(service: Service, request: bytes, *, abort: bool) -> Iterator[socket.socket]:
    """Send bytes, and hang up when the block ends: with a goodbye, or by resetting the connection."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        if abort:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(request)
        yield client


def head(service: Service, method: str, path: str, length: int) -> bytes:
    headers = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": length,
        **service.headers,
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def assert_nothing_is_left(service: Service, postgres: PostgreSQL) -> None:
    """Whoever was given up has a line in the log and nothing else; the whole pool can be used at once."""
    until(lambda: any('"http.request"' in line for line in service.log))
    until(lambda: set(activity(postgres)) <= {"idle"})
    with ThreadPoolExecutor(POOL) as threads:
        with postgres.locked(service.database):
            waiting = [threads.submit(service.create) for _ in range(POOL)]
            until(lambda: activity(postgres).count("active") == POOL)
        statuses = {each.result().status_code for each in waiting}
    service.stop()

    assert statuses == {201}
    assert [record for record in service.records() if record["level"] not in ("debug", "info")] == []
    assert service.process.returncode in STOPPED


@pytest.mark.parametrize("abort", [False, True])
def test_a_client_may_go_while_the_database_works(service: Service, postgres: PostgreSQL, abort: bool) -> None:
    body = b'{"name": "a", "price_cents": 1}'
    with postgres.locked(service.database):
        with sent(service, head(service, "POST", "/v1/items", len(body)) + body, abort=abort):
            until(lambda: "active" in activity(postgres))
        time.sleep(0.2)

    assert_nothing_is_left(service, postgres)
    assert created(service) == len(stored(postgres, service)), "its item is stored, or the log says that it is not"


@pytest.mark.parametrize("abort", [False, True])
def test_a_client_may_go_while_it_reads(service: Service, postgres: PostgreSQL, abort: bool) -> None:
    postgres.execute(
        "INSERT INTO items (id, owner_id, name, price_cents, created_at, updated_at)"
        " SELECT uuidv7(), users.id, repeat('x', 80) || number, 1, now(), now()"
        " FROM users, generate_series(1, 100000) AS number",
        service.database,
    )
    with sent(service, head(service, "GET", "/v1/items/export", 0), abort=abort) as client:
        client.recv(1000)
        until(lambda: "idle in transaction" in activity(postgres))

    assert_nothing_is_left(service, postgres)


@pytest.mark.parametrize("abort", [False, True])
def test_a_client_may_go_while_it_sends(service: Service, postgres: PostgreSQL, abort: bool) -> None:
    with sent(service, head(service, "POST", "/v1/items", 1000) + b'{"name": ', abort=abort):
        time.sleep(0.2)

    assert_nothing_is_left(service, postgres)


def test_ten_thousand_requests_take_no_memory(service: Service) -> None:
    def work(requests: int) -> set[int]:
        connection = connect(service)
        item = {"name": "", "price_cents": 1}
        statuses = set()
        for _ in range(requests // 5):
            statuses |= {
                ask(connection, "GET", "/livez"),
                ask(connection, "POST", "/v1/items", item, **service.headers),
                ask(connection, "POST", "/v1/items", {**item, "name": uuid4().hex}, **service.headers),
                ask(connection, "GET", "/v1/items", **service.headers),
                ask(connection, "GET", f"/{uuid4().hex}"),
            }
        connection.close()
        return statuses

    def load(requests: int) -> tuple[set[int], float]:
        """Return all statuses, and the memory in MiB that is taken afterwards."""
        with ThreadPoolExecutor(4) as threads:
            statuses = set().union(*threads.map(work, [requests // 4] * 4))
        return statuses, psutil.Process(service.process.pid).memory_info().rss / 2**20

    _, before = load(1_000)
    statuses, after = load(10_000)

    assert statuses == {200, 201, 404, 422}
    assert after - before <= 5, f"{before:.1f} MiB have become {after:.1f}"
