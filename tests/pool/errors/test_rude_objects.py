"""Objects of the program's that refuse to be shown, compared or hashed: nothing comes of that."""

from __future__ import annotations

import pickle
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.platforms import asks_for_no_length, shows_huge_numbers
from tests.watchers import Watchers
from trio_pool import (
    Attempt,
    DeadReason,
    Discard,
    GiveUp,
    GraphError,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Node,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class FaultError(BaseException):
    """Not even an Exception."""


def refuse(*_: object, **__: object) -> Any:
    raise FaultError


REFUSING: dict[str, Any] = dict.fromkeys(
    ("__repr__", "__str__", "__format__", "__eq__", "__ne__", "__hash__", "__bool__", "__len__", "__lt__"), refuse
)


def rude(*bases: type, **more: Any) -> Any:
    """A class that refuses whatever it may be asked by way of its bases or not."""
    return type("Rude", bases, {**REFUSING, **more})


Thing = rude(object)
RudeError = rude(Exception)
Text = rude(str, split=refuse, isprintable=refuse, encode=refuse, __getitem__=refuse, __iter__=refuse)
Watching = rude(Instrument)
Policy = type("Policy", (RetryPolicy,), {"__bool__": refuse, "__len__": refuse})


class RudeFunction:
    """A job's function that doesn't even tell its name."""

    __repr__ = __str__ = __getattr__ = refuse

    def __init__(self, error: Any = None) -> None:
        self._error = error

    async def __call__(self, *args: Any) -> Any:
        await trio.sleep(1)
        if isinstance(self._error, Exception):
            raise self._error
        return Thing()


RudeCall: Any = RudeFunction


def text(value: str) -> Any:
    """A string that refuses everything."""
    return Text(value)


MUTE = "<Rude: its repr can't be read>"
CALL = f"RudeFunction({MUTE})"
SILENT = "<its text can't be read>"

# What the function raises, and what the job's error is in words.
ERRORS = {
    "an error": (RudeError, f"Rude: {SILENT}"),
    "an error with an argument": (partial(RudeError, Thing()), f"Rude: {SILENT}"),
    "an argument": (partial(ValueError, Thing()), f"ValueError: {SILENT}"),
    "a key": (partial(KeyError, Thing()), f"KeyError: {MUTE}"),
    "several arguments": (partial(ValueError, Thing(), 1), f"ValueError: ({MUTE}, 1)"),
    "a text": (partial(ValueError, Text("x")), f"ValueError: {SILENT}"),
    "a huge number": (partial(ValueError, 10**5000), "ValueError: <an int of 16610 bits>"),
    "a group": (lambda: ExceptionGroup("x", [RudeError(), RudeError()]), f"Rude: {SILENT} (and 1 more)"),
    "a broken resource": (partial(ResourceBroken, Text("jammed")), "ResourceBroken: jammed"),
}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(*each, id=name, marks=[shows_huge_numbers] * (name == "a huge number"))
        for name, each in ERRORS.items()
    ],
)
async def test_errors_that_refuse_are_failures_like_any_other(make: Any, words: str, autojump_clock: MockClock) -> None:
    watchers = Watchers()
    async with open_pool(
        [Resource(Thing(), name=text("a\nb"), tags=[text("t")])],
        instruments=[*watchers.instruments, Watching()],
        name=text("P"),
        on_dead="keep",
        retry=Policy(max_attempts=2, base_delay=1),
    ) as pool:
        watchers.watch(pool)
        job: Job[Any] = await pool.submit(RudeCall(make()), Thing(), requires=[text("t")], metadata={"x": Thing()})
        behind: Job[Any] = await pool.submit(RudeCall(), after=[job], name=text("behind"))
        await trio.sleep(1.5)
        lines = [*watchers.live(pool), repr(job), repr(pool), *map(repr, pool.workers), str(pool.statistics())]
        await pool.join()
        lines += [*watchers.live(pool), repr(pool.statistics()), str(pool.statistics()), behind.reason]
        with pytest.raises(JobFailedError) as caught:
            job.result()
        pool.dead.pop_all()
    assert str(caught.value) == f"job 1 ({CALL}) is dead after 2 attempts: no attempts left; last error: {words}"
    assert (job.dead_reason, behind.state) == (DeadReason.ATTEMPTS_EXHAUSTED, JobState.DISCARDED)
    assert [repr(attempt)[:9] for attempt in job.attempts] == ["Attempt(n"] * 2
    assert len({*job.attempts}) == 2
    assert len(watchers.records("pool_closed")) == 1  # the log went on to the end
    assert [each.args["error"] for each in watchers.attempts()] == [words] * 2
    assert len(watchers.spans("job")) == 2
    assert "RudeFunction(" in watchers.page()
    assert [line for line in lines if words in line]


def rude_reason(kind: Any) -> Exception:
    """One whose reason has been assigned later."""
    error: Exception = kind()
    vars(error)["reason"] = Thing()
    return error


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (partial(GiveUp, Text("gone")), JobFailedError, "given up: gone"),
        (partial(Discard, Text("gone")), JobCancelledError, "gone"),
        (partial(rude_reason, GiveUp), JobFailedError, f"given up: {SILENT}; last error: GiveUp"),
        (partial(rude_reason, Discard), JobCancelledError, SILENT),
    ],
    ids=["text to give up", "text to discard", "GiveUp", "Discard"],
)
async def test_reasons_that_refuse_are_reasons(make: Any, error: Any, reason: str, autojump_clock: MockClock) -> None:
    async with open_pool([Thing()]) as pool:
        job: Job[Any] = await pool.submit(RudeCall(make()))
        with pytest.raises(error) as caught:
            await job.wait()
    assert job.reason == reason.partition("; ")[0]
    assert str(caught.value).endswith(reason)


async def test_results_items_and_resources_that_refuse_are_handed_on(autojump_clock: MockClock) -> None:
    resource, items = Thing(), [Thing(), Thing()]
    got: list[object] = []

    async def takes(given: object, item: object) -> object:
        got.append(given)
        return item

    async with open_pool([resource]) as pool:
        async with pool.map(takes, items) as results:
            found = [result async for result in results]
        async with pool.as_completed(takes, items) as ended:
            found += [job.result() async for job in ended]
        future: Any = await trio.to_thread.run_sync(pool.submit_from_thread, takes, items[0])
        found.append(await trio.to_thread.run_sync(future.result))
    assert [given is resource for given in got] == [True] * 5
    assert [each is item for each, item in zip(found, [*items, *items, items[0]], strict=True)] == [True] * 5


async def test_a_callback_of_a_future_that_tells_nothing_of_itself_is_called(autojump_clock: MockClock) -> None:
    called: list[object] = []

    class Callback:
        __repr__ = __str__ = __eq__ = __hash__ = __getattr__ = refuse

        def __call__(self, future: object) -> None:
            called.append(future)

    async with open_pool(["a"]) as pool:
        future: Any = await trio.to_thread.run_sync(pool.submit_from_thread, works)
        future.add_done_callback(Callback())
        await pool.join()
    assert called == [future]


async def test_instruments_are_told_apart_by_what_they_are() -> None:
    one, other = Watching(), Watching()
    async with open_pool(["a"], instruments=[one]) as pool:
        pool.add_instrument(one)
        pool.add_instrument(other)
        pool.remove_instrument(one)
        with pytest.raises(KeyError):
            pool.remove_instrument(one)
        pool.remove_instrument(other)


async def test_an_instrument_that_compares_equal_to_another_is_another() -> None:
    class Equal(Instrument):
        def __init__(self) -> None:
            self.told = 0

        def job_submitted(self, job: Job[Any]) -> None:
            self.told += 1

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    one, other = Equal(), Equal()
    async with open_pool(1, instruments=[one]) as pool:
        pool.add_instrument(other)
        await pool.run(trio.sleep, 0)
        pool.remove_instrument(other)
        await pool.run(trio.sleep, 0)
    assert (one.told, other.told) == (2, 1)


async def test_one_that_raises_is_removed_and_not_its_equal(caplog: pytest.LogCaptureFixture) -> None:
    class Equal(Instrument):
        told = 0

        def __init__(self, *, faulty: bool) -> None:
            self.faulty = faulty

        def job_submitted(self, job: Job[Any]) -> None:
            self.told += 1
            if self.faulty:
                raise RuntimeError

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = Instrument.__hash__

    good, bad = Equal(faulty=False), Equal(faulty=True)
    async with open_pool(1, instruments=[good, bad]) as pool:
        for _ in range(2):
            await pool.run(trio.sleep, 0)
    assert (good.told, bad.told) == (2, 1)
    assert len(caplog.records) == 1


# What a control exception's class has made of its fields


class Wrong:
    """Raises whatever it is asked."""

    def __get__(self, *_: object) -> Any:
        raise ValueError("of its own")


ODD = {
    "no time": (RetryAfter, {"delay": "soon"}),
    "NaN": (RetryAfter, {"delay": float("nan")}),
    "negative": (RetryAfter, {"delay": -1.0}),
    "endless": (RetryAfter, {"delay": float("inf")}),
    "no delay": (RetryAfter, {"delay": None, "rest": True}),
    "rest": (RetryAfter, {"delay": 1.0, "rest": Thing()}),
    "counts": (RetryAfter, {"delay": 1.0, "counts": "no"}),
    "placement": (RetryAfter, {"delay": 1.0, "placement": "elsewhere"}),
    "no placement": (RetryAfter, {"delay": 1.0, "placement": Thing()}),
    "delay that raises": (RetryAfter, {"delay": Wrong()}),
    "reason to give up": (GiveUp, {"reason": Wrong()}),
    "reason to discard": (Discard, {"reason": Wrong()}),
}


@pytest.mark.parametrize(("base", "fields"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("count", [1, 2])
async def test_fields_that_make_no_sense_are_a_decision_that_failed(
    base: Any, fields: dict[str, Any], count: int, autojump_clock: MockClock
) -> None:
    kind = type("Odd", (base,), {"__init__": does_nothing, **fields})

    async def fails(resource: object) -> None:
        raise kind() if count == 1 else ExceptionGroup("x", [kind() for _ in range(count)])

    async with open_pool(["a"], retry=RetryPolicy(max_attempts=3)) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
        assert await pool.run(works) == "done"
    assert caught.value.job.dead_reason is DeadReason.NOT_RETRYABLE
    assert caught.value.job.reason.startswith("the decision about its failure failed: ")


def does_nothing(self: object) -> None:
    """In place of an __init__."""


async def works(resource: object) -> str:
    return "done"


# Arguments of the pool's own calls

OPEN: Any = open_pool  # for type checkers, whatever it is given


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RetryPolicy(max_attempts=Thing()), f"max_attempts must be an int, got {MUTE}"),
        (lambda: RetryPolicy(base_delay=Thing()), f"base_delay must be a number, got {MUTE}"),
        (partial(RetryPolicy, retry_on=Thing()), f"retry_on must be an exception type, .*, got {MUTE}"),
        pytest.param(lambda: OPEN(Thing()), f"resources must be an iterable .*, got {MUTE}", marks=asks_for_no_length),
        (lambda: open_pool(["a"], max_queue=Thing()), f"max_queue must be an int, got {MUTE}"),
        (lambda: open_pool(["a"], instruments=[Thing()]), f"instruments must be an Instrument, got {MUTE}"),
        (lambda: open_pool(["a"], on_failure=Thing()), f"on_failure must be callable, got {MUTE}"),
        (lambda: Resource("a", name=Thing()), f"name must be a str or None, got {MUTE}"),
        (lambda: Resource("a", tags=[Thing()]), f"tags must hold strings, got {MUTE}"),
        (lambda: Node(works, after=Thing()), f"after must be an iterable of keys, got {MUTE}"),
    ],
    ids=["attempts", "delay", "retry_on", "resources", "queue", "instruments", "hook", "name", "tags", "after"],
)
def test_wrong_arguments_are_told_though_they_refuse_to_be_shown(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        call()


@pytest.mark.parametrize("value", ["order", "pick", "no_worker", "on_dead"])
def test_choices_are_told_by_type_and_not_asked_whether_they_equal_one(value: str) -> None:
    options: Any = {value: Thing()}
    with pytest.raises(ValueError, match=f"{value} must be one of .*, got {MUTE}"):
        open_pool(["a"], **options)


async def test_graphs_with_keys_that_refuse_to_be_shown() -> None:
    class Key:
        __repr__ = __str__ = refuse

    one, other = Key(), Key()
    async with open_pool(["a"]) as pool:
        with pytest.raises(GraphError, match="the graph has a cycle: <Key: its repr can't be read> -> <Key"):
            await pool.submit_graph({one: Node(works, after=[other]), other: Node(works, after=[one])})
        jobs = await pool.submit_graph({one: Node(works), other: Node(works, after=[one])})
        assert await jobs[other].wait() == "done"


async def test_a_long_cycle_is_told_in_short() -> None:
    nodes = {number: Node(works, after=[(number + 1) % 1000]) for number in range(1000)}
    async with open_pool(["a"]) as pool:
        with pytest.raises(GraphError) as caught:
            await pool.submit_graph(nodes)
    assert str(caught.value).endswith(" -> …")
    assert str(caught.value).count(" -> ") == 20


async def test_names_are_plain_strings_whatever_they_were(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", name=text("A"), tags=[text("t")])], name=text("P")) as pool:
        async with pool.open_group(name=text("G")) as group:
            job = await group.submit(works, name=text("J"), requires=[text("t")])
        [worker] = pool.workers
        names = [pool.name, group.name, job.name, worker.name, *worker.tags]
    assert [type(name) for name in names] == [str] * 5
    assert names == ["P", "G", "J", "A", "t"]


def test_attempts_are_compared_by_what_their_errors_are() -> None:
    error = RudeError()
    one, same, other = (Attempt(1, 1, "A", 0.0, 1.0, each) for each in (error, error, RudeError()))
    assert one == same
    assert one != other
    assert hash(one) == hash(same)
    assert repr(one) == (
        "Attempt(number=1, worker_id=1, worker_name='A', started_at=0.0, ended_at=1.0, "
        f"error={MUTE}, hedges=(), used={{}})"
    )


async def test_an_error_that_refuses_can_be_told_elsewhere(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(RudeCall(RudeError()), Thing())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
