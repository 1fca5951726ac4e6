"""What type checkers make of the public interface: checked by them, and run as tests too."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.threads import in_trios_thread
from trio_pool import (
    Attempt,
    CircuitBreaker,
    Discard,
    Elastic,
    GiveUp,
    Hedge,
    Job,
    JobGroup,
    JobOptions,
    JobState,
    KeyStatistics,
    Lease,
    Node,
    PerKey,
    Pool,
    PoolStatistics,
    Progress,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    SharedRateLimit,
    SlotJobGroup,
    SlotPool,
    StreamOptions,
    Transition,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import Faults, Flaky, chaos, explore

if TYPE_CHECKING:
    from typing_extensions import Unpack, assert_type
else:

    def assert_type(value: object, kind: object) -> object:
        """As `typing.assert_type`, which Python 3.10 has not."""
        return value


AnyLimit: TypeAlias = RateLimit | SharedRateLimit
AnyLimits: TypeAlias = AnyLimit | tuple[AnyLimit, ...] | None


class Client:
    """A resource."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def size(self, url: str) -> int:
        return len(url)


class Session:
    """What the lifespan of a client yields."""

    def __init__(self, client: Client) -> None:
        self.client = client


@asynccontextmanager
async def open_session(client: Client) -> AsyncGenerator[Session]:
    yield Session(client)


async def fetch(client: Client, url: str) -> bytes:
    return f"{client.token}{url}".encode()


async def fetch_within(session: Session, url: str, *, timeout: float = 1.0) -> float:
    return timeout


async def add(left: int, right: int) -> int:
    return left + right


async def nothing() -> None: ...


async def count(most: int) -> AsyncIterator[int]:
    for number in range(most):
        yield number


async def test_run_gives_the_result_type_of_its_function() -> None:
    async with open_pool([Client("a")]) as pool:
        assert_type(pool, Pool[Client])
        body = assert_type(await pool.run(fetch, "/"), bytes)
    assert body == b"a/"


async def test_submit_gives_a_job_of_the_functions_result_type() -> None:
    async with open_pool([Client("a")]) as pool:
        job = assert_type(await pool.submit(fetch, "/", total_timeout=60), Job[bytes])
        at_once = assert_type(pool.submit_nowait(fetch, "/", idle_only=False, name="at once"), Job[bytes])
        assert_type(await at_once.wait(), bytes)
        assert assert_type(await job.wait(), bytes) == b"a/"
    assert assert_type(job.result(), bytes) == b"a/"


async def test_map_iterates_over_results() -> None:
    async with open_pool([Client("a")]) as pool:
        bodies = pool.map(fetch, ["/", "//"], priority=1)
        assert_type(bodies, AbstractAsyncContextManager[AsyncIterator[bytes]])
        async with bodies as stream:
            found = [assert_type(body, bytes) async for body in stream]
    assert found == [b"a/", b"a//"]


async def test_as_completed_iterates_over_jobs() -> None:
    async with open_pool([Client("a")]) as pool:
        jobs = pool.as_completed(fetch, ("/",), buffer=3)
        assert_type(jobs, AbstractAsyncContextManager[AsyncIterator[Job[bytes]]])
        async with jobs as stream:
            found = [assert_type(job, Job[bytes]).result() async for job in stream]
    assert found == [b"a/"]


async def test_map_takes_async_iterables() -> None:
    async with open_pool(2) as pool, pool.map(partial(add, 1), count(3)) as sums:
        assert [assert_type(number, int) async for number in sums] == [1, 2, 3]


async def test_acquire_yields_what_jobs_get() -> None:
    async with open_pool([Client("a")]) as pool:
        lease = assert_type(pool.acquire(timeout=3, requires=[], name="mine", uses={"x": 1}), Lease[Client])
        async with lease as client:
            assert_type(client, Client)
            job = assert_type(lease.job, Job[None])
            assert_type(job.worker, Worker | None)
        async with pool.open_group() as group, group.acquire(priority=1) as client:
            assert_type(client, Client)
    async with open_pool([Client("a")], lifespan=open_session) as sessions, sessions.acquire() as session:
        assert_type(session, Session)
    async with open_pool(1) as slots, slots.open_group() as of_slots:
        async with assert_type(slots.acquire(), Lease[None]) as nothing:
            assert_type(nothing, None)
        assert_type(of_slots.acquire(worker=slots.workers[0]), Lease[None])


class Page:
    """An item."""

    def __init__(self, rank: int, url: str) -> None:
        self.rank = rank
        self.url = url


async def fetch_page(client: Client, page: Page) -> bytes:
    return await fetch(client, page.url)


async def sizes(page: Page) -> int:
    return len(page.url)


async def pages() -> AsyncGenerator[Page]:
    yield Page(1, "/")


def rank_of(page: Page) -> float:
    return page.rank


async def test_options_of_a_stream_may_be_functions_of_the_item() -> None:
    items = [Page(2, "/"), Page(1, "//")]
    async with open_pool([Client("a")]) as pool:
        bodies = pool.map(fetch_page, items, priority=lambda page: assert_type(page, Page).rank, buffer=float("inf"))
        async with assert_type(bodies, AbstractAsyncContextManager[AsyncIterator[bytes]]) as stream:
            assert [body async for body in stream] == [b"a/", b"a//"]
        async with pool.as_completed(
            fetch_page,
            pages(),
            retry=lambda page: RetryPolicy(max_attempts=page.rank),
            attempt_timeout=rank_of,
            total_timeout=lambda page: page.rank + 1.5,
            requires=lambda page: [page.url] if page.rank > 1 else (),
            worker=lambda page: pool.workers[0] if page.rank else None,
            name=lambda page: page.url,
            metadata=lambda page: {"rank": page.rank},
            hedge=lambda page: Hedge(page.rank) if page.rank > 1 else None,
            key=lambda page: page.url,
            after=lambda page: [],
        ) as jobs:
            assert [assert_type(job, Job[bytes]).name async for job in jobs] == ["/"]
        async with pool.open_group() as group, group.map(fetch_page, (page for page in items), name=str) as stream:
            assert [assert_type(body, bytes) async for body in stream] == [b"a/", b"a//"]
    async with open_pool(1) as slots:
        async with slots.map(sizes, items, priority=lambda page: page.rank, name=None) as stream_of_sizes:
            assert [assert_type(size, int) async for size in stream_of_sizes] == [1, 2]
        async with slots.as_completed(sizes, items, priority=rank_of) as ended:
            assert sorted([assert_type(job, Job[int]).result() async for job in ended]) == [1, 2]


def map_pages(pool: Pool[Client], **options: Unpack[StreamOptions[Page]]) -> AbstractAsyncContextManager[Any]:
    """What a program may make of it."""
    return pool.map(fetch_page, [Page(1, "/")], **options)


def map_with_options(pool: Pool[Client], **options: Unpack[JobOptions]) -> AbstractAsyncContextManager[Any]:
    """Options of a job are options of a stream."""
    return pool.map(fetch_page, [Page(1, "/")], **options)


async def test_options_can_be_handed_on() -> None:
    async with open_pool([Client("a")]) as pool:
        for stream in (map_pages(pool, priority=rank_of, name="page"), map_with_options(pool, priority=1, name="page")):
            async with stream as bodies:
                assert [body async for body in bodies] == [b"a/"]


async def test_resources_may_be_described() -> None:
    described = [Resource(Client("a"), name="a", tags=["fast"])]
    async with open_pool(described) as pool:
        assert_type(pool, Pool[Client])
        assert assert_type(await pool.run(fetch, "/", requires=["fast"]), bytes) == b"a/"


async def test_jobs_get_what_the_lifespan_yields() -> None:
    async with open_pool([Client("a")], lifespan=open_session) as pool:
        assert_type(pool, Pool[Session])
        assert assert_type(await pool.run(fetch_within, "/"), float) == 1.0


async def test_lifespans_take_the_values_of_described_resources() -> None:
    async with open_pool([Resource(Client("a"), name="a")], lifespan=open_session) as pool:
        assert_type(pool, Pool[Session])
        assert assert_type(await pool.run(fetch_within, "/"), float) == 1.0


async def test_jobs_of_an_elastic_pool_get_what_the_factory_yields() -> None:
    elastic = Elastic(partial(open_session, Client("a")), max=2, tags=["fast"])
    assert_type(elastic, Elastic[Session])
    async with open_pool(elastic, max_queue=5) as pool:
        assert_type(pool, Pool[Session])
        assert assert_type(await pool.run(fetch_within, "/", requires=["fast"]), float) == 1.0


async def test_an_elastic_pool_can_be_described_where_it_is_opened() -> None:
    async with open_pool(Elastic(lambda: open_session(Client("a")), min=1, max=2, idle_timeout=1)) as pool:
        assert_type(pool, Pool[Session])
        assert assert_type(await pool.run(fetch_within, "/"), float) == 1.0


async def test_slots_hand_out_nothing() -> None:
    async with open_pool(2, max_queue=None) as pool:
        assert_type(pool, SlotPool)
        job = assert_type(await pool.submit(add, 1, 2), Job[int])
        await pool.run(nothing)
        silent = assert_type(await pool.submit(nothing), Job[None])
        assert assert_type(pool.submit_nowait(add, 1, 2).name, str) == "add"
        assert assert_type(await job.wait(), int) == 3
        await silent.wait()
        async with pool.as_completed(partial(add, 1), [1]) as jobs:
            assert [assert_type(each, Job[int]).result() async for each in jobs] == [2]
        assert_type(await pool.add(name="one more"), Worker)


async def test_a_group_has_the_types_of_its_pool() -> None:
    async with open_pool([Client("a")], lifespan=open_session) as pool:
        opened = pool.open_group(name="pages", must_succeed=True, max_running=2, reserve=1, metadata=None)
        assert_type(opened, AbstractAsyncContextManager[JobGroup[Session]])
        async with opened as group:
            assert_type(group, JobGroup[Session])
            assert assert_type(await group.run(fetch_within, "/"), float) == 1.0
            job = assert_type(await group.submit(fetch_within, "/", total_timeout=60), Job[float])
            assert_type(group.submit_nowait(fetch_within, "/", after=[job]), Job[float])
            async with group.map(fetch_within, ["/"]) as times:
                assert [assert_type(time, float) async for time in times] == [1.0]
            async with group.as_completed(fetch_within, ["/"], buffer=1) as jobs:
                assert [assert_type(each, Job[float]).result() async for each in jobs] == [1.0]
            assert assert_type(group.statistics(), PoolStatistics).name == group.name
            assert assert_type(pool.groups, tuple[JobGroup[Any] | SlotJobGroup, ...]) == (group,)
            assert assert_type(group.metadata, dict[str, Any]) == {}
            assert_type(next(group.jobs(JobState.RUNNING), None), Job[Any] | None)
            group.close()
            await group.join()
            group.cancel()


async def test_a_group_of_slots_hands_out_nothing() -> None:
    async with open_pool(2) as pool, pool.open_group(max_running=None) as group:
        assert_type(group, SlotJobGroup)
        assert assert_type(await group.run(add, 1, 2), int) == 3
        job = assert_type(await group.submit(add, 1, 2), Job[int])
        await assert_type(group.submit_nowait(nothing, after=(job,)), Job[None]).wait()
        async with group.map(partial(add, 1), [1]) as sums:
            assert [assert_type(number, int) async for number in sums] == [2]


async def test_a_job_may_come_after_jobs_of_any_type() -> None:
    async with open_pool([Client("a")]) as pool:
        first: Job[bytes] = await pool.submit(fetch, "/")
        second: Job[int] = await pool.submit(Client.size, "/", after=[first])
        mixed: list[Job[Any]] = [first, second]
        assert assert_type(await pool.run(fetch, "/", after=mixed), bytes) == b"a/"
        assert await pool.run(fetch, "/", after={first, second}) == b"a/"


async def test_the_jobs_of_a_graph_stand_by_its_keys() -> None:
    async with open_pool([Client("a")]) as pool, pool.open_group() as group:
        nodes = {1: Node(fetch, "/"), 2: Node(Client.size, "/", after=[1], name="second", priority=1)}
        jobs = assert_type(await pool.submit_graph(nodes), dict[int, Job[Any]])
        assert await jobs[2].wait() == 1
        assert_type(
            await group.submit_graph({("a", 1): Node(fetch, "/")}, reverse=True), dict[tuple[str, int], Job[Any]]
        )


async def test_methods_of_the_resource_are_functions_of_jobs() -> None:
    async with open_pool([Client("a"), Client("b")]) as pool:
        assert assert_type(await pool.run(Client.size, "/four"), int) == 5
        async with pool.map(Client.size, ["/"]) as sizes:
            assert [assert_type(size, int) async for size in sizes] == [1]


async def test_functions_take_keyword_arguments_by_partial() -> None:
    async with open_pool([Client("a")], lifespan=open_session) as pool:
        assert assert_type(await pool.run(partial(fetch_within, timeout=2.5), "/"), float) == 2.5


async def test_job_says_what_it_is() -> None:
    async def who(_: Client) -> Job[Any]:
        return current_job()

    async with open_pool([Client("a")]) as pool:
        job = await pool.submit(who, metadata={"number": 1})
        itself = await job.wait()
    assert assert_type(itself, Job[Any]) is job
    assert assert_type(job.state, JobState) is JobState.SUCCEEDED
    assert assert_type(job.worker, Worker | None) is None
    assert_type(job.attempts, tuple[Attempt, ...])
    assert assert_type(job.metadata, dict[str, Any]) == {"number": 1}
    assert assert_type(job.progress, Progress | None) is None
    assert job.group is None
    assert assert_type(assert_type(job.history, tuple[Transition, ...])[0].reason, str) == ""
    assert assert_type(job.finished_at, float | None) is not None


async def test_a_job_of_a_kind_is_a_job_of_any_wider_kind() -> None:
    async with open_pool([Client("a")]) as pool:
        job: Job[object] = await pool.submit(fetch, "/")
        assert await job.wait() == b"a/"


async def test_limits_are_values_given_to_pools_and_resources() -> None:
    breaker = CircuitBreaker(failures=3, counts=(OSError, ValueError))
    resource = Resource(Client("a"), rate_limit=RateLimit(10.5, per=2), breaker=breaker, max_jobs=100, max_age=3600)
    async with open_pool([resource], rate_limit=RateLimit(5), retry_budget=RetryBudget(), breaker=breaker) as pool:
        assert_type(pool, Pool[Client])
        assert assert_type(pool.rate_limit, AnyLimits) == RateLimit(5, 1.0, 1)
        pool.rate_limit = None
        shared = assert_type(RateLimit(5, unit="tokens").shared(name="quota"), SharedRateLimit)
        pool.rate_limit = pool.workers[0].rate_limit = [RateLimit(5), shared]
        assert_type(pool.workers[0].rate_limit, AnyLimits)
        job = await pool.submit(fetch, "/", uses={"tokens": 5})
        await job.wait()
        assert_type(job.attempts[0].used, Mapping[str, float])
        assert_type(pool.statistics().used, Mapping[str, float])
        assert_type(await pool.add(Client("b"), rate_limit=RateLimit(1), max_jobs=float("inf")), Worker)
    async with open_pool(1, rate_limit=None, retry_budget=None, breaker=None) as slots:
        assert_type(await slots.add(breaker=breaker, max_jobs=None, max_age=float("inf")), Worker)


def rate_for(tenant: str) -> RateLimit | None:
    return RateLimit(5) if tenant == "a" else None


async def test_bounds_for_keys_are_values_or_functions_of_the_key() -> None:
    per_key = PerKey(max_running=lambda key: 3, rate_limit=rate_for, weight=2)
    async with open_pool([Client("a")], per_key=per_key) as pool:
        job = await pool.submit(fetch, "/", key="a")
        assert_type(job.key, Hashable)
        assert assert_type(pool.keys, Mapping[Hashable, KeyStatistics])["a"].running == 1
    async with open_pool(1, per_key=PerKey(rate_limit=[RateLimit(5), RateLimit(5).shared()])) as slots:
        assert_type(slots.keys, Mapping[Hashable, KeyStatistics])
    assert RetryAfter(1, rest="key").rest == "key"


async def test_a_hedge_is_a_value_given_to_jobs() -> None:
    async with open_pool([Client("a"), Client("b")]) as pool:
        assert assert_type(await pool.run(Client.size, "/", hedge=Hedge(0.5)), int) == 1
        job = await pool.submit(Client.size, "/", hedge=Hedge(after=1, extra=2))
        await job.wait()
        async with pool.map(Client.size, ["/"], hedge=None) as sizes:
            assert [size async for size in sizes] == [1]
    assert assert_type(job.attempts[0].hedges, tuple[tuple[int, str], ...]) == ()


async def test_statistics_are_typed() -> None:
    async with open_pool([Client("a")], name="clients") as pool:
        (worker,) = pool.workers
        assert assert_type(worker.state, WorkerState) is WorkerState.IDLE
        async for seen in pool.snapshots(1.0):
            assert assert_type(seen, PoolStatistics).name == "clients"
            pool.close()


async def test_on_failure_returns_a_decision() -> None:
    def decide(job: Job[Any], error: Exception) -> RetryAfter | GiveUp | Discard | ResourceBroken | None:
        return Discard("not needed") if isinstance(error, OSError) else None

    async with open_pool(1, on_failure=decide, retry=RetryPolicy.fixed(0.0)) as pool:
        job = await pool.submit(Flaky(9, result=None, error=OSError))
    assert job.state is JobState.DISCARDED


async def test_flaky_returns_its_result() -> None:
    flaky = Flaky(1, result="fine")
    assert_type(flaky, Flaky[str])
    async with open_pool([Client("a")], retry=RetryPolicy.immediate()) as pool:
        assert assert_type(await pool.run(flaky, "/"), str) == "fine"
    assert len(flaky.calls) == 2


async def test_chaos_yields_the_faults_so_far() -> None:
    async with open_pool(1) as pool:
        with chaos(pool, seed=1) as faults:
            assert assert_type(faults, Faults).incidents == ()


def test_explored_tests_have_the_parameters_of_the_test() -> None:
    async def test(number: int, *, word: str) -> None:
        async with open_pool(number, name=word):
            pass

    explored = explore(seeds=[1])(test)
    assert_type(explored(1, word="a"), None)


def test_policies_made_by_a_subclass_are_of_that_subclass() -> None:
    class Patient(RetryPolicy):
        """A policy of the program's own."""

    assert isinstance(assert_type(Patient.never(), Patient), Patient)
    assert isinstance(assert_type(Patient.fixed(1.0, max_attempts=None), Patient), Patient)


def test_a_pause_read_by_a_subclass_is_of_that_subclass() -> None:
    class Throttled(RetryAfter):
        """A pause of the program's own."""

    assert isinstance(assert_type(Throttled.parse("30", rest=True), Throttled), Throttled)
    header: str | None = {"Retry-After": "30"}.get("Retry-After")
    assert isinstance(assert_type(Throttled.parse(header, default=1.5), Throttled), Throttled)


async def test_calls_from_threads_have_the_types_of_the_function() -> None:
    async with open_pool([Client("a")]) as pool, open_pool(2) as slots:

        def call() -> None:
            assert assert_type(pool.run_from_thread(fetch, "/", priority=1), bytes) == b"a/"
            assert assert_type(pool.submit_from_thread(Client.size, "/"), Future[int]).result() == 1
            assert assert_type(slots.run_from_thread(add, 1, 2), int) == 3
            assert assert_type(slots.submit_from_thread(add, 1, 2, name="sum"), Future[int]).result() == 3

        await in_trios_thread(call)
