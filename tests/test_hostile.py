"""A table of hostile requests, each class of them at each operation, sent to the full service on either database."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPResponse, IncompleteRead
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from tests.postgresql import PostgreSQL
from tests.serving import PASSWORD, alembic, create_user, get, log_in, served

CANARY = "canary-5f1e"
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
TOO_LARGE = 1_000_001  # one more than SERVICE_MAX_BODY_BYTES
JSON, FORM = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
TEXTS = {"uuid": UNKNOWN, "email": "ada@example.org", "password": PASSWORD}
ADMIN, GUEST, MEMBER = "admin@example.org", "guest@example.org", "member@example.org"
SERVER = (b"Invalid HTTP request received.", b"Failed to open a WebSocket connection: ")
"""What uvicorn itself says to what is no HTTP, and what never reaches the service."""

METHODS = [
    *("CONNECT", "DELETE", "GET", "HEAD", "LOCK", "OPTIONS", "PATCH", "POST", "PROPFIND", "PUT", "QUERY", "TRACE"),
    *("get", "NO/NE", "N\xd6NE", "A" * 50_000),
]

HEADERS = {
    "X-Request-ID": ["", "a b", "\xff", "{}", "../../etc", f"{CANARY}\t", CANARY * 5000],
    "Authorization": ["", "Bearer", "Basic \xff", "Basic Og==", "Bearer a.b.c", f"Bearer {CANARY * 5000}"],
    "Accept": ["nonsense", ";;q=\xff", "*/*;q=-1, " * 1000],
    "Accept-Encoding": ["nonsense;q=x, \xff"],
    "Accept-Language": ["*;q=x, \xff"],
    "Range": ["bytes=0-", "bytes=9-1", "bytes=-", "lines=\xff", f"bytes={'0-,' * 1000}"],
    "Expect": ["100-continue", f"{CANARY}"],
    "If-Match": ["*", CANARY, '"\xff'],
    "If-None-Match": ["*", '"'],
    "If-Modified-Since": [CANARY],
    "X-Forwarded-For": ["", CANARY, "999.1.1.1, ::1, \xff", "10.0.0.1, " * 5000],
    "X-Forwarded-Proto": [CANARY, "wss", "\xff"],
    "X-HTTP-Method-Override": ["DELETE"],
    "Forwarded": ["for=;;\xff"],
    "Host": ["", "[", "[::1", "a/b?c#d", "a:b", "a:99999", "a@b", "a b", "\xff", "%00", CANARY * 1000],
    "Cookie": [";;=;", "a=\xff\x80", 'a="; b', f"session={CANARY * 1000}", "a=1; " * 5000],
    "Origin": ["null", "\xff", CANARY],
    "Idempotency-Key": [f"{CANARY}\xff"],
    "Upgrade": ["h2c\r\nConnection: upgrade\r\nHTTP2-Settings: \xff"],
    "traceparent": ["00-\xff"],
    "X": ["a\0b", "a\rY: b", "a\nY: b", f"a\r\n {CANARY}", "a" * TOO_LARGE, "\r\nX: ".join(["a"] * 5000)],
    "X ": ["a"],
    "": ["a"],
    "\xff": ["a"],
    "Content-Type": [
        *("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/mixed; boundary="),
        *("application/json; charset=nonsense", "application/json; " + "a" * 50_000, f"{CANARY}/json", "\xff", ", ;"),
    ],
    "Content-Encoding": ["gzip", CANARY, "gzip, " * 1000],
    "Content-Length": ["", "-1", "+1", "1.5", "\xff", "9" * 5000, "1\r\nContent-Length: 2", str(TOO_LARGE)],
    "Transfer-Encoding": ["gzip", "identity", "chunked, chunked", "\x0bchunked", "chunked\r\nContent-Length: 1"],
}

VALUES = [
    *("", "%00", "a%00b", "%ff%fe", "\xff", "%ed%a0%80", "%c0%af", "%0d%0aX:%20a", "%", "%zz", "%u0041", "..", "-1"),
    *("%2F", "%2e%2e", "0", "1.5", "1e400", "NaN", str(2**63), "9" * 5000, "%D9%A3", "%F0%9F%9A%80", "null", "[]"),
    *("{}", "'%20OR%201=1--", "A" * 22, f"{'A' * 21}B", "A" * 70_000, CANARY, f"urn:uuid:{UNKNOWN}", UNKNOWN.upper()),
]
ENDS = ["/", "//", "/..", "%00", "%2F", "%zz", "/\xff", "#a", " a", "?" + "&a=1" * 5000]
STARTS = ["/", "//", "/.", "/%2e", "/%2F", "/%c0%af", "http://a", "http://[", "a:"]

FIELDS = [
    *("null", "true", "-1", "0", "1.5", "1e400", "NaN", "-Infinity", '""', '"1"', f'"{CANARY}"', "[]", "{}"),
    *(str(number) for number in (2**31, 2**63, -(2**63) - 1, 2**64)),
    *(
        f'"{CANARY}\\{end}"'
        for end in ("u0000", "u001b[2J", "u007f", "n", "ud800", "uffff", "n\x01", "\\" + "x" * 99_999)
    ),
]

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
WEBSOCKET = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
RAW = {
    "text": f"{CANARY}\r\n\r\n".encode(),
    "every byte": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "PROXY": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET + b"\r\n",
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/1.0": b"GET /livez HTTP/1.0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: a\nConnection: close\n\n",
    "no target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "pipelined": (GET + b"\r\n") * 99 + b"GET /livez HTTP/1.0\r\n\r\n",
    "pipelined nonsense": GET + b"\r\n" + bytes(99),
    "WebSocket": WEBSOCKET + b"\r\n",
    "unfinished: WebSocket with a body": WEBSOCKET + b"Content-Length: 1\r\n\r\na",
    "unfinished: nothing": b"",
    "unfinished: blank lines": b"\r\n" * 99,
    "unfinished: half a line": b"GET /livez HT",
    "unfinished: half a header": GET + b"X: ",
}


REFUSED = {"POST /v1/auth/token": 401, "POST /v1/auth/refresh": 401, "POST /v1/users/me/password": 403}
"""What is answered where the body has a password or a token that is wrong."""


class Operation(NamedTuple):
    method: str
    path: str
    url: str
    targets: list[str]
    sample: dict[str, Any] | None
    """A body that is taken, where there is one to send."""
    kind: str
    """The header that says what such a body is."""
    token: Callable[[], str]
    """Return the header by which each request is one of somebody's."""


class Answer(NamedTuple):
    status: int
    content_type: str | None
    body: bytes


class Run(NamedTuple):
    answers: dict[str, list[Answer]]
    alive: int
    log: list[dict[str, Any]]


def read_operations(port: int) -> Iterator[Operation]:
    """Read what the service offers; where something can be created, see before each operation that there is one.

    An administrator asks, and somebody else where that may end a session or change a password.
    """
    description = json.loads(get(port, "/openapi.json").read())
    administrator = authorization(port, ADMIN)

    def sample(schema: dict[str, Any]) -> Any:  # JSON
        if "$ref" in schema:
            return sample(description["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return sample(schema["anyOf"][0])
        if "const" in schema:
            return schema["const"]
        text = TEXTS.get(schema.get("format", ""), "X" * max(3, schema.get("minLength", 0)))
        fields = {name: sample(field) for name, field in schema.get("properties", {}).items()}
        simple: dict[str, Any] = {"string": text, "integer": 1, "number": 1, "boolean": True, "array": []}
        return simple.get(schema["type"], fields)

    def body(method: str, path: str) -> tuple[Any, str]:  # JSON
        content = description["paths"][path][method].get("requestBody", {}).get("content", {})
        for kind in (JSON, FORM):
            if found := content.get(kind.partition(": ")[2]):
                given = sample(found["schema"])
                return given | {"username": GUEST} if "username" in given else given, kind
        return None, JSON

    member = authorization(port, MEMBER)
    tokens: dict[str, Callable[[], str]] = {
        "/v1/auth/logout": partial(authorization, port, GUEST),  # a new one for each request
        "/v1/users/me/password": lambda: member,
    }

    paths = description["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", ())
            values = {p["name"]: sample(p["schema"]) for p in parameters if p["in"] == "path"}
            parent = path.removesuffix("/{id}")
            if parent != path and "get" in paths.get(parent, {}):
                if "post" in paths[parent]:
                    created, kind = body("post", parent)
                    exchange(port, request("POST", parent, kind, administrator, body=json.dumps(created).encode()))
                else:
                    authorization(port, ADMIN)
                (listed,) = exchange(port, request("GET", parent, administrator))
                values["id"] = json.loads(listed.body)["items"][0]["id"]
            given, kind = body(method, path)
            token = tokens.get(path, lambda: administrator)
            queries = [p["name"] for p in parameters if p["in"] == "query"]
            url = path.format(**values)
            targets = [
                *(path.format(**{**values, name: value}) for name in values for value in VALUES),
                *(f"{url}?{name}={value}" for name in [*queries, "q"] for value in VALUES),
                *(f"{url}?{name}=1&{name}=2" for name in queries),
                *(f"{url}{end}" for end in ENDS),
                *(f"{start}{url}" for start in STARTS),
                *("*", "a:80", "?", "", "/" + "a/" * 40_000),
            ]
            yield Operation(method.upper(), path, url, targets, given, kind, token)


def authorization(port: int, email: str) -> str:
    """Log in, and return the header."""
    ((name, value),) = log_in(f"http://127.0.0.1:{port}", email).items()
    return f"{name}: {value}"


def forms(sample: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    text = urlencode(sample)
    odd = {
        "empty": "",
        "separators": "&&==&=&" * 1000,
        "no UTF-8": "username=%ff%fe&password=\xff",
        "half a character": f"{text}%ed%a0%80",
        "a broken escape": f"{text}%&%z=%u0041",
        "NUL": f"{text}%00",
        "JSON": json.dumps(sample),
        "every field twice": f"{text}&{text}",
        "a field without a value": text.partition("=")[0],
        "an extra field": f"{text}&extra={CANARY}",
        "many fields": f"{text}&" + "&".join(f"{number}={CANARY}" for number in range(2_000)),
        "a long name": f"{'a' * 99_999}=1",
        **{
            f"{name} = {value[:30]}": urlencode({**sample, name: "?"}).replace("%3F", value)
            for name in sample
            for value in VALUES
        },
    }
    yield from ((f"form: {name}", content.encode("latin-1")) for name, content in odd.items())


def bodies(given: dict[str, Any] | None) -> Iterator[tuple[str, bytes]]:
    sample = given or {}
    text = json.dumps(sample)
    malformed = {
        "text": CANARY.encode(),
        "cut off": text[:-1].encode(),
        "single quotes": text.replace('"', "'").encode(),
        "two": f"{text}{text}".encode(),
        "a comma too many": f"{text[:-1]},}}".encode(),
        "no UTF-8": b'{"name": "\xff"}',
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32"),
        "deep": b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "deep objects": b'{"name":' * 100_000,
        "5000 digits": b'{"name": ' + b"1" * 5000 + b"}",
        "NULs": bytes(99),
        "gzip": b"\x1f\x8b\x08\x00",
    }
    odd = {
        "empty": "",
        "byte order mark": f"\ufeff{text}",
        "every key twice": f"{text[:-1]}, {text[1:]}" if sample else "{}",
        "an array": f"[{text}]",
        "text in text": json.dumps(text),
        **{value: value for value in ("null", "true", "1", "NaN", "1e400", "{}")},
        "an extra field": json.dumps({**sample, "extra": CANARY}),
        "a field of half a character": json.dumps({**sample, "\ud800": CANARY}),
        "a field of dunder": json.dumps({**sample, "__proto__": {"a": 1}, "": CANARY}),
        "many extra fields": json.dumps({**sample, **dict.fromkeys(map(str, range(10_000)), CANARY)}),
        **{
            f"{name} = {value[:30]}": json.dumps({**sample, name: "?"}).replace('"?"', value)
            for name in sample
            for value in FIELDS
        },
    }
    kind = "uninvited" if given is None else "malformed"
    yield from ((f"{kind}: {name}", content) for name, content in malformed.items())
    yield from ((f"body: {name}", content.encode()) for name, content in odd.items())


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    """Write what the headers do not say themselves."""
    given = "".join(f"{header}\r\n" for header in headers)
    host = "" if given.startswith("Host:") else "Host: a\r\n"
    if "Transfer-Encoding:" in given:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif "Content-Length:" not in given:
        given += f"Content-Length: {len(body)}\r\n"
    return f"{method} {target} HTTP/1.1\r\n{host}Connection: close\r\n{given}\r\n".encode("latin-1") + body


def table(operation: Operation) -> Iterator[tuple[str, bytes]]:
    method, url, kind, token = operation.method, operation.url, operation.kind, operation.token
    body = (urlencode(operation.sample or {}) if kind == FORM else json.dumps(operation.sample)).encode()
    yield "anonymous", request(method, url, kind, body=body)
    for name, values in HEADERS.items():
        for value in values:
            headers = [f"{name}: {value}"]
            if name != "Content-Type":
                headers.append(kind)
            if name != "Authorization":
                headers.append(token())
            yield f"header {name}: {value[:30]!r}", request(method, url, *headers, body=body)
    yield "header Authorization: twice", request(method, url, kind, token(), token(), body=body)
    for number, target in enumerate(operation.targets):
        name = f"target {number}: {target.replace(url, operation.path)[-40:]!r}"
        yield name, request(method, target, kind, token(), body=body)
    for name, content in bodies(None if kind == FORM else operation.sample):
        yield name, request(method, url, JSON, token(), body=content)
    if kind == FORM:
        for name, content in forms(operation.sample or {}):
            yield name, request(method, url, FORM, token(), body=content)

    def chunked() -> bytes:
        return request(method, url, kind, token(), "Transfer-Encoding: chunked")[:-5]

    chunks = {
        "too large": b"%x\r\n%b\r\n0\r\n\r\n" % (TOO_LARGE, bytes(TOO_LARGE)),
        "no size": b"\r\n",
        "no number": b"xyz\r\n",
        "a negative size": b"-1\r\n",
        "a huge size": b"f" * 17 + b"\r\n",
        "longer than its size": b"1\r\n{}\r\n0\r\n\r\n",
        "an extension": b"0;" + b"a" * 99_999 + b"\r\n\r\n",
        "a trailer": b"0\r\nContent-Length: 1\r\nX: \xff\r\n\r\n",
    }
    for name, content in chunks.items():
        yield f"chunk: {name}", chunked() + content
    both = request(method, url, kind, token(), "Transfer-Encoding: chunked", "Content-Length: 4")
    yield "smuggled behind chunks", both + request("GET", "/livez")
    yield "smuggled behind a body", request(method, url, kind, token(), body=body) + request("GET", "/livez")
    yield "shorter than its body", request(method, url, kind, token(), "Content-Length: 1", body=body)
    yield "unfinished: longer than its body", request(method, url, kind, token(), "Content-Length: 99999", body=body)
    yield "unfinished: chunk", chunked() + b"ff\r\n{"
    # the last, for one of them deletes what the others aim at
    for other in METHODS:
        yield f"method {other[:30]}", request(other, url, kind, token(), body=body)


class Received(BytesIO):
    """Several answers in a row."""

    def makefile(self, mode: str) -> BytesIO:
        return self

    def close(self) -> None:
        """Stay open for the next one."""


def exchange(port: int, sent: bytes, finished: bool = True) -> list[Answer]:
    """Return nothing where nothing comes in time; nothing, too, where the request is not finished."""
    received = Received()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with suppress(ConnectionError):
            connection.sendall(sent)
        with suppress(OSError):
            if not finished:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                received.write(data)
    answers: list[Answer] = []
    received.seek(0)
    while finished and received.tell() < len(received.getvalue()):
        method = str(sent.partition(b" ")[0], "latin-1")
        response = HTTPResponse(received, method=method)  # type: ignore[arg-type]  # it asks for no more
        response.begin()
        try:
            body = response.read()
        except IncompleteRead:  # broken off
            return []
        answers.append(Answer(response.status, response.getheader("Content-Type"), body))
    return answers


def attack(service: Path, variables: dict[str, str]) -> Run:
    database = variables["DATABASE_URL"]
    assert alembic(service, database, "upgrade", "head").returncode == 0
    for email, role in ((ADMIN, "admin"), (GUEST, "user"), (MEMBER, "user")):
        create_user(service, database, email, role=role)
    with served(service, [sys.executable, "-m", "app.serve"], variables=variables) as (process, port, lines):
        assert process.stdout is not None
        reader = threading.Thread(target=lines.extend, args=[process.stdout])
        reader.start()
        try:
            cases = (
                (f"{operation.method} {operation.path}: {name}", sent)
                for operation in read_operations(port)
                for name, sent in table(operation)
            )
            answers = {name: exchange(port, sent, "unfinished" not in name) for name, sent in chain(cases, RAW.items())}
            alive = get(port, "/livez").status
        finally:
            process.terminate()
            reader.join()
    return Run(answers, alive, [json.loads(line) for line in lines])


@pytest.fixture
def runs(full: Path, postgresql: PostgreSQL, tmp_path: Path) -> dict[str, Run]:
    (tmp_path / "latest").write_text('{"base": "XXX", "rates": {"EUR": 1}}')
    databases = {"sqlite": f"sqlite:///{tmp_path / 'test.db'}", "postgresql": postgresql.create()}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as rates:
        threading.Thread(target=rates.serve_forever, daemon=True).start()
        shared = {
            "RATES_FRANKFURTER_URL": f"http://127.0.0.1:{rates.server_port}",
            "AUTH_ACCOUNT_ATTEMPTS": str(10**6),  # passwords are guessed more often than anybody may
            "AUTH_ADDRESS_ATTEMPTS": str(10**6),
            "SERVICE_ALLOWED_HOSTS": "",
            "SERVICE_ENVIRONMENT": "test",
        }
        with ThreadPoolExecutor() as threads:
            attacks = list(threads.map(lambda url: attack(full, {**shared, "DATABASE_URL": url}), databases.values()))
            rates.shutdown()
    return dict(zip(databases, attacks, strict=True))


def problems(run: Run) -> Iterator[tuple[str, Answer]]:
    for name, answers in run.answers.items():
        for answer in answers:
            if answer.status >= 400 and not answer.body.startswith(SERVER) and ": method HEAD" not in name:
                yield name, answer


def the_table_is_long(run: Run) -> None:
    assert len(run.answers) >= 300


def every_request_that_is_finished_is_answered(run: Run) -> None:
    assert [name for name, answers in run.answers.items() if not answers and "unfinished: " not in name] == []


def who_has_logged_in_is_let_in(run: Run) -> None:
    refused = {
        name
        for name, answers in run.answers.items()
        for answer in answers
        if answer.status in {401, 403} - {REFUSED.get(name.split(": ")[0])}
    }

    assert {n for n in refused if n.split(": ")[1] not in {"anonymous", "header Authorization"}} == set()


def no_request_makes_the_service_fail(run: Run) -> None:
    assert [(n, a.status, a.body[:300]) for n, answers in run.answers.items() for a in answers if a.status >= 500] == []


def what_is_refused_is_told_in_a_problem_document(run: Run) -> None:
    members = {"type", "title", "status", "detail", "instance", "request_id"}

    def is_problem(answer: Answer) -> bool:
        if answer.content_type != "application/problem+json":
            return False
        problem = json.loads(answer.body)
        return problem.keys() - {"errors"} == members and bool(problem["status"] == answer.status)

    assert [(name, answer) for name, answer in problems(run) if not is_problem(answer)] == []


def what_was_sent_is_not_repeated(run: Run) -> None:
    assert [(n, a) for n, a in problems(run) if CANARY in str({**json.loads(a.body), "instance": ""})] == []


def what_is_no_json_is_malformed(run: Run) -> None:
    malformed = {n: [a.status for a in answers] for n, answers in run.answers.items() if ": malformed: " in n}

    assert {name: statuses for name, statuses in malformed.items() if statuses != [400]} == {}


def the_service_lives_on_and_logs_no_error(run: Run) -> None:
    assert run.alive == 200
    assert [(line["event"], line.get("request_id")) for line in run.log if line["level"] in {"error", "critical"}] == []


CHECKS = (
    the_table_is_long,
    every_request_that_is_finished_is_answered,
    who_has_logged_in_is_let_in,
    no_request_makes_the_service_fail,
    what_is_refused_is_told_in_a_problem_document,
    what_was_sent_is_not_repeated,
    what_is_no_json_is_malformed,
    the_service_lives_on_and_logs_no_error,
)


def test_no_request_does_harm(runs: dict[str, Run], subtests: pytest.Subtests) -> None:
    for database, run in runs.items():
        for check in CHECKS:
            with subtests.test(f"{database}: {check.__name__}"):
                check(run)
    with subtests.test("both databases answer alike"):
        both_answer_alike(**runs)


def both_answer_alike(sqlite: Run, postgresql: Run) -> None:
    ours, theirs = (
        {name: [answer.status for answer in answers] for name, answers in run.answers.items()}
        for run in (sqlite, postgresql)
    )

    assert {n: (s, theirs.get(n)) for n, s in ours.items() if s != theirs.get(n)} == {}
    assert ours.keys() == theirs.keys()
