"""A server: each request has a deadline, and one that finds the pool busy is told to try later."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import ClassVar

import trio

from trio_pool import JobCancelledError, JobFailedError, JobTimeoutError, Pool, PoolClosedError, open_pool


class Connection:
    """Stands for a connection to a database."""

    birds: ClassVar = {"serin": 3, "hoopoe": 5}

    async def count(self, bird: str) -> int:
        await trio.sleep(3600 if bird == "phoenix" else 0.01)  # nobody has ever seen a phoenix
        return self.birds[bird]

    async def add(self, bird: str, number: int) -> None:
        await trio.sleep(0.01)
        self.birds[bird] += number


async def respond(pool: Pool[Connection], request: str) -> str:
    match request.split():
        case ["COUNT", bird]:  # one call: a job, which waits for its turn
            return f"200 {await pool.run(Connection.count, bird)}"
        case ["MOVE", source, target]:  # several calls on one connection
            async with pool.acquire(timeout=0.5) as connection:
                await connection.add(source, -1)
                await connection.add(target, 1)
            return "200 moved"
        case ["SEEN", bird]:  # the client doesn't wait for the job
            pool.submit_nowait(Connection.add, bird, 1)
            return "202 accepted"
        case _:
            return "400 what?"


async def answer(pool: Pool[Connection], request: str) -> str:
    try:
        with trio.fail_after(5):
            return await respond(pool, request)
    except (JobTimeoutError, trio.WouldBlock, JobCancelledError, PoolClosedError):
        return "503 try later"
    except trio.TooSlowError:
        return "504 took too long"
    except JobFailedError as error:
        return f"500 {error.__cause__!r}"


async def handle(pool: Pool[Connection], stream: trio.SocketStream) -> None:
    """Serve one client: a request a line, an answer a line."""
    rest = b""
    with suppress(trio.BrokenResourceError):  # the client has gone
        async for part in stream:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                reply = await answer(pool, line.decode(errors="replace"))
                await stream.send_all(f"{reply}\n".encode())


async def ask(port: int, request: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"{request}\n".encode())
        print(f"{request}: {(await stream.receive_some()).decode().strip()}", flush=True)


async def main() -> None:
    async with open_pool([Connection(), Connection()], max_queue=2) as pool, trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(handle, pool), 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        port = listener.socket.getsockname()[1]
        await ask(port, "COUNT serin")
        await ask(port, "MOVE serin hoopoe")
        await ask(port, "COUNT dodo")
        async with trio.open_nursery() as clients:
            clients.start_soon(ask, port, "COUNT phoenix")
            clients.start_soon(ask, port, "COUNT phoenix")
            await trio.sleep(0.1)  # now both connections are busy
            await ask(port, "MOVE serin hoopoe")
            for _ in range(3):
                await ask(port, "SEEN serin")
        await ask(port, "COUNT serin")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
