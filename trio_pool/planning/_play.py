"""One replay: the recorded jobs in a pool with its own clock."""

from __future__ import annotations

from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import trio

from .._api.open_pool import open_pool
from .._api.pool import Instrument
from .._basics.exceptions import leaves
from .._core.admission import Door
from .._model.errors import JobCancelledError, JobFailedError, NoEligibleWorkerError, PoolClosedError, PoolError
from .._runtime.notify import InnerEvents
from ._conductor import LAST, LATE, THREAD, Conductor, ReplayClock
from ._jobs import JobOptionsOf, Performer
from ._script import Cursor, Script, is_end
from ._setup import Setup
from ._values import number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._api.job_group import JobGroup
    from .._api.pool import Pool, SlotPool
    from .._model.handles import Job, Worker
    from .._model.statistics import PoolStatistics
    from ._script import Contents, Line, ThreadScript

_SCRIPT = "script"  # in the metadata of leases, whose jobs have no arguments
_REFUSED = (PoolClosedError, NoEligibleWorkerError)


class Outcome:
    """The outcome of a replay."""

    def __init__(self, elapsed: float, statistics: PoolStatistics, watch: Watch, explanation: str) -> None:
        self.elapsed = elapsed
        self.statistics = statistics
        self.waiting = watch.waiting
        self.total = watch.total
        self.explanation = explanation


class Watch(Instrument, InnerEvents):
    """Watches a replay.

    Arguments:
      setup: receives the worker that enters its lifespan.
      came: called with each job that has entered the pool, and its script.
    """

    def __init__(self, setup: Setup, came: Callable[[Job[Any], Script], None]) -> None:
        self._setup = setup
        self._came = came
        self.opened_at = self.closed_at = 0.0
        self.waiting: list[float] = []
        self.total: list[float] = []

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        self.opened_at = trio.current_time()

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        self.closed_at = trio.current_time()

    def job_submitted(self, job: Job[Any]) -> None:
        self._came(job, job.args[0] if job.args else job.metadata[_SCRIPT])

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        if not job._attempts:
            self.waiting.append(trio.current_time() - job.submitted_at)

    def job_finished(self, job: Job[Any]) -> None:
        self.total.append(trio.current_time() - job.submitted_at)

    def _session(self, worker: Worker, step: str) -> None:
        self._setup.entering = worker


class Player:
    """Plays a recording.

    Arguments:
      contents: the recording.
      conductor: lets time pass.
      setup: the replay's pool.
    """

    def __init__(self, contents: Contents, conductor: Conductor, setup: Setup) -> None:
        self._contents = contents
        self._conductor = conductor
        self._setup = setup
        self._scripts = {script.id: script.copy() for script in contents.scripts.values()}
        self._workers: dict[int, Worker] = {}
        self._options = JobOptionsOf(self._workers, self._scripts)
        self._specs: dict[tuple[int, str], Any] = {}
        self._perform = Performer(conductor, contents, setup, self._follow)
        self._groups: dict[int, JobGroup[Any]] = {}
        self._group_comes: dict[int, trio.Event] = {}
        self._streams: dict[int, Any] = {}
        self._pool: Pool[Any]
        self._nursery: trio.Nursery
        # With a single task, nothing else can happen at the same instant.
        self._is_alone = len(contents.threads) == 1 and not any(each.threads for each in self._scripts.values())

    async def play(self) -> Outcome:
        """Play the recording from beginning to end."""
        setup = self._setup
        watch = Watch(setup, self._came)
        instruments = (watch, *setup.options.pop("instruments", ()))
        opening: Any = open_pool
        block: AbstractAsyncContextManager[Pool[Any]] = opening(
            setup.resources, **setup.options, instruments=instruments
        )
        contents, scope = self._contents, trio.CancelScope()
        # If anything is changed, it is unknown when the pool would be cancelled.
        is_broken_off = contents.broken_off is not None and setup.is_unchanged
        if contents.broken_off is not None and not is_broken_off:
            for script in self._scripts.values():
                script.go_on_after(contents.broken_off)
        try:
            with scope:
                async with block as pool:
                    self._pool = pool
                    self._note_workers(pool.workers)
                    if contents.broken_off is not None and is_broken_off:
                        self._conductor.call_at(self._conductor.now + contents.broken_off, (LAST, 0), scope.cancel)
                    async with trio.open_nursery() as self._nursery:
                        self._begin()
                    if contents.waits:
                        await pool.join()
                    await self._conductor.until(self._conductor.now + contents.tail, (LATE, 0))
                    if is_broken_off and not contents.body_has_ended:
                        await trio.sleep_forever()
        except Exception as error:
            if not all(isinstance(leaf, PoolError) for leaf in leaves(error)):
                raise
        elapsed = watch.closed_at - watch.opened_at
        return Outcome(elapsed, self._pool.statistics(), watch, self._pool.explain())  # noqa: ASYNC910  # not for users

    def _note_workers(self, workers: tuple[Worker, ...]) -> None:
        """Record which worker represents which worker of the recording."""
        if workers and not self._setup.is_elastic:
            recorded = self._contents.workers
            if self._setup.has_recorded_workers:
                recorded = recorded[: self._contents.opened_with]
            self._workers.update((data["id"], workers[at % len(workers)]) for at, data in enumerate(recorded))

    def _begin(self) -> None:
        """Start the tasks that repeat what the tasks of the program did."""
        arrivals: list[tuple[float, int, Script]] = []
        for thread in self._contents.threads:
            gap, order, first = thread.steps[0]
            if len(thread.steps) > 1 or not isinstance(first, Script) or "group" in first.line:
                self._nursery.start_soon(self._follow, thread)
            else:
                arrivals.append((gap, order, first))
        if arrivals:
            arrivals.sort(key=lambda arrival: arrival[:2])
            self._nursery.start_soon(self._let_come, arrivals)

    # What the tasks of the program did.

    async def _let_come(self, arrivals: list[tuple[float, int, Script]]) -> None:  # noqa: ASYNC910  # not for users
        """Submit jobs that came by themselves, each from a task of its own."""
        began = self._conductor.now
        for at, order, script in arrivals:
            await self._conductor.until(began + at, (THREAD, order))
            self._submit(self._scripts[script.id])

    async def _follow(self, thread: ThreadScript) -> None:
        """Do what a task did, one call after another."""
        await self._take_steps(Cursor(thread.steps), None)

    async def _take_steps(self, steps: Cursor, end: Line | None) -> None:  # noqa: ASYNC910  # not for users
        """Take steps, up to the one that ends the enclosing block."""
        conductor = self._conductor
        rank = (THREAD, 0)
        for gap, order, what in steps:
            rank = (THREAD, order)
            if gap or not self._is_alone:
                await conductor.until(conductor.now + gap, rank)
            if isinstance(what, Script):
                await self._come(self._scripts[what.id])
            elif is_end(what, end):
                return  # noqa: ASYNC910  # not for users
            elif "read" in what:
                await self._read(what, rank)
            elif what["do"] == "group":
                await self._in_group(what, steps)
            elif what["do"] == "stream":
                await self._in_stream(what, steps, rank[1])
            elif what["do"] not in ("end_group", "leave_stream"):
                await self._act(what)
        if end is not None and end.get("do") == "leave_stream":  # the recording ends inside the block
            await self._read({"read": end["stream"], "pauses": repeat(0.0)}, rank)

    async def _in_group(self, what: Line, steps: Cursor) -> None:  # noqa: ASYNC910  # not for users
        """Open a group, and repeat what was done in its block."""
        key, end = what["group"], {"do": "end_group", "group": what["group"]}
        reserve = min(what["reserve"], int(min(self._pool._engine.core.most_places, 1e9)))
        options: dict[str, Any] = {"name": what["name"], "must_succeed": what["must_succeed"]}
        block = self._pool.open_group(max_running=number(what["max_running"]), reserve=reserve, **options)
        is_over = False
        try:
            async with block as group:
                self._groups[key] = group
                self._group_comes.setdefault(key, trio.Event()).set()
                await self._take_steps(steps, end)
                is_over = True
        except Exception as error:
            if not all(isinstance(leaf, PoolError) for leaf in leaves(error)):
                raise
        self._group_comes.setdefault(key, trio.Event()).set()
        self._groups.pop(key, None)
        if not is_over:  # its body was cancelled
            steps.skip_to(end)

    async def _in_stream(self, what: Line, steps: Cursor, order: int) -> None:  # noqa: ASYNC910  # not for users
        """Open a stream, and repeat what was done in its block."""
        key, end = what["stream"], {"do": "leave_stream", "stream": what["stream"]}
        scripts = [self._scripts[script.id] for script in self._contents.streams.get(key, ())]
        target: Any = self._target(scripts[0]) if scripts else self._pool
        call = target.map if what["ordered"] else target.as_completed
        with suppress(PoolClosedError):
            block = call(self._perform, self._items(scripts, order), buffer=number(what["buffer"]),
                         **self._stream_options(scripts))  # fmt: skip
            async with block as self._streams[key]:
                await self._take_steps(steps, end)

    def _items(self, scripts: list[Script], order: int) -> Any:
        """The items of a stream: the scripts of its jobs, yielded at the recorded times."""
        if not any("took" in script.line for script in scripts):
            return scripts
        conductor = self._conductor

        async def take() -> AsyncGenerator[Script]:  # noqa: ASYNC911  # not for users
            for script in scripts:
                if "took" in script.line:
                    await conductor.until(conductor.now + script.line["took"], (LATE, order))
                yield script  # noqa: ASYNC911  # not for users

        return take()

    def _stream_options(self, scripts: list[Script]) -> dict[str, Any]:
        """The options of a stream's jobs: values that are the same for all, or functions of the item."""
        kinds = {repr((script.line.get("options"), script.line["name"])) for script in scripts}
        afters = any("after" in script.line for script in scripts)
        if len(kinds) <= 1 and not afters:
            return self._options.of(scripts[0]) if scripts else {}
        names = {name for script in scripts for name in self._options.of(script)}
        return {name: partial(self._option_of, name) for name in names}

    def _option_of(self, name: str, script: Script) -> Any:
        return self._options.of(script).get(name)

    async def _read(self, what: Line, rank: tuple[int, int]) -> None:  # noqa: ASYNC910  # not for users
        """Read from a stream, with the recorded pauses."""
        stream = self._streams.get(what["read"])
        if stream is None:  # the recording lacks its beginning
            return  # noqa: ASYNC910  # not for users
        pauses = what["pauses"] if "pauses" in what else repeat(0.0, what["times"])
        with suppress(StopAsyncIteration, trio.ClosedResourceError):
            for pause in pauses:
                if pause or not self._is_alone:
                    await self._conductor.until(self._conductor.now + pause, rank)
                with suppress(JobFailedError, JobCancelledError, *_REFUSED):
                    await anext(stream)

    # Jobs come.

    async def _come(self, script: Script) -> None:  # noqa: ASYNC910  # not for users
        """Submit a job; wait while the queue is full."""
        group = script.line.get("group")
        if group is not None:
            await self._group_comes.setdefault(group, trio.Event()).wait()
        job = self._submit(script)
        if job is not None:
            with suppress(*_REFUSED):
                await self._pool._engine.submitters.wait_for_place(job)

    def _submit(self, script: Script) -> Job[Any] | None:
        """Submit a job; return it if it waits for a place in the queue."""
        if script.line.get("options", {}).get("lease"):
            self._nursery.start_soon(self._hold, script)
            return None
        target = self._target(script)
        with suppress(*_REFUSED):
            job = target._make_job(self._perform, (script,), self._spec(script, target))
            if target._goes_straight(job):
                return None
            if "after" in script.line and "entered" not in script.line:
                target._check_open(inside=True)
                target._engine.submitters.let_in(job, Door.ALWAYS)  # a graph has come as a whole
            elif target._lines_up(job):
                target._engine.submitters.call_when_placed(job, lambda _: None)
                return job
        return None

    def _target(self, script: Script) -> Pool[Any] | JobGroup[Any]:
        return self._groups.get(script.line.get("group", 0), self._pool)

    def _spec(self, script: Script, target: Any) -> Any:
        """The checked options of a job; kept, since most jobs have the same."""
        if "after" in script.line:
            return target._resolve(self._options.of(script), "submit")
        key = (id(target), repr((script.line.get("options"), script.line["name"])))
        spec = self._specs.get(key)
        if spec is None:
            spec = self._specs[key] = target._resolve(self._options.of(script), "submit")
        return spec

    async def _hold(self, script: Script) -> None:  # noqa: ASYNC910  # not for users
        """Hold a resource for as long as the caller of ``acquire`` did."""
        options = self._options.of(script)
        for name in ("retry", "attempt_timeout", "after", "hedge"):
            options.pop(name, None)
        timeout = options.pop("total_timeout", None)
        rank = (THREAD, script.id)
        with suppress(PoolError, trio.TooSlowError):
            async with self._target(script).acquire(timeout=timeout, metadata={_SCRIPT: script}, **options):
                _, (_, seconds, how) = script.begin(is_further=False)
                await self._conductor.until(self._conductor.now + seconds, rank)
                if how == "error":
                    raise PoolError("as recorded")

    def _came(self, job: Job[Any], script: Script) -> None:
        """Record that a job has entered. If its caller cancelled it, the replay cancels it after the same time."""
        script.job = job
        if script.is_cancelled_alone:
            self._conductor.call_at(job.submitted_at + script.line["lasted"], (LATE, script.id), job.cancel)

    # What the program did with workers and with the pool.

    async def _act(self, what: Line) -> None:  # noqa: ASYNC910  # not for users
        """Pause, resume, rest, reopen, add or remove."""
        do = what["do"]
        if do in ("add", "remove") and not self._setup.has_recorded_workers:
            return  # noqa: ASYNC910  # not for users
        if do == "add":
            self._nursery.start_soon(self._add, what["worker"])
            return  # noqa: ASYNC910  # not for users
        worker = self._worker_of(what["worker"]) if "worker" in what else None
        if "worker" in what and worker is None:
            return  # noqa: ASYNC910  # not for users
        subject: Any = self._pool if worker is None else worker
        if do == "rest":
            subject.rest(what["seconds"])
        elif do == "remove":
            await subject.remove(cancel=what["cancel"])
        else:
            getattr(subject, do)()

    def _worker_of(self, number_: int) -> Worker | None:
        if not self._setup.is_elastic:
            return self._workers.get(number_)
        return next((worker for worker in self._pool.workers if worker.id == number_), None)

    async def _add(self, data: Line) -> None:  # noqa: ASYNC910  # not for users
        with suppress(OSError, RuntimeError, PoolClosedError):
            self._workers[data["id"]] = await self._pool.add(self._setup.resource(data, data["name"]))


def replay_of(contents: Contents, workers: int | None, seed: int, changes: Mapping[str, Any]) -> Outcome:
    """Play a recording in a Trio run of its own."""
    clock = ReplayClock()

    async def run() -> Outcome:
        conductor = Conductor(clock)
        outcome: Outcome | None = None
        player = Player(contents, conductor, Setup(contents, conductor, workers, seed, changes))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conductor.run)
            with conductor.scope:
                outcome = await player.play()
            nursery.cancel_scope.cancel()
        if outcome is None:
            raise RuntimeError("the replay stands still: nothing in it would ever happen again")
        return outcome

    # Nothing of the caller's context belongs to the replay.
    try:
        return Context().run(partial(trio.run, run, clock=clock))
    except Exception as error:  # raised by the caller's functions, in groups of nurseries
        raise leaves(error)[0] from None
