"""What jobs are called in messages: their names, or else their calls with the arguments."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.watchers import Watchers
from trio_pool import (
    Instrument,
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    Node,
    NoEligibleWorkerError,
    Resource,
    current_job,
    open_pool,
)
from trio_pool.testing import assert_settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

A = [Resource("a", name="A")]
PAGE = "/page/17"


class Api:
    """A resource with methods for jobs."""

    async def fetch(self, url: str, *more: Any, depth: int = 0) -> None:
        raise OSError("gone")

    async def get(self, resource: object, url: str) -> None:
        """As a job of one that is no resource itself."""

    @classmethod
    async def ping(cls, resource: object, host: str) -> None:
        """The same for a class."""

    async def __call__(self, resource: object, url: str) -> None:
        """The same for what can be called."""


async def fetch(resource: object, *args: Any, **options: Any) -> None:
    raise OSError("gone")


NAMELESS: Callable[[object, str], Any] = lambda resource, url: fetch(resource, url)  # noqa: E731


def shown(job: Job[Any]) -> str:
    """What a job is called in its repr."""
    text = repr(job)
    return text.removeprefix(f"<trio_pool.Job {job.id} ").partition(", queued")[0].partition(", dead")[0]


async def shown_name(fn: Any, *args: Any, **options: Any) -> str:
    async with open_pool(A, on_dead="keep") as pool:
        pool.workers[0].pause()
        job: Job[Any] = await pool.submit(fn, *args, **options)
        text = shown(job)
        job.cancel()
    return text


# What they look like


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        pytest.param(fetch, (PAGE,), "fetch('/page/17')", id="one"),
        pytest.param(fetch, (), "fetch", id="none"),
        pytest.param(fetch, (1, None, [2]), "fetch(1, None, [2])", id="several"),
        pytest.param(Api.fetch, (PAGE,), "Api.fetch('/page/17')", id="function of a class"),
        pytest.param(Api().get, (PAGE,), "Api.get('/page/17')", id="bound method"),
        pytest.param(Api.ping, ("host",), "Api.ping('host')", id="class method"),
        pytest.param(Api(), (PAGE,), "Api('/page/17')", id="callable"),
        pytest.param(NAMELESS, (PAGE,), "<lambda>('/page/17')", id="lambda"),
        pytest.param(partial(fetch, depth=3), (PAGE,), "fetch('/page/17', depth=3)", id="partial"),
        pytest.param(partial(fetch, 1, depth=3), (2,), "fetch(1, 2, depth=3)", id="partial with positional ones"),
        pytest.param(partial(partial(fetch, depth=3), width=2), (), "fetch(depth=3, width=2)", id="nested partials"),
        pytest.param(fetch, ("one\ntwo",), r"fetch('one\ntwo')", id="line feed"),
        pytest.param(fetch, ("\x1b[1m",), r"fetch('\x1b[1m')", id="escape"),
        pytest.param(fetch, ("x" * 38,), f"fetch('{'x' * 38}')", id="just as long"),
        pytest.param(fetch, ("x" * 39,), f"fetch('{'x' * 38}…)", id="too long"),
        pytest.param(fetch, tuple(range(50)), "fetch(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1…)", id="too many"),
    ],
)
async def test_a_call_is_shown_with_its_arguments(fn: Any, args: tuple[Any, ...], expected: str) -> None:
    assert await shown_name(fn, *args) == expected


async def test_a_name_of_its_own_is_shown_instead() -> None:
    assert await shown_name(fetch, PAGE, name="the page") == "the page"


async def test_the_name_itself_is_still_the_functions() -> None:
    async with open_pool(A, on_dead="keep") as pool:
        job = await pool.submit(fetch, PAGE)
        assert (job.name, job.args) == ("fetch", (PAGE,))
        await pool.join()
        pool.dead.pop_all()


async def test_pools_and_groups_are_shown_as_what_they_are() -> None:
    async def nothing(*_: object) -> None:
        """Takes whatever it gets."""

    async with open_pool(1) as pool, pool.open_group() as group:
        job = await pool.submit(partial(nothing, pool), group, 3)
        assert ".nothing(<SlotPool>, <SlotJobGroup>, 3)" in str(job)
        assert repr(pool) == "<trio_pool.SlotPool: 1 worker, 1 job>"


async def test_in_a_pool_of_slots_all_arguments_are_shown() -> None:
    async with open_pool(1) as pool:
        pool.workers[0].pause()
        job = await pool.submit(trio.sleep, 2.5)
        assert shown(job) == "sleep(2.5)"
        job.cancel()


async def test_arguments_are_looked_at_only_when_somebody_reads_them() -> None:
    class Counts:
        asked = 0

        def __repr__(self) -> str:
            self.asked += 1
            return "counts"

    async def works(resource: object, argument: Counts) -> None:
        await trio.lowlevel.checkpoint()

    argument = Counts()
    async with open_pool(A) as pool:
        job = await pool.submit(works, argument)
        await job.wait()
        assert argument.asked == 0
        assert "works(counts)" in repr(job)
        assert "works(counts)" in repr(job)
    assert argument.asked == 1


# Where they are shown


async def everything_said(**options: Any) -> tuple[Watchers, list[str]]:
    """Let a pool say as much as it can about jobs without names; returns who was told, and the texts."""
    watchers = Watchers()
    said: list[str] = []

    async def waits(resource: object, url: str) -> None:
        try:
            async with pool.open_group(reserve=2):
                pass
        except (JobDeadlockError, ValueError) as error:
            said.append(str(error))
        await trio.sleep(1)

    async with open_pool(A, instruments=watchers.instruments, on_dead="keep", name="P", **options) as pool:
        watchers.watch(pool)
        running = await pool.submit(waits, PAGE)
        dies = await pool.submit(fetch, PAGE)
        behind = await pool.submit(fetch, PAGE, after=[dies])
        await running.wait_started()
        said += [*watchers.live(pool), repr(running), repr(pool.workers[0]), repr(dies), repr(behind)]
        with pytest.raises(AssertionError) as unsettled:
            assert_settled(pool)
        with pytest.raises(NoEligibleWorkerError) as refused:
            await pool.submit(fetch, PAGE, requires=["gpu"])
        await pool.join()
        with pytest.raises(JobFailedError) as failed:
            dies.result()
        with pytest.raises(JobCancelledError) as discarded:
            behind.result()
        said += [str(each.value) for each in (unsettled, refused, failed, discarded)]
        said += [behind.reason, *watchers.live(pool), *watchers.log()]
    return watchers, said


CALL = f"fetch('{PAGE}')"


async def test_messages_the_log_and_the_live_view_show_them(autojump_clock: MockClock) -> None:
    _, said = await everything_said()
    for text in (
        f"job 2 ({CALL}) is dead after 1 attempt: no attempts left; last error: OSError: gone",
        f"job 3 ({CALL}) was discarded: it waited for fetch, which is dead",
        f"no worker of the pool can ever run the job {CALL}, which asks for the tags 'gpu'",
        f"job 2 ({CALL}) is submitted",
    ):
        assert text in said
    assert [line for line in said if f"1 everything_said.<locals>.waits('{PAGE}')" in line]  # in the live view
    assert [line for line in said if f"2 {CALL}" in line and "dead: OSError" in line]


async def test_a_deadlock_is_told_with_them(autojump_clock: MockClock) -> None:
    async def parent(resource: object, url: str) -> None:
        await pool.run(fetch, url)

    async with open_pool(A) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, PAGE)
    text = str(caught.value.__cause__)
    assert f"parent('{PAGE}') would wait forever for {CALL}: " in text
    assert f"parent('{PAGE}') (on A)" in text
    assert "current_job().lend()" in text


async def test_the_records_of_the_log_have_them_as_an_attribute(autojump_clock: MockClock) -> None:
    watchers, _ = await everything_said()
    [death] = watchers.records("job_dead")
    assert (vars(death)["job_name"], vars(death)["job_arguments"]) == ("fetch", repr(PAGE))


async def test_records_of_jobs_with_names_have_no_such_attribute(autojump_clock: MockClock) -> None:
    watchers = Watchers()
    async with open_pool(A, instruments=watchers.instruments, on_dead="keep") as pool:
        await pool.submit(fetch, PAGE, name="the page")
    [death] = watchers.records("job_dead")
    assert "job_arguments" not in vars(death)


async def test_the_timeline_shows_them(autojump_clock: MockClock) -> None:
    watchers, _ = await everything_said()
    assert [attempt.name for attempt in watchers.attempts()][1:] == [CALL]
    assert PAGE in watchers.page()


async def test_telemetry_goes_by_functions_and_names(autojump_clock: MockClock) -> None:
    watchers, _ = await everything_said()
    assert {span.name for span in watchers.spans("attempt fetch")} == {"attempt fetch"}
    [span, _] = watchers.spans("job fetch")
    assert span.attributes is not None
    assert (span.attributes["trio_pool.job.name"], span.attributes["trio_pool.job.function"]) == ("fetch", "fetch")
    assert PAGE not in str(watchers.metrics.get_metrics_data())


async def test_nothing_shows_them_where_they_are_nobodys_business(autojump_clock: MockClock) -> None:
    watchers, said = await everything_said(show_arguments=False)
    assert "job 2 (fetch) is dead after 1 attempt: no attempts left; last error: OSError: gone" in said
    told = [*said, watchers.page(), *map(str, watchers.attempts())]
    told += [str(vars(record)) for record in watchers.records("job_dead")]
    told += [span.to_json() for span in (*watchers.spans("job"), *watchers.spans("attempt"))]
    assert not [text for text in told if PAGE in text]


async def test_requeued_jobs_and_those_of_groups_and_streams_show_none_there_either() -> None:
    jobs: list[Job[Any]] = []

    class Watch(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            jobs.append(job)

    async with open_pool(A, instruments=[Watch()], on_dead="keep", show_arguments=False) as pool:
        dead = await pool.submit(fetch, PAGE, priority=3)
        await pool.join()
        pool.dead.requeue(dead, priority=2)
        async with pool.open_group() as group:
            await group.submit(fetch, PAGE)
        async with pool.as_completed(fetch, [PAGE]) as ended:
            async for _ in ended:
                pass
        await pool.submit_graph({"node": Node(fetch, PAGE)})
        await pool.join()
    assert [shown(job) for job in jobs] == ["fetch", "fetch", "fetch", "fetch", "node"]


async def test_a_job_of_a_graph_is_called_by_its_key_whatever_that_is() -> None:
    class Key:
        def __str__(self) -> str:
            raise ValueError

    key = Key()
    async with open_pool(A, on_dead="keep") as pool:
        jobs = await pool.submit_graph({("page", 17): Node(fetch, PAGE), key: Node(fetch)})
        assert [job.name for job in jobs.values()] == ["('page', 17)", "<its text can't be read>"]
        await pool.join()


async def test_a_job_that_asks_for_itself_shows_its_call() -> None:
    async def names(resource: object, url: str) -> str:
        return repr(current_job())

    async with open_pool(A) as pool:
        assert f"names('{PAGE}'), running on A" in await pool.run(names, PAGE)


@pytest.mark.parametrize("value", [None, 1, "no"])
def test_whether_to_show_them_is_a_bool(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^show_arguments must be a bool, got"):
        open_pool(A, show_arguments=value)
