"""Jobs from a message queue whose workers are threads: dramatiq brings them, and one pool for all threads runs them."""

from __future__ import annotations

import sys
import threading
from typing import Any

import dramatiq
import trio
from dramatiq.brokers.stub import StubBroker

from trio_pool import JobFailedError, Pool, RetryPolicy, open_pool


class Account:
    """Stands for a session with an API token, which can do one thing at a time, and now and then loses a call."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.calls = 0

    async def charge(self, customer: int) -> str:
        self.calls += 1
        await trio.sleep(0.01)
        if customer == 13:
            raise ValueError("customer 13 has no card")
        if self.calls % 4 == 0:
            raise ConnectionError(f"{self.token} lost the call")
        return f"receipt for customer {customer}"


class TrioPool(dramatiq.Middleware):
    """Opens a pool when a worker starts, in a thread for Trio, and closes it when the worker stops."""

    pool: Pool[Account]
    error: BaseException | None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.opened, self.closing, self.error = threading.Event(), threading.Event(), None
        self.thread = threading.Thread(target=self.serve, name="trio")
        self.thread.start()
        self.opened.wait()
        if self.error is not None:
            sys.exit(f"The pool could not be opened: {self.error!r}")  # of any Exception dramatiq only makes a note

    def serve(self) -> None:
        try:
            trio.run(self.hold_open)
        except BaseException as error:
            self.error = error
        finally:
            self.opened.set()  # if it could not be opened, nobody is to wait for it

    async def hold_open(self) -> None:
        accounts = [Account("token-a"), Account("token-b")]
        policy = RetryPolicy(max_attempts=5, base_delay=0.01, placement="other")
        async with open_pool(accounts, retry=policy, attempt_timeout=10) as self.pool:
            self.opened.set()
            await trio.to_thread.run_sync(self.closing.wait)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.closing.set()
        self.thread.join()
        if self.error is not None:
            raise self.error  # what the pool could tell nobody else; dramatiq logs it


middleware = TrioPool()
broker = StubBroker(middleware=[dramatiq.middleware.Retries(), middleware])  # in production, RabbitMQ or Redis
dramatiq.set_broker(broker)
receipts: list[str] = []


# The pool has tried all that its policy allows: the broker is not to do that all over again.
@dramatiq.actor(throws=JobFailedError)
def charge(customer: int) -> None:
    receipts.append(middleware.pool.run_from_thread(Account.charge, customer, total_timeout=60))


def main() -> None:
    for customer in range(20):
        charge.send(customer)
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    try:
        broker.join(charge.queue_name, fail_fast=False)
    finally:
        worker.stop()
    print(len(receipts), "receipts from two tokens, by jobs of eight threads")
    for message in broker.dead_letters:
        left: dict[str, Any] = message.asdict()
        print(f"left over: {left['actor_name']}{left['args']}")


if __name__ == "__main__":
    main()
