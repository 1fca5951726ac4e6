"""What must hold after a program has run."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import trio

from tests.programs.language import Call, Group, Items, Program, Rate, parts_of
from tests.programs.raising import in_words, is_among, leaves
from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    DeadReason,
    JobDeadlockError,
    JobFailedError,
    JobState,
    JobTimeoutError,
    PoolClosedError,
    PoolError,
    ResourceBroken,
)
from trio_pool._model.states import TRANSITIONS

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from tests.programs.world import JobBook, World

SLACK = 1e-6


def check(world: World, log: Sequence[logging.LogRecord]) -> None:
    """Note what is wrong after a program has run to its end."""
    _check_end(world)
    for book in world.books.values():
        _check_job(world, book)
    _check_books(world)
    _check_resources(world)
    _check_rates(world)
    raised = _check_error(world) if world.was_open else _check_opening(world)
    _check_log(world, log, raised)


def may_last(program: Program) -> bool:
    """Whether a program may wait forever, as the design has it."""
    waits_for_workers = program.setup.no_worker == "wait"
    return waits_for_workers or any(isinstance(part, Group) and part.reserve for part in parts_of(program.body))


def _check_end(world: World) -> None:
    if world.is_slow and not may_last(world.program):
        world.fail(f"slow: {world.is_slow}")
    since = world.ending_since
    if since < math.inf and world.was_open:
        allowed = sum(max(0.0, end - max(start, since)) for start, end in world.tails)
        if world.ended_at - since > allowed + SLACK:
            world.fail(
                f"late: {world.ending_for} at {since:.3f}, and it ended at {world.ended_at:.3f}, "
                f"with {allowed:.3f} s of clean-up"
            )


def _check_job(world: World, book: JobBook) -> None:
    job, state = book.job, book.job.state
    if not state.is_final:
        world.fail(f"lost: {job!r}")
        return
    if book.finished != 1 or book.started != book.ended or book.active or job.worker is not None:
        world.fail(f"events: {job!r} has {book.finished} ends, {book.started} starts, {book.ended} ends of attempts")
    _check_history(world, book)
    # A late value counts, unless the resource is broken.
    if book.returned and state is not JobState.SUCCEEDED and not world.breakages:
        world.fail(f"outcome: {job!r} has returned a value")
    if state is JobState.SUCCEEDED and not any(job.result() is value for value in book.returned):
        world.fail(f"outcome: the result of {job!r} is none that it returned")
    if state is JobState.CANCELLED and not (world.cancellations or world.deadlocks or world.breakages):
        world.fail(f"outcome: nobody has cancelled {job!r}")
    if state is JobState.DEAD:
        _check_reason(world, book)
    for attempt in job.attempts:
        _check_attempt(world, book, attempt)


def _check_history(world: World, book: JobBook) -> None:
    history = book.job.history
    if not history:
        if world.program.setup.history:
            world.fail(f"history: {book.job!r} has none")
        return
    if len(history) < 128:
        before: JobState | None = None
        for transition in history:
            if transition.state not in TRANSITIONS[before]:
                world.fail(f"history: {book.job!r} went from {before} to {transition.state}")
            before = transition.state
    if sum(transition.state.is_final for transition in history) != 1 or history[-1].state is not book.job.state:
        world.fail(f"history: {book.job!r} has {history}")
    if any(one.at > other.at for one, other in pairwise(history)):
        world.fail(f"history: {book.job!r} goes back in time")


def _check_reason(world: World, book: JobBook) -> None:
    setup, call, reason = world.program.setup, book.errand.call, book.job.dead_reason
    possible = {
        DeadReason.ATTEMPTS_EXHAUSTED: bool(book.job.attempt_count),
        DeadReason.NOT_RETRYABLE: bool(book.started),
        DeadReason.GAVE_UP: bool(book.started),
        # The deadline of whoever waits in run() may be why no retry is waited for.
        DeadReason.TIMED_OUT: not (
            call.total_timeout is None and setup.total_timeout is None and book.job.deadline == math.inf
        ),
        DeadReason.NO_WORKER: _may_lack_workers(world, call),
        DeadReason.BUDGET_EXHAUSTED: setup.budget is not None,
    }
    if reason is None or not possible[reason]:
        world.fail(f"outcome: {book.job!r} is dead for {reason}")


def _may_lack_workers(world: World, call: Call) -> bool:
    """Whether there may be no worker for a job."""
    setup = world.program.setup
    if call.requires or call.worker is not None or not world.was_open:
        return True
    gives_up = setup.reopening is not None and world.breakages
    return setup.elastic is None and bool(world.removed or gives_up)


def _check_attempt(world: World, book: JobBook, attempt: Attempt) -> None:
    setup, call, error = world.program.setup, book.errand.call, attempt.error
    if attempt.ended_at < attempt.started_at:
        world.fail(f"attempts: {attempt}")
    if error is None or is_among(error, book.raised):
        return
    if isinstance(error, AttemptTimeoutError):
        if call.attempt_timeout is None and setup.attempt_timeout is None:
            world.fail(f"attempts: {book.job!r} has no attempt timeout, but {in_words(error)}")
    elif isinstance(error, JobTimeoutError):
        if call.total_timeout is None and setup.total_timeout is None:
            world.fail(f"attempts: {book.job!r} has no total timeout, but {in_words(error)}")
    elif isinstance(error, ResourceBroken):
        if not world.breakages:
            world.fail(f"attempts: nothing is broken, but {book.job!r} has {in_words(error)}")
    elif isinstance(error, RuntimeError) and error.__cause__ is not None:
        # A cancellation of somebody else.
        if not is_among(error.__cause__, book.raised):
            world.fail(f"attempts: {book.job!r} has {in_words(error)} from {in_words(error.__cause__)}")
    else:
        # A group without the cancellations of scopes around the attempt.
        known = [leaf for each in book.raised for leaf in leaves(each)]
        if not all(is_among(leaf, known) for leaf in leaves(error)):
            world.fail(f"attempts: {book.job!r} has {in_words(error)}, and raised {[in_words(e) for e in book.raised]}")


def _check_books(world: World) -> None:
    pool = world.pool
    if pool is None:
        return
    seen = pool.statistics()
    ends = [book.job.state for book in world.books.values()]
    told = (seen.succeeded, seen.dead, seen.cancelled, seen.discarded)
    states = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED)
    if seen.submitted != len(ends) or told != tuple(map(ends.count, states)):
        world.fail(f"books: {seen}, and {len(ends)} jobs")
    if len(pool.keys) or list(pool.keys):
        world.fail(f"books: at the end there are jobs of {list(pool.keys)}")
    if seen.blocked or seen.queued or seen.delayed or seen.running or seen.submitters_waiting:
        world.fail(f"books: at the end {seen}")
    if pool.groups:
        world.fail(f"books: at the end there are {pool.groups}")
    if list(pool.jobs()) or pool.workers:
        world.fail(f"lost: at the end there are {list(pool.jobs())} and {pool.workers}")
    for group in world.groups:
        of_group = group.handle.statistics()
        ended = of_group.succeeded + of_group.dead + of_group.cancelled + of_group.discarded
        if of_group.submitted != ended or of_group.submitters_waiting or of_group.workers:
            world.fail(f"books: at the end of a group {of_group}")
    entered = {group.handle: 1 for group in world.groups}
    if not world.is_quiet and not world.group_opened == world.group_closed == entered:
        world.fail(f"events: of groups {entered}, opened {world.group_opened}, closed {world.group_closed}")


def _check_resources(world: World) -> None:
    for usable in world.usables:
        if usable.left != 1 or usable.users:
            world.fail(f"lifespan: {usable.name} was left {usable.left} times; {[*usable.users]!r} use it")
    if world.was_open:
        # A worker that reopens its resource starts again.
        if world.worker_stopped.keys() != world.worker_started.keys() and not world.breakages:
            world.fail("events: not all workers that have started have stopped")
        if world.pool_opened != 1 or world.pool_closed != 1:
            world.fail(f"events: the pool was opened {world.pool_opened} times and closed {world.pool_closed} times")


def _check_rates(world: World) -> None:
    setup = world.program.setup
    if setup.rate is not None and not world.rate_changed:
        _check_rate(world, setup.rate, world.starts.get(None, []), "the pool")
    bounds = setup.per_key
    if bounds is not None and bounds.rate is not None and not bounds.rate.unit:
        for key, starts in world.starts_of_keys.items():
            _check_rate(world, bounds.rate, starts, f"the key {key}")
    for worker, starts in world.starts.items():
        if worker is not None and not setup.slots and not setup.elastic and not setup.lifespan:
            device = getattr(worker.resource, "device", None)
            if device is not None and device.rate is not None:
                _check_rate(world, device.rate, starts, repr(worker))


def _check_rate(world: World, rate: Rate, starts: list[float], of: str) -> None:
    each = rate.per / rate.count
    # When the next start is due; one may come sooner by so much.
    due = -math.inf
    for at in starts:
        if at < due - (rate.burst - 1) * each - SLACK:
            world.fail(f"rate: under {rate} of {of} something starts at {at:.4f}; all starts: {starts[:50]}")
            return
        due = max(due, at) + each


def _check_opening(world: World) -> set[int]:
    """The pool was never open: an error of a lifespan comes out, or it was cancelled meanwhile."""
    error = world.error
    if not (world.outside.cancel_called or _is_of_lifespan(world, error)):
        world.fail(f"end: it could not be opened, and {error and in_words(error)} came out")
    return set()


def _is_of_lifespan(world: World, error: BaseException | None) -> bool:
    return error is not None and all(
        world.has_raised(leaf) or isinstance(leaf, (RuntimeError, ResourceBroken)) for leaf in leaves(error)
    )


def _check_error(world: World) -> set[int]:
    """Check what came out of the pool's block; returns which errors that are."""
    program, error, body = world.program, world.error, world.body_error
    undealt = {
        id(book.job): book for book in world.books.values() if book.job.state is JobState.DEAD and not book.dealt_with
    }
    out = [] if error is None else leaves(error)
    of_body = [] if body is None else leaves(body)
    farewells = [leaf for each in world.farewells for leaf in leaves(each)]
    deaths: list[int] = []
    dropped = 0
    for leaf in out:
        if is_among(leaf, of_body):
            continue
        if isinstance(leaf, JobFailedError):
            deaths.append(id(leaf.job))
            if leaf.job.state is not JobState.DEAD:
                world.fail(f"end: {leaf.job!r} is not dead")
        elif isinstance(leaf, trio.Cancelled):
            if not world.outside.cancel_called:
                world.fail("end: Cancelled came out, and nobody has cancelled it from outside")
        elif type(leaf) is PoolError and "dropped" in str(leaf):
            dropped = int(str(leaf).split()[0])
        elif not (is_among(leaf, farewells) or _is_rude(world, leaf) or _is_of_stray(leaf)):
            world.fail(f"end: {in_words(leaf)} came out")
    if len(set(deaths)) != len(deaths):
        world.fail(f"end: a job's death came out twice: {error and in_words(error)}")
    ended_early = world.ending_since < math.inf
    is_told = set(deaths) <= undealt.keys() and len(deaths) + dropped == len(undealt)
    if not (ended_early or is_told) and program.setup.on_dead == "raise":
        jobs = [book.job for book in undealt.values()]
        world.fail(f"end: {jobs!r} were not dealt with, and {error and in_words(error)} came out")
    if not ended_early and program.setup.on_dead == "keep" and deaths:
        world.fail("end: deaths came out, though they were to be kept")
    _check_body_error(world, out)
    return set(deaths)


def _check_body_error(world: World, out: list[BaseException]) -> None:
    """The body's error comes out as it is; with others, in a group."""
    error, body = world.error, world.body_error
    if body is None or error is body:
        return
    rest = [leaf for leaf in leaves(body) if not isinstance(leaf, trio.Cancelled)]
    is_cancelled = world.pool_cancelled or world.outside.cancel_called
    if not rest:
        is_ended = is_cancelled or world.program.setup.on_dead == "cancel"
        if error is None and not is_ended and not any(_is_rude(world, each) for each in world.raised):
            world.fail(f"end: the body raised {in_words(body)}, and nothing came out")
        return
    told = [leaf for leaf in out if isinstance(leaf, JobFailedError)]
    for leaf in rest:
        if not is_among(leaf, out) and not (
            isinstance(leaf, JobFailedError) and any(each.job is leaf.job for each in told)
        ):
            world.fail(f"end: the body raised {in_words(body)}, and {error and in_words(error)} came out")
            return
    # The pool's own scope may take cancellations out of a group, which is another one then.
    is_whole = len(rest) == len(leaves(body)) and not is_cancelled
    if is_whole and all(is_among(leaf, rest) for leaf in out):
        world.fail(f"end: the body raised {in_words(body)}, and {error and in_words(error)} came out")


def _is_rude(world: World, error: BaseException) -> bool:
    """Whether user code has raised this, which is no `Exception`."""
    if isinstance(error, Exception):
        # Beside what is none, in one group.
        return any(
            is_among(error, each) and any(not isinstance(leaf, (Exception, trio.Cancelled)) for leaf in each)
            for each in map(leaves, world.raised)
        )
    return any(is_among(error, leaves(each)) for each in world.raised)


def _check_log(world: World, log: Sequence[logging.LogRecord], raised: set[int]) -> None:
    for record in log:
        error = record.exc_info[1] if record.exc_info else None
        message = record.getMessage()
        if error is None:
            # What can't be logged with its traceback is told in one line.
            kinds = {type(each).__name__ for each in world.raised}
            if "jobs died that nobody" not in message and not any(kind in message for kind in kinds):
                world.fail(f"log: {message}")
            continue
        if isinstance(error, JobFailedError):
            book = world.books[error.job]
            if book.job.state is not JobState.DEAD or id(book.job) in raised or book.dealt_with:
                world.fail(f"log: {in_words(error)}")
        elif isinstance(error, PoolError) and not isinstance(error, (PoolClosedError, JobDeadlockError)):
            pass
        elif isinstance(error, trio.Cancelled):
            if error is not world.stray:
                world.fail(f"log: {message}: {in_words(error)}")
        elif "items of a stream" in message and isinstance(error, RuntimeError) and _may_cancel_themselves(world):
            pass
        elif not world.has_raised(error) and not ("reopen" in message and _reopens_badly(world)):
            cause = error.__cause__
            if cause is None or not world.has_raised(cause):
                world.fail(f"log: {message}: {in_words(error)}")


def _reopens_badly(world: World) -> bool:
    """Whether the policy for reopening returns nonsense, for which the pool has errors of its own."""
    policy = world.program.setup.reopening
    return policy is not None and "nonsense" in (policy.curve, policy.retry_on)


def _is_of_stray(error: BaseException) -> bool:
    """Whether it stands for a cancellation of somebody else."""
    return isinstance(error, RuntimeError) and error.__cause__ is not None


def _may_cancel_themselves(world: World) -> bool:
    """Whether the items of any stream may be cancelled by a scope of their own."""
    return any(isinstance(part, Items) and part.cancels_itself for part in parts_of(world.program.body))
