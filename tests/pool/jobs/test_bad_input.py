"""Bad input is turned away by the call that got it, with a message that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.bad_values import BAD_SECONDS, INF, NAN, bad_counts, bad_limits_of_a_resource, says
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Elastic,
    Instrument,
    Job,
    JobFailedError,
    JobState,
    Node,
    NoEligibleWorkerError,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from trio.testing import MockClock

# Typed as the callers that don't check their types would see them.
open_anything: Any = open_pool
any_resource: Any = Resource
any_elastic: Any = Elastic


async def echo(*args: Any) -> Any:
    return args[-1]


async def whoami(resource: str) -> str:
    return resource


async def fail(*args: Any) -> None:
    raise ValueError("no luck")


# Submitting


@pytest.mark.parametrize("value", [5, 0, None])
async def test_a_bad_idle_only(value: Any) -> None:
    async with open_anything(1) as pool:
        with pytest.raises(TypeError, match=says(f"idle_only must be a bool, got {value!r}")):
            pool.submit_nowait(echo, idle_only=value)


# The dead letters


@pytest.mark.parametrize("call", ["pop", "requeue"])
async def test_what_is_no_job_is_no_dead_letter(call: str) -> None:
    async with open_anything(1) as pool:
        with pytest.raises(TypeError, match=says("job must be a Job, got 5")):
            getattr(pool.dead, call)(5)


# Workers


@pytest.mark.parametrize("field", ["id", "name", "resource", "tags", "state", "job", "jobs"])
async def test_who_a_worker_is_can_not_be_changed(field: str) -> None:
    async with open_pool([Resource("a", name="a", tags=["x"])]) as pool:
        [worker] = pool.workers
        before = getattr(worker, field)
        with pytest.raises(AttributeError):
            setattr(worker, field, before)


# Opening


RESOURCES = [
    pytest.param("token", TypeError, "resources must be an iterable of resources, not the single 'token'", id="str"),
    pytest.param(b"x", TypeError, "resources must be an iterable of resources, not the single b'x'", id="bytes"),
    pytest.param(
        None, TypeError, "resources must be an iterable of resources or a number of slots, got None", id="None"
    ),
    pytest.param(0, ValueError, "resources must be at least 1, got 0", id="0 slots"),
    pytest.param(-3, ValueError, "resources must be at least 1, got -3", id="fewer"),
    pytest.param(1.5, TypeError, "resources must be an int, got 1.5", id="a fraction"),
    pytest.param(NAN, TypeError, "resources must be an int, got nan", id="NaN"),
    pytest.param(True, TypeError, "resources must be an int, got True", id="bool"),
]


@pytest.mark.parametrize(("resources", "kind", "message"), RESOURCES)
def test_bad_resources(resources: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=says(message)):
        open_anything(resources)


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
@pytest.mark.parametrize("option", ["attempt_timeout", "total_timeout"])
def test_bad_timeouts_of_a_pool(option: str, value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"{option} {rule}")):
        open_anything(["a"], **{option: value})


@pytest.mark.parametrize(("value", "kind", "rule"), bad_counts(0))
@pytest.mark.parametrize("option", ["max_queue", "max_dead"])
def test_bad_bounds_of_a_pool(option: str, value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"{option} {rule}")):
        open_anything(["a"], **{option: value})


@pytest.mark.parametrize(("value", "kind", "rule"), bad_counts(1))
def test_bad_max_running(value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"max_running {rule}")):
        open_anything(["a"], max_running=value)


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("order", "random", "'fifo', 'lifo'"),
        ("pick", "first", "'longest_idle', 'last_used', 'random'"),
        ("no_worker", "ignore", "'reject', 'wait', 'bury'"),
        ("on_dead", None, "'raise', 'keep', 'cancel'"),
    ],
)
def test_unknown_choices_of_a_pool(option: str, value: Any, choices: str) -> None:
    with pytest.raises(ValueError, match=says(f"{option} must be one of {choices}, got {value!r}")):
        open_anything(["a"], **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("retry", 3, "retry must be a RetryPolicy, got 3"),
        ("retry", None, "retry must be a RetryPolicy, got None"),
        ("retry", RetryPolicy, "retry must be a RetryPolicy, got <class"),
        ("lifespan", "connect", "lifespan must be callable, got 'connect'"),
        ("on_failure", "ask", "on_failure must be callable, got 'ask'"),
        ("history", 1, "history must be a bool, got 1"),
        ("instruments", Instrument(), "instruments must be an iterable, got <"),
        ("instruments", [Instrument], "instruments must be a Instrument, got <class"),
        ("name", 7, "name must be a str or None, got 7"),
        ("rng", 42, "rng must be a Random, got 42"),
        ("rate_limit", 10, "rate_limit must be a RateLimit, got 10"),
        ("rate_limit", RateLimit, "rate_limit must be a RateLimit, got <class"),
        ("retry_budget", 0.2, "retry_budget must be a RetryBudget, got 0.2"),
        ("retry_budget", RateLimit(1), "retry_budget must be a RetryBudget, got RateLimit("),
        ("breaker", True, "breaker must be a CircuitBreaker, got True"),
    ],
)
def test_options_of_a_pool_of_the_wrong_type(option: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=says(message).replace("a\\ Instrument", "an? Instrument")):
        open_anything(["a"], **{option: value})


def test_an_unknown_option_of_a_pool() -> None:
    with pytest.raises(TypeError, match=re.escape("open_pool() got an unexpected keyword argument 'max_worker'")):
        open_anything(["a"], max_worker=3)


def test_an_unknown_option_of_a_pool_is_told_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match=r"'retries'; its options are .*\bretry, .*\btotal_timeout$"):
        open_anything(["a"], retries=3)


@pytest.mark.parametrize("option", ["hedge", "priority", "after"])
def test_an_option_of_a_job_is_none_of_a_pool(option: str) -> None:
    with pytest.raises(TypeError, match=rf"'{option}'; {option} is an option of a job, for submit\(\) and the like$"):
        open_anything(["a"], **{option: None})


def test_a_lifespan_beside_slots() -> None:
    with pytest.raises(ValueError, match=says("lifespan needs resources, and slots have none")):
        open_anything(3, lifespan=trio.open_nursery)


async def test_bad_input_is_told_before_anything_is_opened() -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        opened.append(resource)
        yield resource

    with pytest.raises(ValueError, match=says("max_running must be at least 1")):
        async with open_pool(["a"], lifespan=connect, max_running=0):
            raise AssertionError("it must not be entered")
    assert opened == []


async def test_a_lifespan_that_gives_no_context_manager() -> None:
    def not_even_async(resource: str) -> str:
        return resource

    with pytest.raises(TypeError, match="lifespan must return an async context manager, returned 'a'"):
        async with open_anything(["a"], lifespan=not_even_async):
            pass


# Describing a resource


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("gpu", "tags must be an iterable of tags, not the single 'gpu'"),
        (b"gpu", "tags must be an iterable of tags, not the single b'gpu'"),
        (5, "tags must be an iterable of tags, got 5"),
        (["gpu", 5], "tags must hold strings, got 5"),
    ],
)
async def test_bad_tags(tags: Any, message: str) -> None:
    with pytest.raises(TypeError, match=says(message)):
        any_resource("a", tags=tags)
    async with open_pool(1) as pool:
        with pytest.raises(TypeError, match=says(message)):
            await pool.add(tags=tags)
        assert len(pool.workers) == 1


async def test_a_bad_name_of_a_resource() -> None:
    with pytest.raises(TypeError, match=says("name must be a str or None, got 7")):
        any_resource("a", name=7)


@bad_limits_of_a_resource
@pytest.mark.parametrize("resources", [["a"], 1])
async def test_bad_limits_of_a_worker_that_is_added(
    resources: Any, option: str, value: Any, kind: type[Exception], rule: str
) -> None:
    more = [] if resources == 1 else ["b"]
    async with open_anything(resources) as pool:
        with pytest.raises(kind, match=says(f"{option} {rule}")):
            await pool.add(*more, **{option: value})
        assert len(pool.workers) == 1


@pytest.mark.parametrize("nothing", [None, INF])
async def test_no_bound_on_the_jobs_and_the_age_of_a_resource_is_none_or_infinity(nothing: float | None) -> None:
    async with open_pool([Resource("a", max_jobs=nothing, max_age=nothing)]) as pool:
        worker = await pool.add("b", max_jobs=nothing, max_age=nothing)
        assert await pool.run(whoami, worker=worker) == "b"


@pytest.mark.parametrize(
    "more",
    [
        {"name": "bee"},
        {"tags": ["gpu"]},
        {"rate_limit": RateLimit(1)},
        {"breaker": CircuitBreaker()},
        {"max_jobs": 5},
        {"max_age": 5.0},
    ],
)
async def test_a_described_resource_has_its_name_and_tags_and_limits_in_its_description(more: dict[str, Any]) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match=says("a Resource has its own name, tags and limits; give them there")):
            await pool.add(Resource("b"), **more)
        assert len(pool.workers) == 1


# Elastic


@asynccontextmanager
async def mint() -> AsyncGenerator[str]:
    yield "a"


def test_a_lifespan_beside_elastic() -> None:
    with pytest.raises(ValueError, match=says("lifespan can't be given with Elastic, whose factory gives one already")):
        open_anything(Elastic(mint, max=1), lifespan=trio.open_nursery)


async def test_a_factory_that_gives_no_context_manager() -> None:
    with pytest.raises(TypeError, match=says("factory must return an async context manager, returned 'a'")):
        async with open_anything(any_elastic(lambda: "a", min=1, max=1)):
            pass


# Submitting


Call = Callable[..., Any]


async def by_submit(pool: Any, fn: Any, **options: Any) -> None:
    await pool.submit(fn, **options)


async def by_submit_nowait(pool: Any, fn: Any, **options: Any) -> None:
    pool.submit_nowait(fn, **options)


async def by_run(pool: Any, fn: Any, **options: Any) -> None:
    await pool.run(fn, **options)


async def by_map(pool: Any, fn: Any, **options: Any) -> None:
    pool.map(fn, [1], **options)


async def by_as_completed(pool: Any, fn: Any, **options: Any) -> None:
    pool.as_completed(fn, [1], **options)


async def by_a_group(pool: Any, fn: Any, **options: Any) -> None:
    async with pool.open_group() as group:
        await group.submit(fn, **options)


async def by_submit_graph(pool: Any, fn: Any, **options: Any) -> None:
    node: Any = Node
    await pool.submit_graph({"good": node(echo), "bad": node(fn, **options)})


async def by_requeue(pool: Any, fn: Any, **options: Any) -> None:
    pool.dead.requeue(await a_dead_job(pool), **options)


async def a_dead_job(pool: Any) -> Job[None]:
    job: Job[None] = await pool.submit(fail, worker=pool.workers[0])
    await pool.join()
    return job


CALLS = [
    by_submit,
    by_submit_nowait,
    by_run,
    by_map,
    by_as_completed,
    by_a_group,
    by_submit_graph,
    by_requeue,
]
every_call = pytest.mark.parametrize("call", CALLS)


def over_resources() -> AbstractAsyncContextManager[Any]:
    return open_pool(["a"], on_dead="keep")


def over_slots() -> AbstractAsyncContextManager[Any]:
    return open_pool(1, on_dead="keep")


both = pytest.mark.parametrize("opened", [over_resources, over_slots])
OpenPool = Callable[[], AbstractAsyncContextManager[Any]]


async def check_turned_away(
    opened: OpenPool, call: Call, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    async with opened() as pool:
        with pytest.raises(kind, match=says(message)):
            await call(pool, echo, **options)
        assert list(pool.jobs()) == []
    assert pool.statistics().submitted == (1 if call is by_requeue else 0)


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
@pytest.mark.parametrize("option", ["attempt_timeout", "total_timeout"])
@every_call
@both
async def test_bad_timeouts_of_a_job(
    opened: OpenPool, call: Call, option: str, value: Any, kind: type[Exception], rule: str
) -> None:
    await check_turned_away(opened, call, {option: value}, kind, f"{option} {rule}")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        pytest.param({"retry": 3}, TypeError, "retry must be a RetryPolicy, got 3", id="retry"),
        pytest.param({"priority": "high"}, TypeError, "priority must be a number, got 'high'", id="priority"),
        pytest.param({"priority": NAN}, ValueError, "priority must not be NaN", id="priority NaN"),
        pytest.param(
            {"requires": "gpu"}, TypeError, "requires must be an iterable of tags, not the single 'gpu'", id="requires"
        ),
        pytest.param({"requires": [5]}, TypeError, "requires must hold strings, got 5", id="requires numbers"),
        pytest.param({"worker": "a"}, TypeError, "worker must be a", id="worker"),
        pytest.param({"worker": 1}, TypeError, "worker must be a", id="worker by number"),
        pytest.param({"name": 7}, TypeError, "name must be a str or None, got 7", id="name"),
        pytest.param({"metadata": [1]}, TypeError, "metadata must be a mapping, got [1]", id="metadata"),
        pytest.param({"hedge": 3}, TypeError, "hedge must be a Hedge, got 3", id="hedge"),
    ],
)
@every_call
@both
async def test_options_of_a_job_of_the_wrong_type(
    opened: OpenPool, call: Call, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    await check_turned_away(opened, call, options, kind, message)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (by_submit, "submit"),
        (by_submit_nowait, "submit_nowait"),
        (by_run, "run"),
        (by_map, "map"),
        (by_as_completed, "as_completed"),
        (by_requeue, "requeue"),
    ],
)
@both
async def test_an_unknown_option_of_a_job_is_told_with_the_known_ones_and_where_keywords_go(
    opened: OpenPool, call: Call, name: str
) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=re.escape(f"{name}() got an unexpected keyword argument 'url'")) as caught:
            await call(pool, echo, url="/index")
    assert "attempt_timeout" in str(caught.value)
    assert "functools.partial" in str(caught.value)


@every_call
@both
async def test_a_worker_of_another_pool(opened: OpenPool, call: Call) -> None:
    async with opened() as other:
        stranger = other.workers[0]
        await check_turned_away(
            opened, call, {"worker": stranger}, ValueError, f"worker must be a worker of this pool, got {stranger!r}"
        )


@pytest.mark.parametrize("call", [by_submit, by_submit_nowait, by_run, by_requeue])
@both
async def test_requires_that_nobody_has(opened: OpenPool, call: Call) -> None:
    async with opened() as pool:
        with pytest.raises(NoEligibleWorkerError, match="no worker of the pool may ever take the job") as caught:
            await call(pool, echo, requires=["gpu", "big"])
        assert list(pool.jobs()) == []
    assert "'big', 'gpu'" in str(caught.value)


async def test_a_pool_without_workers_says_what_to_do() -> None:
    nobody: list[str] = []
    async with open_pool(nobody) as pool:
        with pytest.raises(NoEligibleWorkerError) as caught:
            await pool.submit(whoami)
    assert str(caught.value) == (
        "no worker of the pool may ever take the job whoami: "
        'the pool has no workers; add one first, or open it with no_worker="wait"'
    )


async def test_a_worker_that_has_left_is_told_by_name() -> None:
    async with open_pool([Resource("a", name="the first"), Resource("b")]) as pool:
        first, _ = pool.workers
        await first.remove()
        with pytest.raises(NoEligibleWorkerError, match="the first"):
            await pool.submit(whoami, worker=first)


CALLS_OF_A_FUNCTION = [by_submit, by_submit_nowait, by_run, by_map, by_as_completed]


@pytest.mark.parametrize("call", CALLS_OF_A_FUNCTION)
@both
async def test_a_coroutine_instead_of_a_function_is_told_what_to_do(opened: OpenPool, call: Call) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says("the first argument must be an async function, got")) as caught:
            await call(pool, echo("x"))
    assert "the coroutine <coroutine object echo" in str(caught.value)
    assert "(fn, arg), not (fn(arg))" in str(caught.value)
    assert pool.statistics().submitted == 0


@pytest.mark.parametrize("call", CALLS_OF_A_FUNCTION)
@pytest.mark.parametrize("value", [None, "fetch", 5])
@both
async def test_something_that_cannot_be_called(opened: OpenPool, value: Any, call: Call) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says(f"the first argument must be an async function, got {value!r}")):
            await call(pool, value)
    assert pool.statistics().submitted == 0


@pytest.mark.parametrize("items", [None, 5])
@pytest.mark.parametrize("name", ["map", "as_completed"])
@both
async def test_items_that_cannot_be_iterated_over(opened: OpenPool, name: str, items: Any) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says(f"items must be an iterable or an async iterable, got {items!r}")):
            getattr(pool, name)(echo, items)


@pytest.mark.parametrize(("value", "kind", "rule"), bad_counts(1))
@pytest.mark.parametrize("name", ["map", "as_completed"])
@both
async def test_a_bad_buffer(opened: OpenPool, name: str, value: Any, kind: type[Exception], rule: str) -> None:
    async with opened() as pool:
        with pytest.raises(kind, match=says(f"buffer {rule}")):
            getattr(pool, name)(echo, [1], buffer=value)


# A function that turns out not to be async


def not_async(*args: Any) -> str:
    return "a value"


async def generator(*args: Any) -> AsyncGenerator[int]:
    yield 1


async def needs_two(resource: str, first: int, second: int) -> int:
    return first + second


async def check_dead_of_its_call(fn: Any, *words: str) -> None:
    async with open_pool(["a"], retry=RetryPolicy.immediate(), on_dead="keep") as pool:
        job: Job[Any] = await pool.submit(fn)
        await pool.join()
        assert await pool.run(whoami) == "a"  # the worker goes on
    assert (job.state, job.dead_reason) == (JobState.DEAD, DeadReason.NOT_RETRYABLE)
    assert job.attempt_count == 1
    with pytest.raises(JobFailedError) as caught:
        job.result()
    cause = caught.value.__cause__
    assert isinstance(cause, TypeError)
    assert [word for word in words if word not in str(cause)] == []


async def test_a_function_that_is_not_async_is_told_so_by_name() -> None:
    await check_dead_of_its_call(not_async, "not_async is not an async function", "'a value'")


async def test_a_partial_of_a_function_that_is_not_async_is_told_so_by_its_name() -> None:
    await check_dead_of_its_call(partial(not_async, 1), "not_async is not an async function")


async def test_a_class_that_is_no_function_is_told_so_by_name() -> None:
    class Fetcher:
        def __init__(self, resource: str) -> None:
            self.resource = resource

    await check_dead_of_its_call(Fetcher, "Fetcher is not an async function")


async def test_an_async_generator_function_is_told_so_by_name() -> None:
    await check_dead_of_its_call(generator, "generator is an async generator function", "must not yield")


async def test_a_function_of_other_arguments_is_told_so_by_name() -> None:
    await check_dead_of_its_call(needs_two, "needs_two", "like this, with the resource before", "missing 2 required")


async def test_a_function_that_wants_a_resource_is_told_that_slots_have_none() -> None:
    async def fetch(client: str, url: str) -> None:
        await trio.lowlevel.checkpoint()

    fn: Any = fetch
    async with open_pool(1, on_dead="keep") as pool:
        with pytest.raises(JobFailedError, match=r"fetch can't be called like this, with no resource before .* 'url'"):
            await pool.run(fn, "/one")


async def test_a_type_error_in_the_function_itself_is_an_ordinary_failure() -> None:
    calls: list[int] = []

    async def work(resource: str) -> None:
        calls.append(1)
        raise TypeError("of its own")

    async with open_pool(["a"], retry=RetryPolicy.immediate(max_attempts=3), on_dead="keep") as pool:
        job = await pool.submit(work)
    assert len(calls) == 3
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_on_failure_is_not_asked_about_a_function_that_is_not_async() -> None:
    asked: list[Exception] = []

    def ask(job: Job[Any], error: Exception) -> RetryAfter:
        asked.append(error)
        return RetryAfter(0)

    wrong: Any = not_async
    async with open_pool(["a"], on_failure=ask, retry=RetryPolicy.immediate(), on_dead="keep") as pool:
        job: Job[Any] = await pool.submit(wrong)
    assert asked == []
    assert job.dead_reason is DeadReason.NOT_RETRYABLE


# The rest of the pool


@pytest.mark.parametrize(
    "state", [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED], ids=lambda state: state.name
)
@both
async def test_jobs_of_a_final_state(opened: OpenPool, state: JobState) -> None:
    async with opened() as pool:
        message = f"ended jobs are not kept, so none can be {state.name}"
        with pytest.raises(ValueError, match=says(message)):
            pool.jobs(JobState.QUEUED, state)


@both
async def test_jobs_of_what_is_no_state(opened: OpenPool) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says("state must be a JobState, got 'queued'")):
            pool.jobs("queued")


@pytest.mark.parametrize(
    ("interval", "kind", "rule"),
    [*BAD_SECONDS, pytest.param(0, ValueError, "must be more than 0, got 0", id="0")],
)
@both
async def test_a_bad_interval_of_snapshots(opened: OpenPool, interval: Any, kind: type[Exception], rule: str) -> None:
    async with opened() as pool:
        with pytest.raises(kind, match=says(f"interval {rule}")):
            pool.snapshots(interval)


@both
async def test_bad_instruments(opened: OpenPool) -> None:
    async with opened() as pool:
        for bad in (None, Instrument, print):
            with pytest.raises(TypeError, match=r"^instrument must be an? Instrument, got"):
                pool.add_instrument(bad)


@pytest.mark.parametrize(
    ("attribute", "value", "kind", "message"),
    [
        ("retry", None, TypeError, "retry must be a RetryPolicy, got None"),
        ("on_failure", "ask", TypeError, "on_failure must be callable, got 'ask'"),
        ("max_running", 0, ValueError, "max_running must be at least 1, got 0"),
        ("max_running", 1.5, TypeError, "max_running must be an int, got 1.5"),
        ("rate_limit", 10, TypeError, "rate_limit must be a RateLimit, got 10"),
        ("rate_limit", RetryPolicy(), TypeError, "rate_limit must be a RateLimit, got RetryPolicy("),
    ],
)
@both
async def test_bad_assignments_change_nothing(
    opened: OpenPool, attribute: str, value: Any, kind: type[Exception], message: str
) -> None:
    async with opened() as pool:
        before = getattr(pool, attribute)
        with pytest.raises(kind, match=says(message)):
            setattr(pool, attribute, value)
        assert getattr(pool, attribute) == before


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
@both
async def test_a_bad_rest(
    opened: OpenPool, value: Any, kind: type[Exception], rule: str, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        with pytest.raises(kind, match=says(f"seconds {rule}")):
            worker.rest(value)
        assert pool.idle_workers == (worker,)


@both
async def test_an_endless_rest(opened: OpenPool) -> None:
    async with opened() as pool:
        with pytest.raises(ValueError, match=says("seconds must be finite, got inf")):
            pool.workers[0].rest(INF)


# The aids for tests


def test_a_bad_number_of_failures() -> None:
    with pytest.raises(ValueError, match=says("times must be at least 0, got -1")):
        Flaky(-1)
