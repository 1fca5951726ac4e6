"""3.11: turns between keys, and their bounds, against a plain model."""

from __future__ import annotations

import math
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import Core, make_core, make_job
from tests.core.plain_keys import PlainKeys, Waiting
from tests.effort import part_of
from trio_pool import JobState, PerKey, RateLimit
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.terms import terms_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trio_pool import Job

KEYS: tuple[str | None, ...] = (None, "a", "b", "c", "d")
# Powers of two, whose sums are exact.
WEIGHTS: dict[str | None, float] = {None: 1.0, "a": 1.0, "b": 2.0, "c": 0.5, "d": 4.0}
BOUNDS: dict[str | None, float] = {None: math.inf, "a": 1, "b": 2, "c": math.inf, "d": 3}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(-1, 1)),
        st.tuples(st.just("add"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 3), st.just(0)),
        st.tuples(st.sampled_from(["retry", "front", "cancel"]), st.integers(0, 9), st.just(0)),
    ),
    max_size=60,
)


class Both:
    """A core and the model, to which the same happens."""

    def __init__(self, workers: int, *, bounded: bool, lifo: bool) -> None:
        bounds = BOUNDS if bounded else dict.fromkeys(KEYS, math.inf)
        per_key = PerKey(weight=lambda key: WEIGHTS[key], max_running=lambda key: bounds[key])
        self.core = make_core(per_key=per_key, lifo=lifo)
        for _ in range(workers):
            self.core.add_worker()
        self.model = PlainKeys(workers, WEIGHTS, bounds)
        self.jobs: dict[int, Job[Any]] = {}
        self.lifo = lifo
        self.tickets = count(1)

    def running(self) -> list[int]:
        return [name for name, job in self.jobs.items() if job.state is JobState.RUNNING]

    def waiting(self) -> list[int]:
        return [name for name, job in self.jobs.items() if job.state is JobState.QUEUED]

    def add(self, key: str | None, priority: int) -> None:
        name = len(self.jobs)
        job = self.jobs[name] = make_job(key=key, priority=priority)
        self.model.add(Waiting(priority, self.number(front=self.lifo), key, name))
        self.model.match()
        self.core.scheduler.submit(job, Door.ALWAYS, 0.0)

    def number(self, *, front: bool) -> int:
        number = next(self.tickets)
        return -number if front else number

    def end(self, name: int) -> None:
        run = self.jobs[name]._run
        assert run is not None
        self.model.end(name)
        self.core.scheduler.succeeded(run, None, 0.0)

    def retry(self, name: int, *, front: bool) -> None:
        job = self.jobs[name]
        run = job._run
        assert run is not None
        again = Waiting(int(job.priority), self.number(front=front or self.lifo), self.model.running[name], name)
        self.model.end(name, again)
        self.core.scheduler.failed(run, ValueError(), Verdict(Retry(0.0, "any", front, True)), 0.0)

    def cancel(self, name: int) -> None:
        self.model.waiting = [job for job in self.model.waiting if job.name != name]
        self.core.scheduler.cancel(self.jobs[name], 0.0)

    def check(self) -> None:
        assert sorted(self.model.running) == self.running()
        assert sorted(job.name for job in self.model.waiting) == self.waiting()
        for key in KEYS[1:]:
            record = self.core.scheduler.state.keys.known(key)  # type: ignore[union-attr]
            live = [job for job in self.jobs.values() if job.key == key and not job.state.is_final]
            counts = (0, 0) if record is None else (record.live, record.running)
            assert counts == (len(live), sum(job.state is JobState.RUNNING for job in live))


def live(steps: list[tuple[str, int, int]], both: Both) -> None:
    """Let these things happen to both, then let all jobs end."""
    for step, what, priority in steps:
        running, waiting = both.running(), both.waiting()
        if step == "add":
            both.add(KEYS[what % len(KEYS)], priority)
        elif step == "cancel" and waiting:
            both.cancel(waiting[what % len(waiting)])
        elif step in ("retry", "front") and running:
            both.retry(running[what % len(running)], front=step == "front")
        elif step == "end" and running:
            both.end(running[what % len(running)])
        both.check()
    while both.running():
        both.end(both.running()[0])
        both.check()
    keys = both.core.scheduler.state.keys
    assert keys is not None
    assert (keys.all(), keys.active, both.waiting()) == ([], 0, [])


@given(STEPS, st.integers(1, 4), st.booleans(), st.booleans())
def test_the_next_job_is_that_of_the_key_whose_turn_it_is(
    steps: list[tuple[str, int, int]], workers: int, bounded: bool, lifo: bool
) -> None:
    live(steps, Both(workers, bounded=bounded, lifo=lifo))


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("lifo", [False, True])
def test_the_next_job_is_that_of_the_key_whose_turn_it_is_in_long_lives_too(bounded: bool, lifo: bool) -> None:
    for seed in range(part_of(40)):
        rng = Random(seed)
        steps: list[tuple[str, int, int]] = []
        for _ in range(150):
            what = rng.choice(["add", "add", "add", "end", "end", "retry", "front", "cancel"])
            steps.append((what, rng.randrange(10), rng.choice([0, 0, -1, 1])))
        live(steps, Both(rng.randint(1, 4), bounded=bounded, lifo=lifo))


# One worker, whose jobs end one after the other.


def submit(core: Core, key: Hashable = None, **options: Any) -> Job[Any]:
    job = make_job(key=key, **options)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    return job


def order_of(core: Core, jobs: list[Job[Any]]) -> str:
    """The keys of these jobs in the order in which they run, one at a time."""
    keys: list[str] = []
    while running := [job for job in jobs if job.state is JobState.RUNNING]:
        (job,) = running
        keys.append("-" if job.key is None else str(job.key))
        core.succeeded(job.worker, None, 0.0)  # type: ignore[arg-type]
    return "".join(keys)


def one_worker(per_key: PerKey, **settings: Any) -> Core:
    core = make_core(per_key=per_key, **settings)
    core.add_worker()
    return core


def test_keys_get_starts_in_proportion_to_their_weights() -> None:
    core = one_worker(PerKey(weight=lambda key: 3 if key == "b" else 1))
    jobs = [submit(core, key) for key in "aaaaaaaa" + "b" * 24]
    order = order_of(core, jobs)
    assert [order[:at].count("b") for at in (4, 8, 12, 16)] == [3, 6, 9, 12]


def test_jobs_without_a_key_share_one_turn_of_weight_one() -> None:
    core = one_worker(PerKey(weight=2))
    jobs = [submit(core, key) for key in [None] * 4 + ["a"] * 6]
    assert order_of(core, jobs) == "-aa-aa-aa-"


def test_a_key_that_comes_back_has_saved_nothing_up() -> None:
    core = one_worker(PerKey())
    jobs = [submit(core, "a") for _ in range(10)]
    for _ in range(5):
        core.succeeded(jobs[0].worker or core.roster.by_id[1], None, 0.0)
    jobs += [submit(core, "b") for _ in range(4)]
    assert order_of(core, jobs[5:]) == "abababab" + "a"


def test_an_urgent_job_is_charged_to_its_key() -> None:
    core = one_worker(PerKey())
    first = submit(core)
    jobs = [submit(core, key) for key in "aaabb"] + [submit(core, "a", priority=-1) for _ in range(2)]
    assert order_of(core, [first, *jobs]) == "-" + "aa" + "bb" + "aaa"


@pytest.mark.parametrize("lifo", [False, True])
def test_a_retried_job_that_goes_to_the_front_goes_before_the_others_of_its_key_only(lifo: bool) -> None:
    core = one_worker(PerKey(), lifo=lifo)
    jobs = [submit(core, key) for key in "aab"]
    core.failed(core.roster.by_id[1], ValueError(), Verdict(Retry(0.0, "any", True, True)), 0.0)
    assert [job.state for job in jobs] == [JobState.QUEUED, JobState.QUEUED, JobState.RUNNING]
    core.succeeded(core.roster.by_id[1], None, 0.0)
    assert jobs[0].state is JobState.RUNNING


def test_a_key_at_its_bound_saves_nothing_up_meanwhile() -> None:
    core = make_core(per_key=PerKey(max_running=lambda key: 1 if key == "a" else None))
    workers = [core.add_worker() for _ in range(2)]
    jobs = [submit(core, key) for key in "a" * 6 + "b" * 12]
    for _ in range(6):
        core.succeeded(jobs[6].worker or workers[1], None, 0.0)
    assert [job.state for job in jobs[:2]] == [JobState.RUNNING, JobState.QUEUED]
    core.scheduler.depart(workers[1], 0.0)
    core.succeeded(workers[1], None, 0.0)
    core.scheduler.left(workers[1], 0.0)
    assert order_of(core, jobs) == "aaa" + "ba" * 3 + "bb"


def test_a_worker_that_looks_for_a_job_itself_gets_that_of_the_same_key() -> None:
    core = one_worker(PerKey())
    for key in "aab":
        submit(core, key)
    queue = core.scheduler.state.queue
    worker = core.roster.by_id[1]
    assert [job._options.key for job in iter(lambda: queue.take(worker), None)] == ["b", "a"]


# No free worker stands beside a job that it may take and all limits allow.

TAGS: tuple[tuple[str, ...], ...] = ((), (), ("x",), ("y",))
LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 2**12)),
        st.tuples(st.just("submit"), st.integers(0, 2**12)),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["rest", "bounce", "cancel", "pass"]), st.integers(0, 9)),
    ),
    max_size=50,
)


class Beside:
    """A core whose workers, jobs, groups and keys differ."""

    def __init__(self, max_queue: float) -> None:
        limit = RateLimit(1, per=3, burst=2, unit="u")
        per_key = PerKey(max_running=lambda key: BOUNDS[key], rate_limit=lambda key: limit if key == "c" else None)
        self.core = make_core(per_key=per_key, no_worker="wait", max_queue=max_queue)
        for tags in ((), ("x",), ("x", "y")):
            self.core.add_worker(*tags)
        self.groups = [self.core.open_group(max_running=1), None, None]
        self.jobs: list[Job[Any]] = []
        self.now = 0.0

    def submit(self, number: int) -> None:
        job = make_job(
            now=self.now,
            key=KEYS[number % 5],
            priority=number // 5 % 2,
            requires=TAGS[number // 10 % 4],
            group=self.groups[number // 40 % 3],
            uses={"u": 2} if number // 120 % 3 == 0 else {},
        )
        self.jobs.append(job)
        self.core.scheduler.submit(job, Door.QUEUE_UP, self.now)

    def in_states(self, *states: JobState | None) -> list[Job[Any]]:
        return [job for job in self.jobs if job._state in states]

    def fail(self, job: Job[Any], verdict: Verdict) -> None:
        assert job._run is not None
        self.core.scheduler.failed(job._run, ValueError(), verdict, self.now)

    def step(self, what: str, number: int) -> None:
        running = self.in_states(JobState.RUNNING)
        waiting = self.in_states(JobState.QUEUED, JobState.DELAYED)
        if what == "submit":
            self.submit(number)
        elif what == "pass":
            self.now += number / 2
            self.core.scheduler.advance(self.now)
        elif what == "cancel" and waiting:
            self.core.scheduler.cancel(waiting[number % len(waiting)], self.now)
        elif running and what in ("end", "rest", "bounce"):
            job = running[number % len(running)]
            if what == "rest":
                self.fail(job, Verdict(Retry(2.0, "any", False, True), key_rest=2.0))
            elif what == "bounce":
                self.fail(job, Verdict(Retry(0.0, "other", False, True)))
            else:
                assert job._run is not None
                self.core.scheduler.succeeded(job._run, None, self.now)
        self.core.begin(self.now)

    def check(self) -> None:
        idle = self.core.roster.idle()
        for job in self.in_states(JobState.QUEUED, None):
            terms, record = terms_of(job), job._key
            assert record is not None
            if job not in self.core.scheduler.state.waiting_line.line and job._state is None:
                continue  # it has been refused
            may_start = not record.is_closed_to(terms.units) and not self.core.roster.is_closed(terms)
            assert not (may_start and [worker for worker in idle if self.core.roster.admits(terms, worker)])
        for key in KEYS:
            running = [job for job in self.in_states(JobState.RUNNING) if job.key == key]
            assert len(running) <= BOUNDS[key]


@given(LIVES, st.sampled_from([math.inf, 2, 0]))
def test_no_free_worker_stands_beside_a_job_that_it_may_take(steps: list[tuple[str, int]], max_queue: float) -> None:
    beside = Beside(max_queue)
    for what, number in steps:
        beside.step(what, number)
        beside.check()


@pytest.mark.parametrize("max_queue", [math.inf, 2, 0])
def test_no_free_worker_stands_beside_a_job_that_it_may_take_in_long_lives_either(max_queue: float) -> None:
    for seed in range(part_of(60)):
        rng = Random(seed)
        beside = Beside(max_queue)
        for _ in range(150):
            what = rng.choice(["submit", "submit", "submit", "end", "end", "rest", "bounce", "cancel", "pass"])
            beside.step(what, rng.randrange(2**12 if what == "submit" else 10))
            beside.check()
