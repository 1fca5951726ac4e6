"""An actor's arguments are those of its function without the resource: for type checkers alone, and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type

if TYPE_CHECKING:
    import dramatiq
    import psycopg

    import trio_pool.dramatiq
    import trio_pool.pgqueuer

    class Client: ...

    async def fetch(client: Client, path: str, depth: int = 0) -> bytes: ...
    async def count(number: int) -> None: ...
    def key_of(path: str, depth: int = 0) -> str: ...

    def on_dramatiq(queue: trio_pool.dramatiq.PoolQueue) -> None:
        plain = queue.actor(fetch)
        with_options = queue.actor(total_timeout=60, key=key_of)(fetch)
        slots = queue.actor(resource=False)(count)
        assert_type(plain.send("/"), dramatiq.Message[bytes])
        with_options.send("/", depth=3)
        slots.send(3)
        plain.send(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        plain.send("/", 1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        slots.send("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        queue.actor(timeout=60)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

    def on_pgqueuer(queue: trio_pool.pgqueuer.PoolQueue, connection: psycopg.Connection[Any]) -> None:
        plain = queue.actor(fetch)
        slots = queue.actor(resource=False, priority=3)(count)
        assert_type(plain.send("/"), int)
        assert_type(plain.send_with_options(("/",), connection=connection), int)
        slots.send(3)
        plain.send(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
