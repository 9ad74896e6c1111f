"""WebSockets of services that run: who is let in, who does harm, who is gone, and what crosses Redis."""

import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import psutil
import pytest

from tests.combinations import BARE, with_needs
from tests.conftest import Render
from tests.postgresql import PostgreSQL
from tests.redis_server import RedisServer, needs_redis
from tests.serving import (
    COMMAND,
    EMAIL,
    PASSWORD,
    STOPPED,
    Service,
    activity,
    alembic,
    create_user,
    log_in,
    serve,
    served,
    until,
)
from tests.websocket_client import Client, Frame, Opcode, encode, handshake, message

STRANGER = "stranger@example.org"
STOP_SECONDS = 25
ENDED = 4401
PROTOCOL_ERROR, UNSUPPORTED, NOT_UTF_8, POLICY, TOO_BIG, RESTART, TRY_LATER = 1002, 1003, 1007, 1008, 1009, 1012, 1013
CLOSED_SECONDS = 5.0  # in which a session that has ended ends its connections
LATE = 0.5  # seconds, for 100 ms and what a busy machine adds

TEST = {"SERVICE_ENVIRONMENT": "test"}
"""There is the room `demo`, which is for everybody, and SQLite will do."""

TALKATIVE = {"WEBSOCKETS_MESSAGES_PER_SECOND": "1000"}
MANY = {"WEBSOCKETS_CONNECTIONS_PER_ADDRESS": "10000", "WEBSOCKETS_CONNECTIONS_PER_PRINCIPAL": "10000"}
LARGE = "x" * 30_000


@pytest.fixture(scope="module")
def rooms(render: Render) -> Path:
    """A service that has WebSockets and nothing else."""
    return render({**BARE, "websockets": True})


@pytest.fixture(scope="module")
def signed_in(render: Render) -> Path:
    """A service in whose rooms somebody is known: it starts faster than the full one."""
    return render({**with_needs(BARE, "auth"), "websockets": True, "samples": True})


@pytest.fixture(scope="module")
def users(signed_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two, to be copied."""
    path = tmp_path_factory.mktemp("users") / "users.db"
    assert alembic(signed_in, f"sqlite:///{path}", "upgrade", "head").returncode == 0
    for email in (EMAIL, STRANGER):
        create_user(signed_in, f"sqlite:///{path}", email)
    return path


@pytest.fixture
def database(users: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(users, tmp_path / 'test.db')}"


@contextmanager
def running(
    folder: Path, *, workers: int = 1, variables: Mapping[str, str] | None = None, database: str = ""
) -> Iterator[Service]:
    """Serve where nobody logs in."""
    variables = {**TEST, **({"DATABASE_URL": database} if database else {}), **(variables or {})}
    with served(folder, COMMAND, workers=workers, variables=variables) as (process, port, log):
        assert process.stdout is not None
        reader = threading.Thread(target=log.extend, args=[process.stdout], daemon=True)
        reader.start()  # else the service blocks when the pipe is full
        service = Service(f"http://127.0.0.1:{port}", process, database, {}, log, reader)
        try:
            yield service
        finally:
            service.stop()


@pytest.fixture
def service(rooms: Path) -> Iterator[Service]:
    with running(rooms, variables={**TALKATIVE, **MANY}) as service:
        yield service


@pytest.fixture(scope="module")
def site(full: Path, postgresql: PostgreSQL) -> Iterator[Service]:
    """The full service; its headers are those of an administrator, so that each test has a user of its own."""
    with serve(full, postgresql, variables=TEST) as site:
        create_user(full, site.database, "admin@example.org", role="admin")
        site.headers = log_in(site.url, "admin@example.org")
        yield site


def port_of(service: Service) -> int:
    port = urlsplit(service.url).port
    assert port is not None
    return port


def connect(service: Service, *headers: str, **options: Any) -> Client:  # those of a client
    client = Client(port_of(service), *headers, **options)
    assert client.status == 101, client.body
    return client


def status(service: Service, *headers: str, **options: Any) -> int:  # those of a client
    """Return what a handshake is answered with, and go again."""
    with Client(port_of(service), *headers, **options) as client:
        if client.status == 101:
            client.close()
        return client.status


def processes(service: Service) -> list[psutil.Process]:
    process = psutil.Process(service.process.pid)
    return [process, *process.children()]


def sockets(service: Service) -> set[int]:
    """Return the ports of everybody who has a connection to the service."""
    connections = [each for process in processes(service) for each in process.net_connections("tcp")]
    return {each.raddr.port for each in connections if each.raddr and each.laddr.port == port_of(service)}


def memory(service: Service) -> float:
    return sum(process.memory_info().rss for process in processes(service)) / 2**20


def troubles(service: Service) -> list[dict[str, Any]]:
    """Stop it, and return what its log has at `warning` or above."""
    service.stop()
    return [record for record in service.records() if record["level"] not in ("debug", "info")]


def count(service: Service, event: str) -> int:
    return sum(record["event"] == event for record in service.records())


def serves(service: Service) -> bool:
    """Say whether two well-behaved clients hear each other, and the probe its answer."""
    with connect(service) as one, connect(service) as other:
        other.join()
        one.join().publish("hello")
        heard = [other.messages("hello"), one.messages("hello")]
        codes = [one.close(), other.close()]
    return heard == [["hello"]] * 2 and codes == [1000] * 2 and service.get("/livez").status_code == 200


# Somebody whom nobody hears any more: first, for it takes longest.

SILENT = """
import sys, time
from tests.websocket_client import Client
client = Client(int(sys.argv[1])).join()
print(client.port, flush=True)
time.sleep(600)
"""


def test_who_has_vanished_is_let_go_and_who_is_idle_is_not(rooms: Path) -> None:
    with running(rooms, variables=TALKATIVE) as service, ExitStack() as stack:
        stuck, *_ = fill_up(service, stack)
        idle, deaf = [stack.enter_context(connect(service)) for _ in range(2)]
        heard: list[Frame] = []
        idle.join()
        command = [sys.executable, "-c", SILENT, str(port_of(service))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as vanished:
            assert vanished.stdout is not None
            port = int(vanished.stdout.readline())
            started = time.monotonic()
            vanished.send_signal(signal.SIGSTOP)
            try:
                while {port, deaf.port, stuck.port} & sockets(service):  # frozen, answers no ping, reads nothing
                    assert time.monotonic() < started + 45
                    try:
                        frame = idle.read(1)
                    except TimeoutError:
                        continue
                    heard.append(frame)
                    if frame.opcode == Opcode.PING:
                        idle.send(encode(frame.data, Opcode.PONG))
            finally:
                vanished.kill()
        seconds = time.monotonic() - started

        assert seconds < 42, "forty, and what a busy machine adds"
        assert len([frame for frame in heard if frame.opcode == Opcode.PING]) in (1, 2)
        assert idle.ask(type="ping")["type"] == "pong"
        assert deaf.closed() == 1011
        assert idle.close() == 1000
        assert troubles(service) == []


# Handshakes


@pytest.fixture
def member(site: Service) -> dict[str, str]:
    """Somebody who has logged in, and whom no other test knows."""
    _, headers = make_member(site)
    return headers


def make_member(site: Service) -> tuple[str, dict[str, str]]:
    """Return the path and the headers of somebody new."""
    email = f"{uuid4().hex}@example.org"
    user = {"email": email, "password": PASSWORD}
    created = httpx2.post(f"{site.url}/v1/users", json=user, headers=site.headers, timeout=30).raise_for_status()
    return created.headers["Location"], log_in(site.url, email)


def bearer(headers: Mapping[str, str]) -> str:
    return f"Authorization: {headers['Authorization']}"


def get_ticket(site: Service, headers: Mapping[str, str]) -> str:
    answer = httpx2.post(f"{site.url}/v1/ws/tickets", headers=headers, timeout=30).raise_for_status()
    ticket: str = answer.json()["ticket"]
    return ticket


def test_who_is_not_signed_in_is_refused_before_the_connection_opens(site: Service) -> None:
    refused = [
        Client(port_of(site), *headers)
        for headers in (
            [],
            ["Authorization: Bearer a.b.c"],
            ["Authorization: Basic Og=="],
            ["Authorization: Bearer a", "Authorization: Bearer b"],
            ["Sec-WebSocket-Protocol: rooms.v1"],
            ["Sec-WebSocket-Protocol: rooms.v1, ticket."],
            ["Sec-WebSocket-Protocol: ticket.a"],
            [f"Sec-WebSocket-Protocol: ticket.{'a' * 4000}"],
        )
    ]

    assert [client.status for client in refused] == [401] * len(refused)
    assert {client.headers["content-type"] for client in refused} == {"application/problem+json"}
    assert {json.loads(client.body)["status"] for client in refused} == {401}
    assert [client for client in refused if "sec-websocket-accept" in client.headers] == []


def test_a_bearer_without_an_origin_is_let_in(site: Service, member: dict[str, str]) -> None:
    with connect(site, bearer(member)) as client:
        assert "sec-websocket-protocol" not in client.headers
        assert client.ask(type="ping")["type"] == "pong"
        assert client.close() == 1000


def test_the_protocol_is_selected(site: Service, member: dict[str, str]) -> None:
    with connect(site, bearer(member), "Sec-WebSocket-Protocol: chat, rooms.v1") as client:
        assert client.headers["sec-websocket-protocol"] == "rooms.v1"
        assert client.close() == 1000


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        (["http://localhost"], 101),
        (["https://shop.example"], 403),
        (["https://localhost"], 403),
        (["http://localhost.example"], 403),
        (["null"], 403),
        ([""], 403),
        (["http://localhost", "https://shop.example"], 400),
    ],
)
def test_pages_of_other_origins_are_refused(
    site: Service, member: dict[str, str], origins: list[str], expected: int
) -> None:
    assert status(site, bearer(member), *(f"Origin: {origin}" for origin in origins)) == expected


def test_an_origin_that_is_named_is_let_in(rooms: Path) -> None:
    with running(rooms, variables={"WEBSOCKETS_ORIGINS": "https://shop.example"}) as service:
        assert status(service, "Origin: https://shop.example") == 101
        assert status(service, "Origin: https://www.shop.example") == 403


def test_a_ticket_is_good_once(site: Service, member: dict[str, str]) -> None:
    ticket = get_ticket(site, member)
    header = f"Sec-WebSocket-Protocol: rooms.v1, ticket.{ticket}"

    with connect(site, header, "Origin: http://localhost") as client:
        assert client.headers["sec-websocket-protocol"] == "rooms.v1"
        assert client.ask(type="ping")["type"] == "pong"
        assert client.close() == 1000
    assert status(site, header) == 401


def test_of_ten_who_show_a_ticket_at_the_same_time_one_is_let_in(site: Service, member: dict[str, str]) -> None:
    header = f"Sec-WebSocket-Protocol: ticket.{get_ticket(site, member)}"
    with ThreadPoolExecutor(10) as threads:
        statuses = Counter(threads.map(lambda _: status(site, header), range(10)))

    assert statuses == {101: 1, 401: 9}


def test_a_ticket_in_the_address_is_not_looked_at(site: Service, member: dict[str, str]) -> None:
    ticket = get_ticket(site, member)

    queries = [f"/v1/ws?ticket={ticket}", f"/v1/ws?ticket=ticket.{ticket}", f"/v1/ws?access_token={ticket}"]
    assert [status(site, path=path) for path in queries] == [401] * 3
    assert status(site, f"Sec-WebSocket-Protocol: ticket.{ticket}") == 101


# Limits: each of five leaves in a way of its own.


def say_goodbye(client: Client) -> None:
    assert client.close() == 1000


def reset(client: Client) -> None:
    client.reset()


def leave_in_mid_frame(client: Client) -> None:
    client.send(encode(b"{}")[:-1])
    client.socket.shutdown(socket.SHUT_WR)


def break_the_protocol(client: Client) -> None:
    client.send(encode(b"{}", masked=False))
    assert client.closed() == PROTOCOL_ERROR


def be_slow(client: Client) -> None:
    """Read nothing of what one says in the room oneself, until nobody listens any more."""
    client.join()
    client.socket.settimeout(0.5)
    with suppress(OSError):
        client.socket.sendall(message(type="publish", room="demo", data=LARGE) * 500)


WAYS = (say_goodbye, reset, leave_in_mid_frame, break_the_protocol, be_slow)


def come(service: Service, *headers: str, **options: Any) -> Client:  # those of a client
    """Try until there is room."""
    deadline = time.monotonic() + 10
    while (client := Client(port_of(service), *headers, **options)).status != 101:
        assert client.status == 429
        assert time.monotonic() < deadline, "Somebody who has left still counts."
        client.socket.close()
        time.sleep(0.05)
    return client


def assert_five_fit(service: Service, *headers: str) -> None:
    """Whoever leaves makes room for one, and for one only; who has been refused has taken none."""
    with ExitStack() as stack:
        first = [stack.enter_context(connect(service, *headers)) for _ in WAYS]
        refused = stack.enter_context(Client(port_of(service), *headers))
        for client, leave in zip(first, WAYS, strict=True):
            leave(client)
        for _ in WAYS:
            stack.enter_context(come(service, *headers))
        after = status(service, *headers)

    assert (refused.status, after) == (429, 429)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "5"


@pytest.mark.parametrize("limit", ["CONNECTIONS_PER_ADDRESS", "MAX_CONNECTIONS"])
def test_connections_count_for_as_long_as_they_are_there(rooms: Path, limit: str) -> None:
    with running(rooms, variables={**TALKATIVE, f"WEBSOCKETS_{limit}": "5"}) as service:
        assert_five_fit(service)
        assert troubles(service) == []


def test_one_address_takes_no_room_from_another(rooms: Path) -> None:
    with running(rooms, variables={"WEBSOCKETS_CONNECTIONS_PER_ADDRESS": "1"}) as service, connect(service):
        assert status(service) == 429
        assert status(service, source="127.0.0.2") == 101


def test_a_user_has_five_connections(signed_in: Path, database: str) -> None:
    with running(signed_in, variables=TALKATIVE, database=database) as site:
        user, stranger = log_in(site.url), log_in(site.url, STRANGER)
        with connect(site, bearer(stranger)):
            assert_five_fit(site, bearer(user))
        assert troubles(site) == []


# Hostile frames


def pieces(*parts: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """Return a message in as many frames."""
    last = len(parts) - 1
    return b"".join(
        encode(part, Opcode.CONTINUATION if number else opcode, fin=number == last) for number, part in enumerate(parts)
    )


ATTACKS: Mapping[str, tuple[bytes, set[int | None]]] = {
    "not masked": (encode(b"{}", masked=False), {PROTOCOL_ERROR}),
    **{f"reserved bits {bits}": (encode(b"{}", reserved=bits), {PROTOCOL_ERROR}) for bits in range(1, 8)},
    **{f"opcode {code}": (encode(b"{}", code), {PROTOCOL_ERROR}) for code in (*range(3, 8), *range(11, 16))},
    "continuation of nothing": (encode(b"{}", Opcode.CONTINUATION), {PROTOCOL_ERROR}),
    "a message within another": (encode(b"{", fin=False) + encode(b"}"), {PROTOCOL_ERROR}),
    "ping in pieces": (encode(b"", Opcode.PING, fin=False), {PROTOCOL_ERROR}),
    "close in pieces": (encode(b"", Opcode.CLOSE, fin=False), {PROTOCOL_ERROR}),
    "long ping": (encode(bytes(126), Opcode.PING), {PROTOCOL_ERROR}),
    "too large": (encode(b"1" * 65_537), {TOO_BIG}),
    "too large in two pieces": (pieces(b"1" * 40_000, b"1" * 40_000), {TOO_BIG}),
    "too large in a thousand pieces": (pieces(*[b"1" * 100] * 1000), {TOO_BIG}),
    "too large and binary": (encode(bytes(65_537), Opcode.BINARY), {TOO_BIG}),
    "2 ** 63 - 1 announced": (encode(b"{}", length=2**63 - 1), {TOO_BIG}),
    "2 ** 63 announced": (encode(b"{}", length=2**63), {TOO_BIG, PROTOCOL_ERROR}),
    "2 ** 64 - 1 announced": (encode(b"{}", length=2**64 - 1), {TOO_BIG, PROTOCOL_ERROR}),
    "binary": (encode(b"{}", Opcode.BINARY), {UNSUPPORTED}),
    "binary and empty": (encode(b"", Opcode.BINARY), {UNSUPPORTED}),
    "binary in pieces": (pieces(b"{", b"}", opcode=Opcode.BINARY), {UNSUPPORTED}),
    "not UTF-8": (encode(b'"\xff"'), {NOT_UTF_8}),
    "half a surrogate pair": (encode(b'"\xed\xa0\x80"'), {NOT_UTF_8}),
    "a character that ends too early": (encode(b'"\xf0\x9f'), {NOT_UTF_8}),
    "not UTF-8, in pieces": (pieces(b'"\xf0\x9f', b"", b'\x9a"'), {NOT_UTF_8}),
    "no JSON, three times": (encode(b"{") + encode(b"") + encode(b"{}}"), {NOT_UTF_8}),
    "a thousand brackets, three times": (encode(b"[" * 60_000) * 3, {NOT_UTF_8}),
    "flood": (message(type="ping") * 200, {POLICY}),
    "flood of what is no JSON": (encode(b"{}}") * 200, {NOT_UTF_8}),
    "endless empty pieces": (pieces(*[b""] * 5000), {None}),
    "endless empty pieces, and pings": (
        encode(b"", fin=False) + (encode(b"", Opcode.CONTINUATION, fin=False) + encode(b"", Opcode.PING)) * 5000,
        {None},
    ),
    "close of one byte": (encode(b"\x03", Opcode.CLOSE), {PROTOCOL_ERROR}),
    **{
        f"close with {code}": (encode(struct.pack("!H", code), Opcode.CLOSE), {PROTOCOL_ERROR})
        for code in (0, 999, 1004, 1005, 1006, 1015, 5000)
    },
    "close with a reason that is no UTF-8": (encode(b"\x03\xe8\xff", Opcode.CLOSE), {NOT_UTF_8}),
    "data after a close": (encode(b"\x03\xe8", Opcode.CLOSE) + message(type="ping") * 100, {1000}),
    "two closes": (encode(b"\x03\xe8", Opcode.CLOSE) * 2, {1000}),
    "close without a code": (encode(b"", Opcode.CLOSE), {None}),
    "HTTP": (handshake(), {PROTOCOL_ERROR}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), {PROTOCOL_ERROR}),
}
"""What is sent, and the codes with which it may be ended."""


def test_hostile_frames_end_their_connection_and_nothing_else(rooms: Path, subtests: pytest.Subtests) -> None:
    with running(rooms) as service, connect(service) as bystander:
        bystander.join()
        for name, (attack, expected) in ATTACKS.items():
            with subtests.test(name), connect(service) as client:
                client.join().send(attack)
                assert client.closed() in expected

        assert bystander.ask(type="ping")["type"] == "pong"
        assert serves(service)
        until(lambda: sockets(service) <= {bystander.port})
        assert bystander.close() == 1000
        assert troubles(service) == []


def test_hostile_frames_of_who_goes_at_once_do_no_harm(service: Service) -> None:
    for attack, _ in ATTACKS.values():
        for leave in (Client.reset, leave_by_half, stop_reading):
            with connect(service) as client:
                client.send(message(type="subscribe", room="demo"), attack[: len(attack) // 2 + 1])
                leave(client)

    until(lambda: not sockets(service))
    assert serves(service)
    assert troubles(service) == []


def leave_by_half(client: Client) -> None:
    client.socket.shutdown(socket.SHUT_WR)


def stop_reading(client: Client) -> None:
    client.socket.shutdown(socket.SHUT_RD)


def test_a_message_may_come_in_pieces_with_a_ping_between(service: Service) -> None:
    first, second, third = b'{"type": "pi', b"", b'ng", "id": "\xc3\xa4"}'
    with connect(service) as client:
        client.send(
            encode(first, fin=False),
            encode(b"between", Opcode.PING),
            encode(second, Opcode.CONTINUATION, fin=False),
            encode(third[:-3], Opcode.CONTINUATION, fin=False),  # in the middle of a character
            encode(third[-3:], Opcode.CONTINUATION),
        )

        assert client.read() == Frame(Opcode.PONG, b"between")
        assert client.hear() == {"type": "pong", "id": "ä"}
        assert client.close() == 1000


def test_what_is_too_large_by_one_byte_is_refused_and_no_less(service: Service) -> None:
    text = b'{"type": "ping"}'
    with connect(service) as client:
        client.send(encode(text.ljust(65_536)))
        assert client.hear()["type"] == "pong"

        client.send(encode(text.ljust(65_537)))
        assert client.closed() == TOO_BIG


def test_who_says_too_much_is_told_before_it_is_cut_off(rooms: Path) -> None:
    with running(rooms, variables={"WEBSOCKETS_MESSAGES_PER_SECOND": "5"}) as service, connect(service) as client:
        client.send(message(type="ping") * 9)
        heard = [client.hear() for _ in range(9)]
        client.send(message(type="ping") * 20)

        assert [each["type"] for each in heard] == ["pong"] * 5 + ["error"] * 4
        assert {each.get("code") for each in heard[5:]} == {"rate_limited"}
        assert client.closed() == POLICY
        assert serves(service)
        assert troubles(service) == []


def test_no_json_is_told_twice_and_what_is_wrong_is_told_always(service: Service) -> None:
    with connect(service) as client:
        client.send(encode(b"{"), encode(b"{"), message(type="ping"), encode(b"{"), encode(b"{"))
        client.say(type="publish", id="a")
        client.say(type="nothing", id="b")
        client.send(encode(b"[]"), encode(b"null"), encode(b"1"))
        client.say(type="subscribe", room="nowhere", id="c")
        heard = [client.hear() for _ in range(11)]

        told = [each.get("code", each["type"]) for each in heard]
        malformed, failed = ["malformed_json"] * 2, ["validation_failed"] * 5
        assert told == [*malformed, "pong", *malformed, *failed, "room_not_found"]
        assert [each["id"] for each in heard[5:]] == ["a", "b", None, None, None, "c"]
        assert client.close() == 1000
        assert troubles(service) == []


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG], ids=["ping", "pong"])
def test_a_flood_of_control_frames_by_who_does_not_read_ends(service: Service, opcode: Opcode) -> None:
    before = memory(service)
    with connect(service, buffer=4096) as client:
        flood = encode(bytes(125), opcode) * 1000
        sent = 0
        with suppress(OSError):
            client.socket.settimeout(5)
            while sent < 100_000_000:
                sent += client.socket.send(flood)
        until(lambda: client.port not in sockets(service))

    assert sent < 100_000_000
    assert memory(service) - before < 10
    assert serves(service)
    assert troubles(service) == []


def test_handshakes_that_never_end_keep_nobody_away(service: Service) -> None:
    request = handshake("X-Padding: " + "x" * 100)
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(service)), timeout=10))
            for _ in range(50)
        ]
        for start in range(0, len(request) - 20, 20):
            for each in slow:
                each.sendall(request[start : start + 20])
        assert serves(service)
    until(lambda: not sockets(service))

    assert troubles(service) == []


HANDSHAKES: Mapping[str, int] = {
    "Sec-WebSocket-Version: 13": 400,  # twice, with what a client sends
    "Sec-WebSocket-Key: !": 400,
    "Sec-WebSocket-Extensions: permessage-deflate": 101,
    "Sec-WebSocket-Extensions: ,;=": 101,
    "Sec-WebSocket-Protocol: ,,;=": 400,
    "Origin: \xff": 403,
    "Origin: http://[": 403,
    "X: \xff": 101,
    "X: " + "x" * 9000: 431,
    "X: " + "x" * 100_000: 431,
    "\r\n".join(["X: x"] * 500): 431,
}


def test_handshakes_of_whatever_form_are_answered(service: Service, subtests: pytest.Subtests) -> None:
    for line, expected in HANDSHAKES.items():
        with subtests.test(line[:50]):
            assert status(service, line) == expected
    with subtests.test("a path that is too long"):
        assert status(service, path="/v1/ws?" + "x" * 9000) == 414

    until(lambda: not sockets(service))
    assert serves(service)
    assert troubles(service) == []


# Who does not read


def flood(service: Service, number: int, deaf: Client) -> list[int]:
    """Say so much that the deaf one has too much of it; return what somebody else has heard of that."""
    with connect(service) as speaker, connect(service) as listener:
        listener.join()
        deaf.join()
        heard: list[Any] = []
        for each in range(number):
            speaker.publish([each, LARGE])
            heard += listener.messages([each, LARGE])
        return [each for each, _ in heard]


def test_who_does_not_read_harms_only_itself(service: Service) -> None:
    with connect(service, buffer=4096) as deaf:
        before = memory(service)
        heard = flood(service, 250, deaf)
        grown = memory(service) - before
        rest, code = deaf.rest()
    seen = [told["data"][0] for told in rest if told["type"] == "message"]

    assert heard == list(range(250))
    assert code == TRY_LATER
    assert seen == list(range(len(seen)))
    assert 0 < len(seen) < 250
    assert grown < 5, "of 7 MB"
    assert serves(service)
    assert troubles(service) == []


def test_many_small_messages_are_not_kept_for_who_does_not_read_either(service: Service) -> None:
    with connect(service, buffer=4096) as deaf:
        deaf.join()
        for _ in range(50):
            with connect(service) as speaker:
                speaker.publish(*["x" * 200] * 900)
                assert speaker.ask(type="ping")["type"] == "pong"
        assert deaf.closed() == TRY_LATER


def test_who_never_reads_is_gone_soon(service: Service) -> None:
    with connect(service, buffer=4096) as deaf:
        started = time.monotonic()
        flood(service, 400, deaf)
        until(lambda: deaf.port not in sockets(service))
        seconds = time.monotonic() - started

    assert seconds < 15
    assert troubles(service) == []


# Sessions that end while connections are open


def sent_away(client: Client, end: Callable[[], object]) -> int | None:
    end()
    return client.closed(CLOSED_SECONDS)


def post(site: Service, path: str, headers: Mapping[str, str]) -> None:
    httpx2.post(f"{site.url}{path}", headers=headers, timeout=30).raise_for_status()


def test_who_logs_out_is_sent_away_and_nobody_else(site: Service, member: dict[str, str]) -> None:
    _, other = make_member(site)
    with connect(site, bearer(member)) as client, connect(site, bearer(other)) as bystander:
        assert sent_away(client, lambda: post(site, "/v1/auth/logout", member)) == ENDED
        assert status(site, bearer(member)) == 401
        assert bystander.ask(type="ping")["type"] == "pong"
        assert bystander.close() == 1000


def test_who_came_with_a_ticket_and_logs_out_is_sent_away(site: Service, member: dict[str, str]) -> None:
    unused = get_ticket(site, member)
    with connect(site, f"Sec-WebSocket-Protocol: rooms.v1, ticket.{get_ticket(site, member)}") as client:
        assert sent_away(client, lambda: post(site, "/v1/auth/logout", member)) == ENDED
    assert status(site, f"Sec-WebSocket-Protocol: rooms.v1, ticket.{unused}") == 401


def test_who_is_deactivated_is_sent_away(site: Service) -> None:
    path, headers = make_member(site)
    with connect(site, bearer(headers)) as first, connect(site, bearer(headers)) as second:
        update(site, path, is_active=False)
        started = time.monotonic()

        assert [first.closed(), second.closed()] == [ENDED] * 2
        assert time.monotonic() - started < CLOSED_SECONDS


def test_who_loses_a_role_leaves_its_rooms(site: Service) -> None:
    path, headers = make_member(site)
    room = f"items:{path.rpartition('/')[2]}"
    with connect(site, bearer(headers)) as client:
        client.join(room).join("demo")
        update(site, path, roles=[])

        assert client.hear(CLOSED_SECONDS) == {"type": "unsubscribed", "room": room, "id": None}
        assert client.ask(type="subscribe", room=room)["code"] == "forbidden"
        assert client.close() == 1000


def update(site: Service, path: str, **changes: object) -> None:
    httpx2.patch(f"{site.url}{path}", json=changes, headers=site.headers, timeout=30).raise_for_status()


def test_nobody_is_in_the_room_of_somebody_else(site: Service, member: dict[str, str]) -> None:
    path, other = make_member(site)
    room = f"items:{path.rpartition('/')[2]}"
    with connect(site, bearer(other)) as owner, connect(site, bearer(member)) as stranger:
        assert stranger.ask(type="subscribe", room=room)["code"] == "forbidden"
        assert stranger.ask(type="publish", room=room, data=1)["code"] == "forbidden"
        assert owner.ask(type="publish", room=room, data=1)["code"] == "forbidden"
        owner.join(room)
        item = {"name": uuid4().hex, "price_cents": 1}
        created = httpx2.post(f"{site.url}/v1/items", json=item, headers=other, timeout=30).raise_for_status()

        assert owner.hear()["data"] == {"event": "created", "id": created.json()["id"]}
        assert stranger.ask(type="ping")["type"] == "pong"
        assert [owner.close(), stranger.close()] == [1000] * 2


def test_who_has_a_token_that_expires_is_sent_away(signed_in: Path, database: str) -> None:
    with running(signed_in, variables={"AUTH_ACCESS_TTL": "4"}, database=database) as site:
        headers = log_in(site.url)
        started = time.monotonic()
        with connect(site, bearer(headers)) as client:
            assert client.closed(4 + CLOSED_SECONDS) == ENDED
        seconds = time.monotonic() - started

        assert seconds > 2
        assert troubles(site) == []


def test_who_waits_holds_no_connection_to_the_database(signed_in: Path, postgres: PostgreSQL) -> None:
    variables = {**TEST, **MANY, "DATABASE_POOL_SIZE": "1"}
    with serve(signed_in, postgres, variables=variables) as site, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(site, bearer(site.headers))).join()
        states = Counter(state for _ in range(50) for state in activity(postgres))
        created = [site.create().status_code for _ in range(3)]

    assert states.keys() <= {"idle", "active"}
    assert states["active"] < 5, "but for who asks every two seconds whose session goes on"
    assert created == [201] * 3


# Several processes


@contextmanager
def pair(folder: Path, redis: RedisServer, database: str = "") -> Iterator[tuple[Service, Service]]:
    variables = {**TALKATIVE, "WEBSOCKETS_URL": redis.url}
    with (
        running(folder, variables=variables, database=database) as one,
        running(folder, variables=variables, database=database) as other,
    ):
        yield one, other


def readiness(service: Service) -> tuple[int, str]:
    answer = service.get("/readyz")
    return answer.status_code, answer.json()["checks"]["websockets"]


def crosses(speaker: Client, listener: Client) -> bool:
    """Say whether a message arrives; what has been said before may come late, but is not asked for."""
    word = uuid4().hex
    speaker.publish(word)
    try:
        listener.messages(word, seconds=0.5)
    except TimeoutError:
        return False
    return True


@needs_redis
def test_a_message_is_heard_once_by_everybody_in_every_process(rooms: Path, redis: RedisServer) -> None:
    with pair(rooms, redis) as (one, other), ExitStack() as stack:
        clients = [stack.enter_context(connect(service)).join() for service in (one, other, one, other)]
        for number in range(100):
            clients[number % 2].publish([number, "ä\n\u2028 "])
        heard = []
        for last in ([0, "end"], [1, "end"]), ([0, "very end"], [1, "very end"]):
            for client, word in zip(clients, last, strict=False):
                client.publish(word)
            heard.append([client.messages(*last) for client in clients])

        evens, odds = [*range(0, 100, 2), 0], [*range(1, 100, 2), 1]
        numbers = [[number for number, _ in each] for each in heard[0]]
        assert [sorted(each, key=lambda number: number % 2) for each in numbers] == [[*evens, *odds]] * 4
        assert [sorted(each) for each in heard[1]] == [[[0, "very end"], [1, "very end"]]] * 4
        assert troubles(one) + troubles(other) == []


@needs_redis
def test_a_message_is_heard_once_in_every_worker(rooms: Path, redis: RedisServer) -> None:
    variables = {**TALKATIVE, "WEBSOCKETS_URL": redis.url}
    with running(rooms, workers=2, variables=variables) as service, ExitStack() as stack:
        clients: list[Client] = []

        def everywhere() -> bool:
            clients.append(stack.enter_context(connect(service)).join())
            serving = [each for each in processes(service) if each.net_connections("tcp")]
            ports = [
                {c.raddr.port for c in each.net_connections("tcp") if c.raddr and c.laddr.port == port_of(service)}
                for each in serving
            ]
            return sum(bool(each) for each in ports) > 1

        until(everywhere)
        clients[0].publish(*range(100))
        clients[-1].messages(99)
        clients[-1].publish("the end")
        heard = [client.messages("the end") for client in clients[:-1]]

        assert heard == [[*range(100), "the end"]] * len(heard)
        assert clients[-1].messages("the end") == ["the end"]
        for client in clients:
            client.close()
        assert troubles(service) == []


@needs_redis
def test_what_one_process_stores_is_announced_by_the_other(signed_in: Path, database: str, redis: RedisServer) -> None:
    with pair(signed_in, redis, database) as (one, other):
        one.headers = log_in(one.url)
        owner = one.get("/v1/users/me").json()["id"]
        with connect(other, bearer(one.headers)) as far, connect(one, bearer(one.headers)) as near:
            clients = [far.join(f"items:{owner}"), near.join(f"items:{owner}")]
            created, refused = one.create("a"), one.create("a")
            path = created.headers["Location"]
            deleted = httpx2.delete(f"{one.url}{path}", headers=one.headers, timeout=30)
            heard = [[client.hear()["data"], client.hear()["data"]] for client in clients]

    id = created.json()["id"]
    assert (created.status_code, refused.status_code, deleted.status_code) == (201, 409, 204)
    assert heard == [[{"event": "created", "id": id}, {"event": "deleted", "id": id}]] * 2


@needs_redis
def test_without_redis_each_process_goes_on_and_then_they_find_each_other(rooms: Path, redis: RedisServer) -> None:
    with pair(rooms, redis) as (one, other), ExitStack() as stack:
        near, speaker, far = [stack.enter_context(connect(service)).join() for service in (one, one, other)]
        before = crosses(speaker, far), readiness(one), readiness(other)

        redis.stop()
        until(lambda: readiness(one) == readiness(other) == (200, "degraded"))
        alone = [crosses(speaker, near) for _ in range(20)], crosses(speaker, far)
        redis.start()
        started = time.monotonic()
        until(lambda: crosses(speaker, far))
        seconds = time.monotonic() - started
        until(lambda: readiness(one) == readiness(other) == (200, "ok"))

        assert before == (True, (200, "ok"), (200, "ok"))
        assert alone == ([True] * 20, False)
        assert seconds < 7, "five of the longest pause, and a new connection"
        for service in (one, other):
            found = Counter(trouble["event"] for trouble in troubles(service))
            assert found == {"websockets.backplane_lost": 1, "redis.gone": 1}


@needs_redis
def test_a_frozen_redis_keeps_nobody_waiting(rooms: Path, redis: RedisServer) -> None:
    with pair(rooms, redis) as (one, other), ExitStack() as stack:
        near, speaker, far = [stack.enter_context(connect(service)).join() for service in (one, one, other)]
        assert crosses(speaker, far)

        redis.freeze()
        late: list[float] = []
        for _ in range(50):
            started = time.monotonic()
            assert crosses(speaker, near)
            late.append(time.monotonic() - started)
        states = readiness(one)
        until(lambda: count(one, "websockets.backplane_lost") == count(other, "websockets.backplane_lost") == 1)
        redis.thaw()
        until(lambda: crosses(speaker, far))

        assert max(late) < LATE
        assert median(late) < 0.04
        assert states == (200, "degraded")


RUBBISH = [
    *(b"", b" ", b"\n", b"a", b"a b", b"a \n", b"a demo", b"\xff \xff\n\xff", b"a demo\n\xff", b"a \xffdemo\n{}"),
    *(b"a nowhere\n{}", b"a " + b"x" * 100_000 + b"\n{}", b"a demo:b\n{}", b"\0" * 1000, b"a\n" * 1000),
]


@needs_redis
def test_rubbish_in_redis_harms_nobody(rooms: Path, redis: RedisServer) -> None:
    with pair(rooms, redis) as (one, other), connect(one) as speaker, connect(other) as far:
        far.join()
        (channel,) = redis.ask("PUBSUB", "CHANNELS", "*:websockets")
        told = [redis.ask("PUBLISH", channel, payload) for payload in RUBBISH]
        speaker.publish("sense")

        assert told == [2] * len(RUBBISH)
        assert far.messages("sense") == ["sense"]
        assert [speaker.close(), far.close()] == [1000] * 2
        assert troubles(one) + troubles(other) == []


@needs_redis
def test_a_ticket_of_one_process_is_good_once_in_any(signed_in: Path, database: str, redis: RedisServer) -> None:
    with pair(signed_in, redis, database) as (one, other):
        header = f"Sec-WebSocket-Protocol: ticket.{get_ticket(one, log_in(one.url))}"

        assert [status(other, header), status(one, header), status(other, header)] == [101, 401, 401]


# The end


def fill_up(service: Service, stack: ExitStack) -> list[Client]:
    """Return two for whom nothing more fits in, and one for whom there is too much already."""
    first, second, early = [stack.enter_context(connect(service, buffer=4096)) for _ in range(3)]
    with connect(service) as speaker:
        early.join()
        speaker.publish(*[LARGE] * 17)  # half of what waits for one
        assert speaker.ask(type="ping")["type"] == "pong"
        first.join()
        second.join()
        while count(service, "websockets.closed") == 0:
            speaker.publish(LARGE)
            assert speaker.ask(type="ping")["type"] == "pong"
        speaker.close()
    return [first, second, early]


def stop(service: Service) -> float:
    started = time.monotonic()
    service.stop()
    return time.monotonic() - started


@pytest.mark.parametrize("workers", [1, 2])
def test_when_it_stops_everybody_is_told_to_come_again(rooms: Path, workers: int) -> None:
    alone = {"WEBSOCKETS_URL": ""}  # unset
    with (
        running(rooms, workers=workers, variables=alone) as service,
        ExitStack() as stack,
        ThreadPoolExecutor(20) as threads,
    ):
        clients = [stack.enter_context(connect(service)).join() for _ in range(20)]
        codes = threads.map(lambda client: client.closed(STOP_SECONDS), clients)
        seconds = stop(service)

        assert [*codes] == [RESTART] * 20
        assert service.process.returncode in STOPPED
        assert seconds < 5
        assert troubles(service) == []


def test_it_stops_although_clients_do_not_answer_or_read(rooms: Path) -> None:
    with running(rooms, variables=TALKATIVE) as service, ExitStack() as stack:
        refused = stack.enter_context(Client(port_of(service), "X: " + "x" * 100_000))
        silent = stack.enter_context(connect(service))
        _, goodbye, _ = fill_up(service, stack)
        goodbye.send(encode(b"\x03\xe8", Opcode.CLOSE))
        seconds = stop(service)

        assert refused.status == 431
        assert silent.read() == Frame(Opcode.CLOSE, struct.pack("!H", RESTART))
        assert service.process.returncode in STOPPED
        assert seconds < STOP_SECONDS
        assert troubles(service) == []


def test_while_it_drains_nobody_comes_and_nobody_has_to_go(rooms: Path) -> None:
    with (
        running(rooms, variables={"HEALTH_DRAIN": "3"}) as service,
        connect(service) as old,
        connect(service) as friend,
    ):
        old.join()
        service.process.terminate()
        until(lambda: service.get("/readyz").status_code == 503)
        refused = Client(port_of(service))
        friend.join().publish("still here")

        assert refused.status == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "1"
        assert old.messages("still here") == ["still here"]
        assert friend.ask(type="ping")["type"] == "pong"
        assert [old.closed(), friend.closed()] == [RESTART] * 2
        service.process.wait(STOP_SECONDS)
        assert service.process.returncode in STOPPED
        assert troubles(service) == []


def test_when_it_stops_requests_get_their_answer_and_connections_their_code(
    signed_in: Path, postgres: PostgreSQL
) -> None:
    with serve(signed_in, postgres, variables=TEST) as site, ThreadPoolExecutor(1) as threads:
        with connect(site, bearer(site.headers)) as client, postgres.locked(site.database):
            waiting = threads.submit(site.create)
            until(lambda: "active" in activity(postgres))
            site.process.terminate()
            code = client.closed()
        answer = waiting.result()
        site.stop()

    assert (code, answer.status_code) == (RESTART, 201)
    assert site.process.returncode in STOPPED


def test_three_hundred_who_come_and_go_leave_nothing(service: Service) -> None:
    def visit(number: int) -> None:
        with connect(service) as client:
            client.join().ask(type="ping")
            WAYS[number % 3](client)

    assert serves(service)
    descriptors = processes(service)[0].num_fds()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(visit, range(300)))

    until(lambda: not sockets(service))
    assert processes(service)[0].num_fds() == descriptors
    assert serves(service)
    assert troubles(service) == []
