"""Tasks of the full service with real workers, which are killed, and real brokers, which are taken away from them."""

import json
import os
import pickle
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psutil
import pytest
from kombu import Connection, Producer

from tests.ledger import hurry, keep_ledger
from tests.postgresql import PostgreSQL
from tests.rabbitmq_server import RabbitMQServer, needs_rabbitmq
from tests.redis_server import RedisServer, needs_redis
from tests.serving import SIGNED_ALIKE, Service, create_user, log_in, serve, until

Server = RedisServer | RabbitMQServer

SHUTDOWN, END_SECONDS, SILENT_SECONDS = 2, 8, 15
QUEUES = [f"my-service.{name}" for name in ("default", "reports", "dead")]

# What Celery prints when it ends.
OWN = {"worker: Hitting Ctrl+C again will terminate all running tasks!", "worker: Cold shutdown (MainProcess)"}

VARIABLES = {"TASKS_SHUTDOWN": str(SHUTDOWN)}


class Program:
    """A worker or beat, as its owner runs it."""

    def __init__(self, folder: Path, name: str, *options: str, variables: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "poethepoet", "-q", name, *options],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
            )

    def lines(self) -> list[str]:
        """Return those that are whole: the last one may be being written."""
        return self.log.read_text("utf-8").rpartition("\n")[0].splitlines()

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [record for record in found if event in {None, record["event"]}]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """Lose the whole of it at once, as a machine does."""
        for process in [psutil.Process(self.process.pid), *self.children()]:
            process.kill()
        self.process.wait(30)


@dataclass
class System:
    """A service, its database and its broker; the programs that it takes are started by each test."""

    folder: Path
    postgresql: PostgreSQL
    broker: Server
    service: Service
    programs: ExitStack

    def start(self, name: str, *options: str, variables: Mapping[str, str] | None = None) -> Program:
        given = {
            **SIGNED_ALIKE,
            **VARIABLES,
            "SERVICE_ENVIRONMENT": "production",
            "SERVICE_ALLOWED_HOSTS": "localhost",
            "DATABASE_URL": self.service.database,
            "TASKS_BROKER_URL": self.broker.url,
            # Celery's about root, whom the tests may be.
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
            **(variables or {}),
        }
        log = self.folder / f"{name}-{uuid4().hex}.log"
        program = Program(self.folder, name, *options, variables=given, log=log)
        self.programs.callback(close, program)
        return program

    def worker(self) -> Program:
        worker = self.start("worker", "--concurrency", "2", "--hostname", f"{uuid4().hex}@localhost")
        until(lambda: any(record["event"].endswith(" ready.") for record in worker.records()))
        return worker

    def beat(self) -> Program:
        beat = self.start("beat")
        until(lambda: bool(beat.records("beat: Starting...")))
        return beat

    def order(self, task: str, name: str | None = None, *, refuse: bool = False) -> httpx2.Response:
        data = {"name": name or uuid4().hex, "refuse": refuse}
        return httpx2.post(
            f"{self.service.url}/v1/ledger/ledger.{task}", json=data, headers=self.service.headers, timeout=30
        )

    def get(self, answer: httpx2.Response) -> dict[str, Any]:
        found: dict[str, Any] = self.service.get(f"/v1/tasks/{answer.json()['id']}").json()
        return found

    def wait(self, answer: httpx2.Response, *states: str) -> dict[str, Any]:
        """Return the task once it has one of the states: an end, where none is named."""
        assert answer.status_code == 202, answer.text
        expected = states or ("succeeded", "failed")
        until(lambda: self.get(answer)["state"] in expected)
        return self.get(answer)

    def execute(self, statement: str) -> list[Any]:  # rows of any shape
        return self.postgresql.execute(statement, self.service.database)

    def booked(self, name: str) -> int:
        """Return how often the ledger has it."""
        return len(self.execute(f"SELECT 1 FROM entries WHERE name = '{name}'"))

    def hold(self, name: str, attempt: int | None = None) -> Path:
        """Keep `wait` from ending until what is returned is gone."""
        hold = self.folder / "marks" / (f"{name}.hold" if attempt is None else f"{name}.hold.{attempt}")
        hold.touch()
        return hold

    def process(self, name: str, attempt: int = 1) -> int:
        """Return which process is at it, once one is."""
        mark = self.folder / "marks" / f"{name}.{attempt}"
        until(lambda: mark.exists() and mark.read_text() != "")
        return int(mark.read_text())

    def put(self, body: object, *, id: str, task: str = "ledger.book", **properties: Any) -> None:  # of many types
        """Put a message straight on the queue."""
        options = {"global_keyprefix": "my-service:"} if isinstance(self.broker, RedisServer) else {}
        with Connection(self.broker.url, transport_options=options) as connection:
            Producer(connection).publish(
                body,
                routing_key="my-service.default",
                headers={"id": id, "task": task},
                correlation_id=id,
                **properties,
            )


def close(program: Program) -> None:
    if program.process.poll() is None:
        program.kill()


@pytest.fixture(scope="module")
def folder(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger") / "service"
    shutil.copytree(full, folder)
    keep_ledger(folder)
    hurry(folder)
    return folder


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(RedisServer, marks=needs_redis, id="redis"),
        pytest.param(RabbitMQServer, marks=needs_rabbitmq, id="rabbitmq"),
    ],
)
def standing(request: pytest.FixtureRequest, folder: Path, postgresql: PostgreSQL) -> Iterator[System]:
    """What all tests share, and leave as they have found it."""
    server = request.param()
    variables = {**VARIABLES, "TASKS_BROKER_URL": server.url}
    with serve(folder, postgresql, variables=variables) as service:
        yield System(folder, postgresql, server, service, ExitStack())
    server.close()


@pytest.fixture
def system(standing: System) -> Iterator[System]:
    with ExitStack() as programs:
        standing.programs = programs
        yield standing
    standing.execute("DELETE FROM tasks")
    standing.execute("DELETE FROM entries")
    if isinstance(standing.broker, RedisServer):
        standing.broker.ask("FLUSHALL")
    else:
        standing.broker.delete(*QUEUES)


def runs(*programs: Program, id: str) -> list[str]:
    """Return how each run of a task has ended."""
    return [record["outcome"] for program in programs for record in program.records("tasks.run") if record["id"] == id]


def test_a_report_is_ordered_and_fetched_by_whoever_has_ordered_it(system: System) -> None:
    create_user(system.folder, system.service.database, "stranger@example.org")
    stranger = log_in(system.service.url, "stranger@example.org")
    worker = system.worker()
    system.service.create()

    headers = {**system.service.headers, "X-Request-ID": "caller-1"}
    ordered = httpx2.post(f"{system.service.url}/v1/items/reports", headers=headers, timeout=30)
    report = system.wait(ordered)
    location = ordered.headers["Location"]
    theirs = httpx2.get(f"{system.service.url}{location}", headers=stranger, timeout=30)
    unknown = system.service.get(f"/v1/tasks/{uuid4()}")

    assert location == f"/v1/tasks/{ordered.json()['id']}"
    assert (report["state"], report["attempts"], report["progress"]) == ("succeeded", 1, 100)
    assert report["result"] == {"items": 1, "total_cents": 1}
    assert (theirs.status_code, unknown.status_code) == (404, 404)
    assert [record["request_id"] for record in worker.records("tasks.run")] == ["caller-1"]


def test_a_worker_that_is_killed_loses_no_task(system: System) -> None:
    name = uuid4().hex
    system.beat()
    first = system.worker()
    hold = system.hold(name)
    ordered = system.order("wait", name)
    system.process(name)

    first.kill()
    system.worker()
    hold.unlink()
    task = system.wait(ordered)

    assert (task["state"], task["attempts"]) == ("succeeded", 2)
    assert system.booked(name) == 1


def test_a_process_that_is_killed_loses_no_task_and_no_other(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    hold = system.hold(name)
    ordered = system.order("wait", name)
    process = system.process(name)

    os.kill(process, signal.SIGKILL)
    hold.unlink()
    task = system.wait(ordered)
    others = [system.wait(system.order("book"))["state"] for _ in range(4)]

    assert (task["state"], task["attempts"]) == ("succeeded", 2)
    assert system.process(name, 2) != process
    assert system.booked(name) == 1
    assert others == ["succeeded"] * 4
    assert runs(worker, id=task["id"]) == ["succeeded"]


def test_a_short_task_ends_before_its_worker_does(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    hold = system.hold(name)
    ordered = system.order("wait", name)
    system.process(name)

    started = time.monotonic()
    worker.process.terminate()
    until(lambda: any("Soft Shutdown" in line for line in worker.lines()))
    hold.unlink()
    worker.process.wait(30)
    seconds = time.monotonic() - started

    assert seconds < SHUTDOWN + END_SECONDS
    assert (system.get(ordered)["state"], system.get(ordered)["attempts"]) == ("succeeded", 1)
    assert runs(worker, id=ordered.json()["id"]) == ["succeeded"]


def test_a_long_task_is_left_to_another_worker(system: System) -> None:
    name = uuid4().hex
    first = system.worker()
    hold = system.hold(name)
    ordered = system.order("wait", name)
    system.process(name)

    started = time.monotonic()
    first.stop()
    seconds = time.monotonic() - started
    second = system.worker()
    system.beat()
    hold.unlink()
    task = system.wait(ordered)

    assert seconds < SHUTDOWN + END_SECONDS
    assert (task["state"], task["attempts"]) == ("succeeded", 1)
    assert system.booked(name) == 1
    assert runs(first, id=task["id"]) == ["broken off"]
    assert runs(second, id=task["id"]) == ["succeeded"]


def test_a_worker_ends_in_time_though_its_task_does_not(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    system.order("block", name)
    process = system.process(name)

    started = time.monotonic()
    worker.stop()
    seconds = time.monotonic() - started

    assert seconds < SHUTDOWN + END_SECONDS
    assert not psutil.pid_exists(process)


@pytest.mark.parametrize("name", ["worker", "beat", "service"])
def test_what_runs_ends_in_time_though_the_broker_is_silent(system: System, name: str) -> None:
    with ExitStack() as stack:
        process: subprocess.Popen[Any]
        if name == "service":
            variables = {**VARIABLES, "TASKS_BROKER_URL": system.broker.url}
            service = stack.enter_context(serve(system.folder, system.postgresql, variables=variables))
            process = service.process
            httpx2.post(f"{service.url}/v1/items/reports", headers=service.headers, timeout=30)
        else:
            process = (system.worker() if name == "worker" else system.beat()).process
            system.wait(system.order("book"), "queued", "succeeded")
        children = psutil.Process(process.pid).children()
        system.broker.freeze()
        stack.callback(system.broker.thaw)
        system.order("book")

        started = time.monotonic()
        process.terminate()
        process.wait(30)
        seconds = time.monotonic() - started

    assert seconds < SILENT_SECONDS
    assert not any(child.is_running() for child in children)


def test_beat_ends_at_once_while_it_starts(system: System) -> None:
    system.programs.callback(system.hold("begin").unlink)
    beat = system.start("beat")
    system.process(str(beat.process.pid))

    beat.process.terminate()

    assert beat.process.wait(30) == 128 + signal.SIGTERM


def test_a_task_that_takes_its_process_along_is_given_up_and_others_go_on(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()

    poison = system.order("die", name)
    others = [system.order("book") for _ in range(4)]
    given_up = system.wait(poison)
    states = [system.wait(other)["state"] for other in others]

    assert (given_up["state"], given_up["attempts"]) == ("failed", 3)
    assert given_up["detail"] == "It has been begun 3 times, without success."
    assert states == ["succeeded"] * 4
    assert system.booked(name) == 0
    lines = worker.records("tasks.given_up")
    assert [(line["level"], line["id"], line["attempts"]) for line in lines] == [("error", given_up["id"], 3)]


def test_a_task_that_takes_too_long_is_broken_off_or_killed(system: System) -> None:
    slow, hanging = uuid4().hex, uuid4().hex
    system.worker()
    system.beat()

    broken_off = system.wait(system.order("late", slow))
    killed = system.order("hang", hanging)
    other = system.wait(system.order("book"))
    given_up = system.wait(killed)

    assert (broken_off["state"], broken_off["detail"]) == ("failed", "It has taken more than 1 seconds.")
    assert other["state"] == "succeeded"
    assert (given_up["state"], given_up["attempts"]) == ("failed", 2)
    assert system.booked(slow) == system.booked(hanging) == 0


def test_a_failure_that_was_expected_is_tried_again_after_a_while(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    system.beat()

    task = system.wait(system.order("fail", name))

    assert (task["state"], task["attempts"]) == ("succeeded", 2)
    assert system.booked(name) == 1
    assert runs(worker, id=task["id"]) == ["retrying", "succeeded"]


def test_of_two_with_the_same_key_one_is_kept(system: System) -> None:
    name = uuid4().hex
    system.worker()

    first, second = system.order("once", name), system.order("once", name)
    system.wait(first)
    third = system.order("once", name)

    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    assert system.booked(name) == 1


def test_what_no_worker_can_read_is_put_aside(system: System) -> None:
    worker = system.worker()
    unknown = str(uuid4())

    system.put(b"{broken", id=str(uuid4()), content_type="application/json", content_encoding="utf-8")
    system.put(pickle.dumps([[], {}, {}]), id=str(uuid4()), content_type="application/x-python-serialize")
    system.put([[], {}, {}], id=str(uuid4()), task="ledger.unknown")
    system.put({"no": "task"}, id=str(uuid4()))
    system.put([[], {}, {}], id="../../etc/passwd")
    system.put([["x" * 20_000_000], {}, {}], id=str(uuid4()))
    system.put([[], {}, {}], id=unknown)
    if isinstance(system.broker, RedisServer):
        system.broker.ask("LPUSH", "my-service:my-service.default", "no message at all")
    tasks = [system.wait(system.order("book")) for _ in range(4)]

    assert [task["state"] for task in tasks] == ["succeeded"] * 4
    assert worker.process.poll() is None
    assert [record["id"] for record in worker.records("tasks.unknown")] == [unknown]
    assert len(worker.records("tasks.unreadable")) == 6 + isinstance(system.broker, RedisServer)
    assert max(map(len, worker.lines())) < 1_000
    if isinstance(system.broker, RabbitMQServer):
        assert system.broker.count("my-service.dead") == 6


def test_two_workers_and_many_messages_do_each_task_once(system: System) -> None:
    names = [uuid4().hex for _ in range(20)]
    workers = system.worker(), system.worker()

    ordered = [system.order("book", name) for name in names]
    for answer in ordered * 2:
        system.put([[], {}, {}], id=answer.json()["id"])
    for answer in ordered:
        system.wait(answer)
    last = system.wait(system.order("book"))

    assert last["state"] == "succeeded"
    assert [system.booked(name) for name in names] == [1] * len(names)
    assert [runs(*workers, id=answer.json()["id"]) for answer in ordered] == [["succeeded"]] * len(names)


def test_a_run_that_another_has_taken_the_place_of_stores_nothing(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    first, second = system.hold(name, 1), system.hold(name, 2)
    ordered = system.order("wait", name)
    system.process(name, 1)

    system.execute("UPDATE tasks SET due_at = now()")  # as if it had been silent for too long
    system.beat()
    system.process(name, 2)
    first.unlink()
    until(lambda: runs(worker, id=ordered.json()["id"]) == ["superseded"])
    between = system.get(ordered)["state"], system.booked(name)
    second.unlink()
    task = system.wait(ordered)

    assert between == ("running", 0)
    assert (task["state"], task["attempts"]) == ("succeeded", 2)
    assert system.booked(name) == 1


def test_what_is_due_by_the_clock_is_stored_once_for_each_minute(system: System) -> None:
    system.broker.stop()
    beats = system.beat(), system.beat()
    until(
        lambda: all(len(beat.records("Scheduler: Sending due task ledger.close (ledger.close)")) > 2 for beat in beats)
    )
    stored = system.execute("SELECT key, state FROM tasks WHERE name = 'ledger.close'")
    system.broker.start()
    system.worker()
    until(lambda: {row["state"] for row in system.execute("SELECT state FROM tasks")} == {"succeeded"})

    assert 1 <= len(stored) <= 2, "it may have begun in one minute and ended in the next"
    assert len({row["key"] for row in stored}) == len(stored)
    assert {row["state"] for row in stored} == {"pending"}
    assert system.booked("closed") == len(system.execute("SELECT 1 FROM tasks WHERE name = 'ledger.close'"))


def test_a_restarted_database_is_found_again_and_no_process_shares_a_connection(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    system.beat()
    held = [system.hold(uuid4().hex) for _ in range(2)]
    ordered = [system.order("wait", hold.stem) for hold in held]
    for hold in held:
        system.process(hold.stem)
    inherited = connections(psutil.Process(worker.process.pid), system.postgresql.port)
    own = [connections(child, system.postgresql.port) for child in worker.children()]

    system.postgresql.stop()
    for hold in held:
        hold.unlink()
    system.postgresql.start()
    ordered.append(system.order("book", name))
    tasks = [system.wait(answer) for answer in ordered]

    assert inherited == set()
    assert len(own) == 2
    assert all(own)
    assert own[0].isdisjoint(own[1])
    assert [task["state"] for task in tasks] == ["succeeded"] * 3
    assert [system.booked(each) for each in [*(hold.stem for hold in held), name]] == [1] * 3


def connections(process: psutil.Process, port: int) -> set[int]:
    """Return the ports by which it is connected to another."""
    return {each.laddr.port for each in process.net_connections("tcp") if each.raddr and each.raddr.port == port}


def test_every_line_is_json_and_none_has_what_a_task_was_given(system: System) -> None:
    canaries = [f"{uuid4().hex}@example.org" for _ in range(3)]
    worker, beat = system.worker(), system.beat()

    system.wait(system.order("book", canaries[0]))
    system.wait(system.order("fail", canaries[1]))
    system.wait(system.order("late", canaries[2]))
    system.put([[canaries[0]], {}, {}], id=str(uuid4()), task=canaries[0])
    until(lambda: len(worker.records("tasks.unreadable")) == 1)
    worker.stop()
    beat.stop()

    log = [line for line in [*worker.lines(), *beat.lines()] if line]
    assert [line for line in log if any(canary in line for canary in canaries)] == []
    assert [line for line in log if not line.startswith("{") and line not in OWN] == []


def broken(fault: str, broker: Server) -> None:
    broker.freeze() if fault == "frozen" else broker.stop()


def mended(fault: str, broker: Server) -> None:
    broker.thaw() if fault == "frozen" else broker.start()


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_no_order_waits_for_the_broker_and_each_is_done_once(system: System, fault: str) -> None:
    """Orders arrive before, while and after it is gone, and some of them are taken back."""
    done = threading.Event()
    answers: dict[str, httpx2.Response] = {}
    system.worker()
    system.beat()

    def load() -> None:
        while not done.is_set():
            name = uuid4().hex
            answers[name] = system.order("book", name, refuse=name < "4")

    with ThreadPoolExecutor(1) as threads:
        loaded = threads.submit(load)
        until(lambda: len(answers) > 10)
        broken(fault, system.broker)
        gone = len(answers)
        until(lambda: system.service.get("/readyz").json()["checks"]["tasks"] == "degraded")
        ready = system.service.get("/readyz")
        until(lambda: len(answers) > gone + 10)
        mended(fault, system.broker)
        back = len(answers)
        until(lambda: len(answers) > back + 10)
        done.set()
        loaded.result()
    until(lambda: {row["state"] for row in system.execute("SELECT state FROM tasks")} == {"succeeded"})

    kept = {name for name, answer in answers.items() if answer.status_code == 202}
    assert {answer.status_code for answer in answers.values()} == {202, 409}
    assert max(answer.elapsed.total_seconds() for answer in answers.values()) < 1
    assert ready.status_code == 200
    written = [row["name"] for row in system.execute("SELECT name FROM entries WHERE name != 'closed'")]
    assert sorted(written) == sorted(kept)


def test_what_waits_with_a_broker_that_loses_it_is_done_all_the_same(system: System) -> None:
    names = [uuid4().hex for _ in range(5)]
    ordered = [system.order("book", name) for name in names]
    for answer in ordered:
        system.wait(answer, "queued")

    system.broker.restart()  # Redis comes back with nothing
    system.worker()
    system.beat()
    for answer in ordered:
        system.wait(answer)

    assert [system.booked(name) for name in names] == [1] * 5


def test_a_worker_that_loses_the_broker_in_mid_task_loses_no_task_and_counts_no_run(system: System) -> None:
    name = uuid4().hex
    worker = system.worker()
    hold = system.hold(name)
    ordered = system.order("wait", name)
    process = system.process(name)

    system.broker.restart()
    system.beat()
    until(lambda: system.process(name) != process or (system.folder / "marks" / f"{name}.2").exists())
    hold.unlink()
    task = system.wait(ordered)
    other = system.wait(system.order("book"))

    assert (task["state"], task["attempts"]) == ("succeeded", 1)
    assert system.booked(name) == 1
    assert other["state"] == "succeeded"
    assert worker.process.poll() is None


def test_a_broker_that_cannot_prove_who_it_is_is_not_spoken_to(system: System, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-out", certificate, "-keyout", key, *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    scheme = "rediss" if isinstance(system.broker, RedisServer) else "amqps"
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://localhost:{server.getsockname()[1]}/0"
        worker = system.start("worker", variables={"TASKS_BROKER_URL": url})
        server.settimeout(30)
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            context.wrap_socket(server.accept()[0], server_side=True)

    until(lambda: any("CERTIFICATE_VERIFY_FAILED" in line for line in worker.lines()))
