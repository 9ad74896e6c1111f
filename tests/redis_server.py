"""A real Redis of the tests' own, which they may stop, freeze, restart and kill."""

import shutil
import signal
import socket
import subprocess
import time
from typing import Any

import pytest
from redis import Redis

from tests.postgresql import free_port

PROGRAM = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(PROGRAM is None, reason="there is no redis-server on this machine")


class RedisServer:
    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert PROGRAM is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.DEVNULL)
        while not self.answers():
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def ask(self, *command: str | bytes) -> Any:  # an answer of any type
        with Redis(port=self.port) as client:
            return client.execute_command(*command)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def restart(self) -> None:
        """Come back with nothing: no keys, no scripts."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
