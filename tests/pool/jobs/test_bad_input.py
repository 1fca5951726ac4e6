"""Bad input for a pool or a resource is turned away by the call that got it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.bad_values import BAD_SECONDS, INF, NAN, bad_counts, bad_limits_of_a_resource, says
from tests.pool.jobs.kept_deaths import OpenPool, both, echo, whoami
from trio_pool import CircuitBreaker, Elastic, Instrument, JobState, RateLimit, Resource, RetryPolicy, open_pool
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from trio.testing import MockClock

# Typed as the callers that don't check their types would see them.
open_anything: Any = open_pool
any_resource: Any = Resource
any_elastic: Any = Elastic


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
