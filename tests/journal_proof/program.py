"""A program that works through a journal and says on its standard output what it does: what the tests here kill.

A line goes to the system as soon as something happens, so it is there after any kind of end. ``open`` comes with the
counts of the journal; ``start``, ``fail``, ``cut`` by a cancellation and ``end`` from within the attempts; ``given``
and ``dead`` from what the streams give out; ``stopped`` from a stream that ends with an error; ``done`` comes last.

It imports nothing from beside itself, since it is started by its path.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypedDict

import trio

from trio_pool import GiveUp, JobFailedError, RetryPolicy, SlotPool, open_pool
from trio_pool.journal import Journal, JournalError, open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACES = 8
STOPPED = 3
"""The exit code after an error of the journal."""
INTERRUPTED = 130
"""That after Ctrl-C."""
LATER = 40
"""How many items lie between the two places of one that occurs twice."""


class Item(TypedDict):
    number: int


@dataclass(frozen=True)
class Task:
    """What one life of the program does.

    Attributes:
        way: By ``map``, by ``as_completed``, or by ``both`` at once over the same items.
        seed: Draws how long each item takes.
        longest: The most seconds that an item takes.
        largest_file: The most bytes of any file that the program writes, or 0 for no bound.
    """

    journal: str
    items: int
    way: str = "map"
    seed: int = 0
    longest: float = 0.02
    largest_file: int = 0

    def written(self) -> str:
        return json.dumps(asdict(self))


def is_poisoned(number: int) -> bool:
    """Whether the item fails for good."""
    return number % 61 == 13


def is_flaky(number: int) -> bool:
    """Whether the item fails at first in each life."""
    return number % 23 == 5


def value_of(number: int) -> dict[str, object]:
    """The right result. One in some is so large that a transaction takes many pages."""
    size = 20_000 if number % 29 == 0 else number * 37 % 400
    return {"number": number, "text": "é" + "x" * size, "nested": [None, 1.5, {"a": "b"}]}


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def numbers_in_turn(items: int) -> Iterator[int]:
    """The items as they come; some come again later."""
    for number in range(items):
        yield number
        if number >= LATER and number % 37 == 3:
            yield number - LATER


def name_of(item: Item) -> str:
    return f"item {item['number']}"


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Work:
    """The function of the jobs."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._failed: set[int] = set()

    async def __call__(self, item: Item) -> dict[str, object]:
        number = item["number"]
        say("start", number)
        try:
            await trio.sleep(random.Random(f"{self._task.seed} {number}").uniform(0, self._task.longest))
        except trio.Cancelled:
            say("cut", number)
            raise
        if is_poisoned(number):
            say("fail", number)
            raise GiveUp(f"poisoned: {number}")
        if is_flaky(number) and number not in self._failed:
            self._failed.add(number)
            say("fail", number)
            raise ConnectionError(f"lost: {number}")
        say("end", number)
        return value_of(number)


async def give_out_in_turn(task: Task, journal: Journal, pool: SlotPool, work: Work) -> None:
    items = (Item(number=number) for number in numbers_in_turn(task.items))
    async with journal.map(pool, work, items, step="work", item_id=name_of, retry_dead=False) as results:
        for number in numbers_in_turn(task.items):
            try:
                value = await anext(results)
            except JobFailedError:
                say("dead", "map", number)
            else:
                say("given", "map", number, digest(value))


async def give_out_as_completed(task: Task, journal: Journal, pool: SlotPool, work: Work) -> None:
    items = (Item(number=number) for number in numbers_in_turn(task.items))
    async with journal.as_completed(pool, work, items, step="work", item_id=name_of, retry_dead=False) as entries:
        async for entry in entries:
            number = int(entry.item_id.removeprefix("item "))
            if entry.error is None:
                say("given", "as_completed", number, digest(entry.result))
            else:
                say("dead", "as_completed", number)


WAYS = {"map": [give_out_in_turn], "as_completed": [give_out_as_completed]}
WAYS["both"] = [*WAYS["map"], *WAYS["as_completed"]]


async def main(task: Task) -> None:
    policy = RetryPolicy(max_attempts=3, base_delay=0.002, retry_on=(ConnectionError,))
    async with open_journal(task.journal) as journal:
        counts = journal.statistics()
        say("open", counts.done, counts.dead)
        async with open_pool(PLACES, retry=policy) as pool, trio.open_nursery() as nursery:
            work = Work(task)
            for way in WAYS[task.way]:
                nursery.start_soon(way, task, journal, pool, work)
    say("done")


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, or the one."""
    exceptions: Sequence[BaseException] | None = getattr(error, "exceptions", None)
    if exceptions is None:
        yield error
    else:
        for each in exceptions:
            yield from leaves_of(each)


def run(task: Task) -> int:
    if task.largest_file:
        import resource  # there is none on Windows

        resource.setrlimit(resource.RLIMIT_FSIZE, (task.largest_file, task.largest_file))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    try:
        trio.run(main, task)
    except BaseException as raised:
        errors = list(leaves_of(raised))
        if all(isinstance(error, KeyboardInterrupt) for error in errors):
            return INTERRUPTED
        if not all(isinstance(error, (JournalError, sqlite3.Error, OSError)) for error in errors):
            raise
        for error in errors:
            say("stopped", f"{type(error).__name__}:", str(error).replace("\n", " "))
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(run(Task(**json.loads(sys.argv[1]))))
