"""A driver for PgQueuer that reconnects when the database is back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.core.tm import TaskManager

from .._basics.error_text import in_words
from .._basics.logs import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgqueuer.ports.driver import NotifyCallback
    from typing_extensions import Self


class Driver:
    """Two connections: one for queries and one that listens, since psycopg blocks queries while it listens.

    If a call loses its connection, it reconnects, waits for the database as long as necessary, and is
    repeated. It is safe to repeat everything that PgQueuer does: at worst a message is delivered twice.

    Arguments:
      conninfo: the connection string.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._shutdown = asyncio.Event()
        self._tm = TaskManager()
        self._lock = asyncio.Lock()
        self._asks: PsycopgDriver | None = None
        self._listens: PsycopgDriver | None = None
        self._listeners: list[tuple[str, NotifyCallback]] = []
        self._abandoned = asyncio.Event()
        self._entered = 0
        # How many calls wait for the database to come back.
        self.stranded = 0

    # The methods that PgQueuer calls.

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return self._tm

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = await self._ask(lambda driver: driver.fetch(query, *args))
        return rows

    async def execute(self, query: str, *args: object) -> str:
        status: str = await self._ask(lambda driver: driver.execute(query, *args))
        return status

    async def notify(self, channel: str, payload: str) -> None:
        await self._ask(lambda driver: driver.notify(channel, payload))

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        await self._connected()
        self._listeners.append((channel, callback))
        await self._ask(lambda _: self._listen())

    # Nothing here runs under Trio, so these need no checkpoints.

    async def remove_listener(  # noqa: ASYNC910
        self, channel: str, callback: NotifyCallback
    ) -> None:
        self._listeners.remove((channel, callback))

    async def __aenter__(self) -> Self:
        self._entered += 1
        return self  # noqa: ASYNC910

    async def __aexit__(self, *_: object) -> None:
        self._entered -= 1

    # The methods that this package calls.

    def abandon(self) -> None:
        """Let calls that wait for the database fail."""
        self._abandoned.set()

    async def close(self) -> None:  # noqa: ASYNC910
        """Close the connections."""
        self._shutdown.set()
        for driver in (self._listens, self._asks):
            if driver is not None:
                await _close(driver)
        self._asks = self._listens = None

    async def _ask(self, call: Callable[[PsycopgDriver], Awaitable[Any]]) -> Any:
        while True:
            driver = await self._connected()
            try:
                return await call(driver)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not driver._connection.closed:
                    raise

    async def _listen(self) -> None:
        """Register all listeners with the listening connection."""
        if self._listens is not None:
            await _close(self._listens)
        self._listens = driver = await self._connect()
        for channel, callback in self._listeners:
            await driver.add_listener(channel, callback)

    async def _connected(self) -> PsycopgDriver:
        """Return the driver for queries, after reconnecting if necessary."""
        async with self._lock:
            if self._asks is not None and not self._asks._connection.closed:
                return self._asks
            pause = 0.1
            self.stranded += 1
            try:
                while True:
                    try:
                        self._asks = await self._connect()
                        if self._listeners:
                            await self._listen()
                        return self._asks
                    except psycopg.OperationalError as error:
                        logger.warning("the database can't be reached: %s", in_words(error))
                        failed = error
                    try:
                        await asyncio.wait_for(self._abandoned.wait(), pause)
                    except (TimeoutError, asyncio.TimeoutError):
                        pause = min(2.0, 2 * pause)
                    else:
                        raise failed
            finally:
                self.stranded -= 1

    async def _connect(self) -> PsycopgDriver:
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        return PsycopgDriver(connection)


async def _close(driver: PsycopgDriver) -> None:
    """Close a connection, and end its listening task."""
    driver.shutdown.set()
    await driver._connection.close()
    for task in driver.tm.tasks:
        task.cancel()
    await asyncio.gather(*driver.tm.tasks, return_exceptions=True)
