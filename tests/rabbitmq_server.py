"""A real RabbitMQ of the tests' own, which they may stop, freeze, restart and kill."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from kombu import Connection, Queue

from tests.postgresql import START_SECONDS, free_port

# That on the path, in /usr/sbin, is Debian's own, which becomes another user.
PROGRAM = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")

needs_rabbitmq = pytest.mark.skipif(PROGRAM is None, reason="there is no rabbitmq-server on this machine")

GREETING = b"AMQP\0\0\x09\x01"


class RabbitMQServer:
    """A node of one, with a register of names (epmd) of its own beside it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n", "utf-8")
        (self.folder / "enabled_plugins").write_text("[].\n", "utf-8")
        self.environment = {
            **os.environ,
            "HOME": str(self.folder),  # of the cookie
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2",
            "RUNNING_UNDER_SYSTEMD": "yes",  # the script becomes the node
        }
        self.names = subprocess.Popen(["epmd"], env=self.environment)
        self.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        assert PROGRAM is not None
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [PROGRAM], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + 2 * START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError((self.folder / "output").read_text("utf-8"))
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(GREETING)
                return bool(connection.recv(1))
        except OSError:
            return False

    def count(self, queue: str) -> int:
        """Return how many messages wait in it."""
        with Connection(self.url) as connection:
            channel: Any = connection.channel()  # its stubs know of no queues
            return int(channel.queue_declare(queue, passive=True).message_count)

    def delete(self, *queues: str) -> None:
        with Connection(self.url) as connection:
            for queue in queues:
                Queue(queue, channel=connection.channel()).delete()

    def stop(self) -> None:
        self.thaw()
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        for process in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(30)

    def restart(self) -> None:
        """Come back with what was stored."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.names.kill()
        self.names.wait(30)
        shutil.rmtree(self.folder)
