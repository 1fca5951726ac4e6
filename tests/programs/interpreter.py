"""Runs the statements of a program against a real pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, NoReturn

import attrs
import trio

from tests.programs import language as lang
from tests.programs.items import source_of
from tests.programs.raising import in_words, is_among, leaves
from tests.programs.world import Errand, GroupBook, JobBook, Usable, World, has_rudeness, token
from trio_pool import (
    CircuitBreaker,
    Hedge,
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobNotFinishedError,
    JobState,
    Node,
    NoEligibleWorkerError,
    PoolClosedError,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    current_job,
)

ORDINARY = (JobFailedError, JobCancelledError, JobDeadlockError, PoolClosedError, NoEligibleWorkerError)
"""What the pool may tell those who call it."""

BY_DESIGN = (
    "would wait for ever",  # join() by a job of the pool or the group
    "can't be removed by the job that runs on it",
    "was removed before it had started",
    "reserve must be at most",
)


MOST_REMOVALS = 6
"""So many workers are removed at most."""


class Odd:
    """What a job's function returns: no other is the same."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand


@attrs.define(eq=False)
class Frame:
    """Where a statement is executed: one for each task."""

    world: World
    # Where jobs are submitted.
    to: Any
    group: GroupBook | None = None
    # The job that it is part of, if any, and what that uses.
    book: JobBook | None = None
    usable: Usable | None = None
    run: int = 0
    # How many shields are around it, and the scopes that it has opened.
    shields: int = 0
    scopes: tuple[trio.CancelScope, ...] = ()
    handles: list[Job[Any]] = attrs.field(factory=list[Job[Any]])

    def inner(self, **changes: Any) -> Frame:
        """The same within something."""
        return attrs.evolve(self, **changes)


class OwnCurve(RetryPolicy):
    """A policy with delays of its own."""

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        return 0.25 * failed


class Interpreter:
    """Executes blocks of statements."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ways: dict[type[lang.Statement], Callable[[Frame, Any], Coroutine[Any, Any, None]]] = {
            lang.Sleep: self._sleep,
            lang.Raise: self._raise,
            lang.Submit: self._submit,
            lang.Run: self._run,
            lang.Graph: self._graph,
            lang.Wait: self._wait,
            lang.Cancel: self._cancel,
            lang.Stream: self._stream,
            lang.Scope: self._scope,
            lang.CancelEnclosing: self._cancel_enclosing,
            lang.Nursery: self._nursery,
            lang.Group: self._group,
            lang.Lend: self._lend,
            lang.Try: self._try,
            lang.Finally: self._finally,
            lang.Staff: self._staff,
            lang.Ask: self._ask,
        }

    async def block(self, frame: Frame, block: lang.Block) -> None:
        """Execute statements one after another."""
        for statement in block:
            await self._ways[type(statement)](frame, statement)
            book = frame.book
            if book is not None and frame.usable is not None and not book.lent:
                self.world.look(frame.usable, book.job, f"after {statement!r}")

    # The functions of jobs.

    async def of_resource(self, usable: Usable, errand: Errand) -> Odd:
        """The function of the jobs of a pool with resources."""
        return await self._perform(usable, errand)

    async def of_slot(self, errand: Errand) -> Odd:
        """The function of the jobs of a pool of slots."""
        # Of several workers that run it, only the first is known.
        usable = Usable("a slot") if errand.call.hedge else self.world.usable_of_slot(current_job().worker)
        return await self._perform(usable, errand)

    async def _perform(self, usable: Usable, errand: Errand) -> Odd:
        world, job = self.world, current_job()
        book = world.books[job]
        if book.errand is not errand:
            world.fail(f"context: current_job() of {errand} is {job!r}")
        if token.get() != errand.token:
            world.fail(f"context: {job!r} sees {token.get()} in place of {errand.token}")
        token.set(-1)
        world.take(usable, job, "at its start")
        book.runs += 1
        book.active += 1
        now = trio.current_time()
        world.starts.setdefault(None, []).append(now)
        if errand.call.hedge is None:
            world.starts.setdefault(job.worker, []).append(now)
            if book.active > 1:
                world.fail(f"exclusive: {job!r} runs twice at once")
        frame = Frame(world, world.pool, book=book, usable=usable, run=book.runs)
        if errand.group is not None and not errand.group.handle.closed_for_good:
            frame.to, frame.group = errand.group.handle.handle, errand.group
        try:
            await self.block(frame, errand.call.does)
            value = Odd(errand)
            book.returned.append(value)
            return value
        except BaseException as error:
            book.raised.append(error)
            world.note(error)
            if has_rudeness(error):
                world.ends("a job's function raised what is no Exception")
            raise
        finally:
            book.active -= 1
            if usable.user is not job:
                world.fail(f"exclusive: at its end, {job!r} has lost {usable.name} to {usable.user!r}")
            world.give(usable, job)

    @property
    def _fn(self) -> Callable[..., Coroutine[Any, Any, Odd]]:
        return self.of_slot if self.world.program.setup.slots else self.of_resource

    def options_of(self, call: lang.Call) -> dict[str, Any]:
        """The keyword arguments of a call."""
        options: dict[str, Any] = {}
        if call.retry is not None:
            options["retry"] = self.policy(call.retry)
        setup = self.world.program.setup
        timeouts = (call.attempt_timeout, call.total_timeout, setup.attempt_timeout, setup.total_timeout)
        self.world.cancellations += any(timeout is not None for timeout in timeouts)
        if call.attempt_timeout is not None:
            options["attempt_timeout"] = call.attempt_timeout
        if call.total_timeout is not None:
            options["total_timeout"] = call.total_timeout
        if call.priority:
            options["priority"] = call.priority
        if call.requires:
            options["requires"] = call.requires
        workers = self.world.pool.workers
        if call.worker is not None and workers:
            options["worker"] = workers[call.worker % len(workers)]
        if call.hedge is not None:
            self.world.cancellations += 1  # of those that lose, and of what they wait for
            options["hedge"] = Hedge(call.hedge[0], extra=call.hedge[1])
        return options

    def _after(self, call: lang.Call) -> dict[str, Any]:
        jobs = list(self.world.books)
        if not call.after or not jobs:
            return {}
        return {"after": [jobs[-1 - number % len(jobs)] for number in call.after]}

    # Making the values that the pool takes.

    def rate(self, rate: lang.Rate | None) -> RateLimit | None:
        """A limit."""
        return None if rate is None else RateLimit(rate.count, rate.per, rate.burst)

    def policy(self, policy: lang.Policy) -> RetryPolicy:
        """A retry policy."""
        kind = {"plain": RetryPolicy, "own": OwnCurve}.get(policy.curve) or self._bad_curve(policy.curve)
        return kind(
            max_attempts=policy.max_attempts,
            base_delay=policy.delay,
            multiplier=policy.multiplier,
            jitter=policy.jitter,
            placement=policy.placement,
            front=policy.front,
            retry_on=self._rule(policy.retry_on),
        )

    def _bad_curve(self, curve: str) -> type[RetryPolicy]:
        world = self.world

        class Bad(RetryPolicy):
            def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
                if curve == "raises":
                    raise world.raising("os")
                return math.nan

        return Bad

    def _rule(self, rule: str) -> Any:
        def raises(_: Exception) -> bool:
            raise self.world.raising("os")

        return {
            "all": Exception,
            "value": ValueError,
            "function": lambda error: isinstance(error, ValueError),  # pyright: ignore[reportUnknownLambdaType]
            "raises": raises,
            "nonsense": lambda _: 1,  # pyright: ignore[reportUnknownLambdaType]
        }[rule]

    def breaker(self, breaker: lang.Breaker | None) -> CircuitBreaker | None:
        """A circuit breaker."""
        if breaker is None:
            return None
        return CircuitBreaker(
            breaker.failures, breaker.reset_after, breaker.max_reset_after, self._rule(breaker.counts)
        )

    def resource(self, device: lang.Device, key: int) -> Resource[Any]:
        """A resource: what its lifespan is called with, or what jobs get where there is none."""
        value: Any = (device, key) if self.world.program.setup.lifespan else Usable(f"device {key}", device)
        return Resource(
            value,
            tags=device.tags,
            rate_limit=self.rate(device.rate),
            breaker=self.breaker(device.breaker),
            max_jobs=device.max_jobs,
            max_age=device.max_age,
        )

    # What the pool may tell.

    @contextmanager
    def told(self, frame: Frame, what: str, *, loud: bool = False, of: Sequence[Job[Any]] = ()) -> Generator[None]:
        """Call the pool: let pass what it may say, and note what it may not."""
        world, book = self.world, frame.book
        if book is not None:
            book.waiting += 1
        try:
            yield
        except trio.Cancelled:
            if trio.current_effective_deadline() > -math.inf:
                world.fail(f"cancelled: out of {what}, though no scope around it is cancelled")
            raise
        except trio.WouldBlock:
            pass
        except ORDINARY as error:
            if isinstance(error, JobFailedError):
                self._check_death(error, what)
            if isinstance(error, JobDeadlockError):
                self._check_deadlock(frame, error, what, of)
            if loud:
                world.note(error)
                raise
        except (RuntimeError, ValueError) as error:
            if type(error) in (RuntimeError, ValueError) and any(words in str(error) for words in BY_DESIGN):
                return
            self._unforeseen(error, what)
        except Exception as error:
            self._unforeseen(error, what)
        finally:
            if book is not None:
                book.waiting -= 1

    def _unforeseen(self, error: Exception, what: str) -> NoReturn:
        if not self.world.has_raised(error):
            cause = error.__cause__
            self.world.fail(f"unforeseen: {what} raised {in_words(error)}, {cause and in_words(cause)}")
        raise error

    def _check_death(self, error: JobFailedError, what: str) -> None:
        if error.job.state is not JobState.DEAD:
            self.world.fail(f"outcome: {what} says that {error.job!r} is dead")
        self.world.deal_with(error.job)

    def _check_deadlock(self, frame: Frame, error: JobDeadlockError, what: str, of: Sequence[Job[Any]]) -> None:
        world = self.world
        world.deadlocks += 1
        if frame.book is None:
            world.fail(f"deadlock: {what} outside of all jobs raised {in_words(error)}")
        if of and all(self._gets_on(job) for job in of):
            world.fail(f"deadlock: {what} raised {in_words(error)}, though {list(of)!r} gets on")

    def _gets_on(self, job: Job[Any]) -> bool:
        """Whether a job certainly doesn't wait for others of the pool."""
        book = self.world.books.get(job)
        return book is not None and job.state is JobState.RUNNING and bool(book.active) and not (book.waiting or book.lent)

    # Statements that have nothing to do with the pool.

    async def _sleep(self, frame: Frame, sleep: lang.Sleep) -> None:
        await self.world.sleep(sleep.seconds, shielded=frame.shields > 0)

    async def _raise(self, frame: Frame, statement: lang.Raise) -> None:
        await trio.lowlevel.checkpoint()
        # What doesn't count would be tried again for ever.
        times = statement.times or (3 if statement.kind == "again for nothing" else math.inf)
        if frame.run <= times:
            if statement.kind == "broken":
                self.world.breakages += 1
            raise self.world.raising(statement.kind)

    async def _scope(self, frame: Frame, statement: lang.Scope) -> None:
        deadline = math.inf if statement.deadline is None else trio.current_time() + statement.deadline
        scope = trio.CancelScope(deadline=deadline, shield=statement.shield)
        if statement.deadline is not None:
            self.world.cancellations += 1
        inner = frame.inner(scopes=(scope, *frame.scopes), shields=frame.shields + statement.shield)
        with self.world.scope(scope):
            await self.block(inner, statement.body)
        await trio.lowlevel.checkpoint()

    async def _cancel_enclosing(self, frame: Frame, statement: lang.CancelEnclosing) -> None:
        if frame.scopes:
            self.world.cancellations += 1
            frame.scopes[statement.depth % len(frame.scopes)].cancel()
        await trio.lowlevel.checkpoint()

    async def _nursery(self, frame: Frame, statement: lang.Nursery) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for task in statement.tasks:
                    inner = frame.inner(handles=frame.handles.copy(), scopes=(nursery.cancel_scope, *frame.scopes))
                    nursery.start_soon(self._child, inner, task)
        finally:
            self.world.cancellations += 1  # of the other tasks, if one has failed

    async def _child(self, frame: Frame, block: lang.Block) -> None:
        """A task in a nursery: Trio itself wants to print what comes out of one."""
        try:
            await self.block(frame, block)
        except Exception as error:
            if in_words(error).startswith("<"):
                raise self.world.raising("value") from None
            raise

    async def _try(self, frame: Frame, statement: lang.Try) -> None:
        try:
            await self.block(frame, statement.body)
        except BaseException as error:
            of_scope = any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
            caught = {"errors": not of_scope, "cancellation": of_scope, "all": True}[statement.catches]
            if not caught or has_rudeness(error):
                raise
            if statement.raises:
                raise self.world.raising(statement.raises) from None
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _finally(self, frame: Frame, statement: lang.Finally) -> None:
        try:
            await self.block(frame, statement.body)
        finally:
            await self.world.clean_up(statement.seconds)

    # Submitting, and waiting for jobs.

    def _place(self, frame: Frame, to_pool: bool) -> tuple[Any, GroupBook | None]:
        return (self.world.pool, None) if to_pool else (frame.to, frame.group)

    async def _submit(self, frame: Frame, statement: lang.Submit) -> None:
        if self.world.has_enough():
            return
        to, group = self._place(frame, statement.to_pool)
        errand = self.world.errand(statement.call, group)
        with self.told(frame, "submit"):
            options = self.options_of(statement.call) | self._after(statement.call)
            if statement.how == "submit":
                job = await to.submit(self._fn, errand, **options)
            else:
                job = to.submit_nowait(self._fn, errand, idle_only=statement.how == "idle only", **options)
            frame.handles.append(job)
            if job not in self.world.books:
                self.world.fail(f"events: {job!r} was not announced")
            if statement.how == "idle only" and job.state is JobState.QUEUED:
                self.world.fail(f"outcome: {job!r} is queued, though it was to start at once or not at all")
        await trio.lowlevel.checkpoint()

    async def _run(self, frame: Frame, statement: lang.Run) -> None:
        if self.world.has_enough():
            return
        to, group = self._place(frame, statement.to_pool)
        errand = self.world.errand(statement.call, group)
        try:
            with self.told(frame, "run", loud=statement.loud):
                options = self.options_of(statement.call) | self._after(statement.call)
                value = await to.run(self._fn, errand, **options)
                self._check_value(value, errand)
        finally:
            for book in self.world.books_of(errand):
                book.dealt_with = True
                if book.active or not book.job.state.is_final:
                    self.world.fail(f"outcome: run() has ended before {book.job!r}")

    def _check_value(self, value: object, errand: Errand) -> None:
        for book in self.world.books_of(errand):
            if any(value is each for each in book.returned):
                return
        self.world.fail(f"outcome: {errand.number} was told {value!r}")

    async def _graph(self, frame: Frame, statement: lang.Graph) -> None:
        if self.world.has_enough():
            return
        to, group = self._place(frame, statement.to_pool)
        nodes: dict[int, Node] = {}
        # All of them see the context of the one call.
        errands = [self.world.errand(call, group) for call in statement.calls]
        for number, (call, errand) in enumerate(zip(statement.calls, errands, strict=True)):
            errand.token = errands[-1].token
            behind = statement.behind[number] if number < len(statement.behind) else ()
            earlier = sorted({each % number for each in behind}) if number else []
            nodes[number] = Node(self._fn, errand, after=earlier, **self.options_of(call))
        with self.told(frame, "submit_graph"):
            jobs = await to.submit_graph(nodes, reverse=statement.reverse)
            frame.handles += jobs.values()

    def _picked(self, frame: Frame, number: int, of_any: bool) -> Job[Any] | None:
        jobs: Sequence[Job[Any]] = list(self.world.books) if of_any else frame.handles
        return jobs[-1 - number % len(jobs)] if jobs else None

    async def _wait(self, frame: Frame, statement: lang.Wait) -> None:
        job = self._picked(frame, statement.job, statement.of_any)
        if job is None:
            await trio.lowlevel.checkpoint()
            return
        book = self.world.books[job]
        with self.told(frame, "wait", loud=statement.loud, of=[job]):
            if statement.until == "start":
                await job.wait_started()
                if not (book.started or job.state.is_final):
                    self.world.fail(f"outcome: {job!r} has not started")
                return
            try:
                value = await job.wait()
            except JobCancelledError:
                if job.state not in (JobState.CANCELLED, JobState.DISCARDED):
                    self.world.fail(f"outcome: {job!r} is told to be cancelled")
                raise
            if job.state is not JobState.SUCCEEDED or job.result() is not value:
                self.world.fail(f"outcome: {job!r} is told to have succeeded")
            self._check_value(value, book.errand)

    async def _cancel(self, frame: Frame, statement: lang.Cancel) -> None:
        job = self._picked(frame, statement.job, statement.of_any)
        if job is not None:
            self.world.cancellations += 1
            job.cancel()
            if not job.state.is_final and job.state is not JobState.RUNNING:
                self.world.fail(f"outcome: {job!r} was cancelled and has not ended")
            try:
                job.result()
            except JobNotFinishedError:
                pass
            except (JobFailedError, JobCancelledError):
                self.world.deal_with(job)
        await trio.lowlevel.checkpoint()

    # Streams.

    async def _stream(self, frame: Frame, statement: lang.Stream) -> None:
        world = self.world
        if world.has_enough():
            return
        to, group = self._place(frame, statement.to_pool)
        first = world.errand(statement.call, group)
        errands: list[Errand] = []

        def next_errand() -> Errand:
            errand = world.errand(statement.call, group) if errands else first
            token.set(first.token)  # the generator runs in a context that jobs don't see
            errand.token = first.token
            errands.append(errand)
            return errand

        source = source_of(world, statement.items, next_errand)
        method = to.map if statement.kind == "map" else to.as_completed
        seen: list[object] = []
        try:
            with self.told(frame, f"the block of {statement.kind}", loud=True):
                options = self.options_of(statement.call)
                manager = method(self._fn, source, buffer=statement.buffer, **options)
            entered = False
            with self._around(frame, statement.kind):
                async with manager as results:
                    entered = True
                    if statement.readers == 1:
                        await self._read(frame, statement, results, errands, seen)
                    else:
                        async with trio.open_nursery() as nursery:
                            for _ in range(statement.readers):
                                inner = frame.inner(handles=frame.handles.copy())
                                nursery.start_soon(self._read_apart, inner, statement, results, errands, seen)
        finally:
            world.cancellations += 1  # of what is left
            for errand in errands:
                for book in world.books_of(errand):
                    if entered:
                        book.dealt_with = True
                        if book.active or not book.job.state.is_final:
                            world.fail(f"outcome: a block of {statement.kind} was left before the end of {book.job!r}")

    @contextmanager
    def _around(self, frame: Frame, kind: str) -> Generator[None]:
        """Around the block of a stream: what the body raises comes out, and a closed pool is told on entering."""
        try:
            yield
        except PoolClosedError:
            pass
        except Exception as error:
            if not self.world.has_raised(error):
                self.world.fail(f"unforeseen: the block of {kind} raised {in_words(error)}")
            raise

    async def _read_apart(self, frame: Frame, *args: Any) -> None:
        """One of several readers, in a task as above."""
        try:
            await self._read(frame, *args)
        except Exception as error:
            if in_words(error).startswith("<"):
                raise self.world.raising("value") from None
            raise

    async def _read(
        self, frame: Frame, statement: lang.Stream, results: Any, errands: list[Errand], seen: list[object]
    ) -> None:
        world = self.world
        read = 0
        # It ends of itself: each turn takes an item, or is the end.
        while statement.reads is None or read < statement.reads:
            over = True
            number = len(seen)
            with self._reading(frame, statement):
                try:
                    if frame.book is not None:
                        frame.book.waiting += 1
                    try:
                        value = await anext(results)
                    finally:
                        if frame.book is not None:
                            frame.book.waiting -= 1
                except StopAsyncIteration:
                    return
                except (JobFailedError, JobCancelledError):
                    over = False
                    seen.append(None)
                    raise
                over = False
                seen.append(value)
                if statement.kind == "as_completed":
                    self._check_completed(value, seen, errands)
                elif statement.readers == 1:
                    self._check_value(value, errands[number])
            if over:
                return
            read += 1
            if read > len(errands) + 3:
                world.fail(f"outcome: {statement.kind} gave more results than there were items")
                return
            await self.block(frame, statement.each)

    @contextmanager
    def _reading(self, frame: Frame, statement: lang.Stream) -> Generator[None]:
        try:
            yield
        except trio.Cancelled:
            if trio.current_effective_deadline() > -math.inf:
                self.world.fail("cancelled: out of a stream, though no scope around it is cancelled")
            raise
        except ORDINARY as error:
            if isinstance(error, JobFailedError):
                self._check_death(error, statement.kind)
            if isinstance(error, JobDeadlockError):
                self._check_deadlock(frame, error, statement.kind, ())
            if statement.loud:
                self.world.note(error)
                raise
        except trio.ClosedResourceError:
            if statement.readers == 1:
                self.world.fail("outcome: the block of a stream has not been left yet")
        except Exception as error:
            if not self._is_of_items(error, statement):
                self.world.fail(f"unforeseen: {statement.kind} raised {in_words(error)}")
            if statement.loud:
                self.world.note(error)
                raise

    def _is_of_items(self, error: Exception, statement: lang.Stream) -> bool:
        items = statement.items
        if self.world.has_raised(error):
            return True
        # A cancellation of its own ends the items by an error of the pool's choice, and so does a stray one.
        cancelled = items.around in ("scope", "each", "nursery") or items.failure.startswith("stray")
        return isinstance(error, RuntimeError) and cancelled

    def _check_completed(self, job: Job[Any], seen: list[object], errands: list[Errand]) -> None:
        self.world.deal_with(job)
        if not job.state.is_final:
            self.world.fail(f"outcome: as_completed gave {job!r}")
        if sum(each is job for each in seen) > 1:
            self.world.fail(f"outcome: as_completed gave {job!r} twice")
        if not any(job.args[-1] is errand for errand in errands):
            self.world.fail(f"outcome: as_completed gave {job!r}, which is none of its own")

    # Groups and lending.

    async def _group(self, frame: Frame, statement: lang.Group) -> None:
        world = self.world
        holder = Handle()
        bound = statement.max_running or math.inf
        book = GroupBook(holder, bound, statement.must_succeed, statement.reserve)
        manager: Any = None
        with self.told(frame, "open_group"):
            manager = world.pool.open_group(
                must_succeed=statement.must_succeed, max_running=statement.max_running, reserve=statement.reserve
            )
        if manager is None:
            return
        if frame.book is not None:
            frame.book.waiting += 1
        body_error: BaseException | None = None
        try:
            async with manager as group:
                holder.handle = group
                world.groups.append(book)
                if frame.book is not None:
                    frame.book.waiting -= 1
                try:
                    await self.block(frame.inner(to=group, group=book), statement.body)
                except BaseException as error:
                    body_error = error
                    raise
                finally:
                    if frame.book is not None:
                        frame.book.waiting += 1
        except BaseException as error:
            self._check_group(frame, statement, body_error, error)
        finally:
            holder.closed_for_good = True
            world.cancellations += 1  # of its jobs, if anything has failed
            if frame.book is not None:
                frame.book.waiting -= 1
            for each in world.books.values():
                if each.errand.group is book and (each.active or not each.job.state.is_final):
                    world.fail(f"outcome: a group was left before the end of {each.job!r}")

    def _check_group(
        self, frame: Frame, statement: lang.Group, body_error: BaseException | None, error: BaseException
    ) -> None:
        """Check what comes out of a group's block; what is ordinary goes no further, unless it is to."""
        world = self.world
        if error is body_error:
            raise error
        if isinstance(error, trio.Cancelled):
            if trio.current_effective_deadline() > -math.inf:
                world.fail("cancelled: out of a group, though no scope around it is cancelled")
            raise error
        deaths = [leaf for leaf in leaves(error) if isinstance(leaf, JobFailedError)]
        for death in deaths:
            self._check_death(death, "a group")
        of_body = [] if body_error is None else leaves(body_error)
        if body_error is not None and all(is_among(leaf, of_body) for leaf in leaves(error)):
            raise error  # a group loses the cancellations of the group's own scope
        rest = [leaf for leaf in leaves(error) if leaf not in deaths and not is_among(leaf, of_body)]
        if rest and all(isinstance(leaf, trio.Cancelled) for leaf in rest):
            if trio.current_effective_deadline() > -math.inf:
                world.fail("cancelled: out of a group, though no scope around it is cancelled")
            raise error
        if deaths and statement.must_succeed and not rest:
            if body_error is not None and not all(isinstance(leaf, trio.Cancelled) for leaf in of_body):
                world.note(error)
                raise error  # with what the body raised
        elif isinstance(error, JobDeadlockError):
            self._check_deadlock(frame, error, "a group", ())
        elif isinstance(error, PoolClosedError):
            pass
        else:
            world.fail(f"unforeseen: a group's block raised {in_words(error)} after {body_error!r}")
            raise error
        if statement.loud:
            world.note(error)
            for leaf in leaves(error):
                world.note(leaf)
            raise error

    async def _lend(self, frame: Frame, statement: lang.Lend) -> None:
        book, usable = frame.book, frame.usable
        if book is None or usable is None or book.lent or book.errand.call.hedge is not None:
            await self.block(frame, statement.body)
            return
        job = book.job
        inside: BaseException | None = None
        book.lent = True
        self.world.give(usable, job)
        try:
            async with job.lend():
                try:
                    await self.block(frame, statement.body)
                except BaseException as error:
                    inside = error
                    raise
                finally:
                    book.waiting += 1
        except ResourceBroken as error:
            if error is inside:
                raise
            if not self.world.breakages:
                self.world.fail("unforeseen: the end of lend() says that the resource is broken")
            if statement.loud:
                self.world.note(error)
                raise
        except BaseException as error:
            if error is not inside and not (
                isinstance(error, trio.Cancelled) and trio.current_effective_deadline() == -math.inf
            ):
                self.world.fail(f"unforeseen: lend() raised {in_words(error)}")
            raise
        finally:
            book.lent = False
            book.waiting = max(0, book.waiting - 1)
            self.world.take(usable, job, "at the end of lend()")

    # Workers, and the whole pool.

    async def _staff(self, frame: Frame, statement: lang.Staff) -> None:
        world = self.world
        workers: tuple[Worker, ...] = world.pool.workers
        worker = workers[statement.worker % len(workers)] if workers else None
        if statement.what == "add":
            await self._add(frame, statement.device)
        elif worker is None:
            pass
        elif statement.what == "pause":
            pause(world, worker, statement.seconds)
        elif statement.what == "rest":
            worker.rest(statement.seconds)
        elif statement.what == "break":
            break_a_lifespan(world, statement.worker)
        else:
            remove(world, worker, cancel=statement.what == "remove now")
        await trio.lowlevel.checkpoint()

    async def _add(self, frame: Frame, device: lang.Device) -> None:
        world = self.world
        setup = world.program.setup
        if len(world.pool.workers) >= 6:
            return
        key = next(world.numbers)
        try:
            with self.told(frame, "add"):
                if setup.slots:
                    await world.pool.add(tags=device.tags)
                elif setup.elastic is None:
                    await world.pool.add(self.resource(device, key))
        except Exception as error:
            if not world.has_raised(error):
                raise

    async def _ask(self, frame: Frame, statement: lang.Ask) -> None:
        world, number = self.world, statement.number
        pool, what = world.pool, statement.what
        if what == "look":
            self.look()
        elif what in ("close group", "cancel group"):
            if frame.group is not None:
                world.cancellations += 1
                frame.to.close() if what == "close group" else frame.to.cancel()
        elif what == "join group":
            if frame.group is not None:
                with self.told(frame, "join"):
                    await frame.to.join()
        elif what == "close":
            pool.close()
        elif what == "cancel":
            cancel_pool(world)
        elif what == "join":
            with self.told(frame, "join"):
                await pool.join()
        elif what == "pop":
            for job in pool.dead.pop_all():
                world.deal_with(job)
        elif what == "requeue":
            self._requeue(frame)
        elif what == "max_running":
            world.max_running = max(world.max_running, number)
            pool.max_running = number
            world.max_running = number
        elif what == "rate":
            world.rate_changed = True
            pool.rate_limit = RateLimit(number, burst=number)
        elif what == "retry":
            pool.retry = RetryPolicy(max_attempts=number, base_delay=0.5, jitter="none")
        else:
            pool.on_failure = None
        await trio.lowlevel.checkpoint()

    def _requeue(self, frame: Frame) -> None:
        world = self.world
        for job in world.pool.dead:
            if not world.has_enough() and job in world.pool.dead:
                world.errands += 1
                errand: Errand = job.args[-1]
                # It sees the context of this call.
                before = token.get()
                token.set(errand.token)
                with self.told(frame, "requeue"):
                    world.pool.dead.requeue(job)
                    world.deal_with(job)
                token.set(before)

    def look(self) -> None:
        """Look at everything, and check that it agrees."""
        world, pool = self.world, self.world.pool
        seen = pool.statistics()
        under_way = seen.blocked + seen.queued + seen.delayed + seen.running
        ended = seen.succeeded + seen.dead + seen.cancelled + seen.discarded
        if seen.submitted != under_way + ended:
            world.fail(f"books: {seen}")
        live = list(pool.jobs())
        if len(live) != under_way:
            world.fail(f"books: {len(live)} jobs, and {seen}")
        texts = [repr(pool), str(seen), *map(repr, pool.workers), *map(repr, live), repr(pool.dead)]
        for worker in pool.workers:
            texts.append(repr(worker.statistics()))
        for group in world.groups:
            if not group.handle.closed_for_good:
                texts.append(repr(group.handle.handle))
                str(group.handle.handle.statistics())
        if not all(texts):
            world.fail("books: something has no words")


@attrs.define(eq=False)
class Handle:
    """A group as the program has it, once its block has been entered."""

    handle: Any = None
    closed_for_good: bool = False


def cancel_pool(world: World) -> None:
    """Cancel the whole pool."""
    if world.pool is not None:
        world.pool_cancelled = True
        world.ends("the pool was cancelled")
        world.pool.cancel()


def pause(world: World, worker: Worker, seconds: float) -> None:
    """Pause a worker for a while."""

    async def resume() -> None:
        await trio.sleep(seconds)
        worker.resume()

    worker.pause()
    world.start_outside(resume)


def remove(world: World, worker: Worker, *, cancel: bool) -> None:
    """Let somebody remove a worker."""

    async def removing() -> None:
        try:
            await worker.remove(cancel=cancel)
        except BaseException as error:
            if not isinstance(error, trio.Cancelled) and not world.has_raised(error):
                world.fail(f"unforeseen: remove raised {in_words(error)}")
            if isinstance(error, trio.Cancelled):
                raise

    # Or a job that removes its own worker would go on for ever.
    if world.removals < MOST_REMOVALS:
        world.removals += 1
        world.breakages += 1
        world.start_outside(removing)


def break_a_lifespan(world: World, which: int) -> None:
    """Let a lifespan end by itself."""
    usables = [usable for usable in world.usables if not usable.left]
    if usables:
        world.breakages += 1
        usables[which % len(usables)].scope.cancel()


def call_later(function: Callable[..., None], *args: Any) -> Callable[[], None]:
    """A function without arguments."""
    return partial(function, *args)
