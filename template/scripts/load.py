"""Send GET requests to the service, and print how fast it answers and what that takes.

`poe load` serves it as it is deployed, on a free port, with the settings of the environment; it does not read `.env`.
With --rate the time of an answer begins when its request was due, so that a server that stalls cannot hide it.
"""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from httptools import HttpParserError, HttpResponseParser
from uvicorn.loops.auto import auto_loop_factory

START_SECONDS = 30
WARM_UP_SECONDS = 1
ANSWER_SECONDS = 10
TOO_MANY_ERRORS = 1  # percent


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.parser = reader, writer, HttpResponseParser(self)

    async def ask(self, request: bytes) -> int:
        """Return the status when the whole answer is there."""
        self.answered = False
        self.writer.write(request)
        while not self.answered:
            data = await self.reader.read(2**16)
            if not data:
                raise ConnectionResetError
            self.parser.feed_data(data)
        return self.parser.get_status_code()

    def on_message_complete(self) -> None:
        self.answered = True
        if not self.parser.should_keep_alive():
            self.writer.close()


async def send(options: Namespace, seconds: float) -> tuple[Counter[str], list[float]]:
    """Return how often each outcome was, and the milliseconds of the answers in ascending order."""
    url = urlsplit(options.url)
    head = [f"GET {options.path} HTTP/1.1", f"Host: {url.netloc}", *options.header]
    request = "".join(f"{line}\r\n" for line in [*head, ""]).encode()
    outcomes: Counter[str] = Counter()
    times: list[float] = []
    numbers, start = count(), time.perf_counter()

    async def use_a_connection() -> None:
        connection: Connection | None = None
        for number in numbers:
            now = time.perf_counter()
            due = start + number / options.rate if options.rate else now
            if max(now, due) >= start + seconds:
                break
            if due > now:
                await asyncio.sleep(due - now)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    if connection and connection.reader.at_eof():
                        connection.writer.close()
                    if connection is None or connection.writer.is_closing():
                        connection = Connection(*await asyncio.open_connection(url.hostname, url.port or 80))
                    outcomes[str(await connection.ask(request))] += 1
                times.append((time.perf_counter() - due) * 1000)
            except (OSError, HttpParserError):
                outcomes["no answer"] += 1
                if connection:
                    connection.writer.close()
                await asyncio.sleep(0.1)  # what is gone is not asked as fast as possible

    await asyncio.gather(*(use_a_connection() for _ in range(options.connections)))
    return outcomes, sorted(times)


async def load(options: Namespace, server: psutil.Process | None) -> int:
    """Print the table, and return the exit code."""
    await send(options, WARM_UP_SECONDS)
    processes = [server, *server.children(recursive=True)] if server else []

    def usage() -> tuple[int, float]:
        times = [process.cpu_times() for process in processes]
        return sum(process.memory_info().rss for process in processes), sum(time.user + time.system for time in times)

    async def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                await asyncio.sleep(0.1)
                usages.append(usage())

    usages, start = [usage()], time.perf_counter()
    watching = asyncio.create_task(watch())
    outcomes, times = await send(options, options.seconds)
    seconds = time.perf_counter() - start
    usages.append(usage())
    watching.cancel()

    if not times:
        sys.exit(f"There was no answer from {options.url}.")
    errors = {outcome: number for outcome, number in outcomes.items() if outcome[0] not in "23"}
    percent = 100 * sum(errors.values()) / outcomes.total()
    rows = {
        "requests": f"{outcomes.total():,}",
        "throughput": f"{outcomes.total() / seconds:,.0f} req/s",
        "mean": f"{sum(times) / len(times):.2f} ms",
        **{f"p{part}": f"{times[len(times) * part // 100]:.2f} ms" for part in (50, 99)},
        "max": f"{times[-1]:.2f} ms",
        "errors": "  ".join([f"{percent:.2f} %", *(f"{number:,} x {outcome}" for outcome, number in errors.items())]),
    }
    if processes:
        cpu = usages[-1][1] - usages[0][1]
        rows["memory"] = f"{max(memory for memory, _ in usages) / 2**20:.0f} MiB"
        rows["CPU"] = f"{100 * cpu / seconds:.0f} % of a core, {cpu / outcomes.total() * 1e6:.0f} µs a request"
    print(*(f"{name:12}{value}" for name, value in rows.items()), sep="\n")
    return 0 if percent < TOO_MANY_ERRORS else 1


def run(options: Namespace, server: psutil.Process | None = None) -> int:
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(load(options, server))


def serve_and_load(options: Namespace) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    options.url = f"http://{host}:{port}"
    command = [sys.executable, "-m", "app.serve", "--host", host, "--port", str(port)]
    # In a group of its own, for Ctrl-C is not meant for it.
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, process_group=0) as server:
        try:
            deadline = time.monotonic() + START_SECONDS
            while socket.socket().connect_ex((host, port)):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("The server has not started.")
                time.sleep(0.05)
            return run(options, psutil.Process(server.pid))
        finally:
            server.terminate()


def main() -> int:
    parser = ArgumentParser(prog="poe load", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="/livez", help="/livez unless given")
    parser.add_argument("--url", help="of a service that runs already, like http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, help="requests a second; as many as possible unless given")
    parser.add_argument(
        "--header", action="append", default=[], help="like 'Authorization: Bearer …'; may be given several times"
    )
    options = parser.parse_args()
    if options.url and not re.fullmatch(r"http://[^/?#]+", options.url):
        parser.error("--url is like http://127.0.0.1:8000")
    if not options.path.startswith("/"):
        parser.error("the path begins with a slash")
    if not all(re.fullmatch(r"[\w-]+: ?\S.*", header) for header in options.header):
        parser.error("--header is like 'Accept-Language: de'")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(options) if options.url else serve_and_load(options)
    except KeyboardInterrupt:
        return 130
    except psutil.NoSuchProcess:
        sys.exit("A process of the server has ended under the load.")


if __name__ == "__main__":
    sys.exit(main())
