"""What must hold when an attempt starts."""

from __future__ import annotations

import trio

from tests.programs.raising import in_words, leaves
from tests.programs.world import Errand, JobBook, World
from trio_pool import (
    AttemptTimeoutError,
    Discard,
    GiveUp,
    JobCancelledError,
    JobState,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    Worker,
)

CONTROLS = (RetryAfter, GiveUp, Discard, ResourceBroken)


def check_start(world: World, book: JobBook, worker: Worker) -> None:
    """An attempt of a job has started on a worker."""
    _check_order(world, book)
    _check_bounds(world, book)
    _check_worker(world, book, worker)
    _check_dependencies(world, book)
    if book.attempts:
        _check_retry(world, book, worker)
    timeout = book.errand.call.total_timeout
    if timeout is not None and trio.current_time() >= book.job.submitted_at + timeout:
        world.fail(f"timeouts: {book.job!r} has started at its deadline")


def _check_order(world: World, book: JobBook) -> None:
    """Of jobs that may run wherever it may, none that is to start sooner is left behind."""
    if book.started > 1:
        return
    mine, now = book.errand, trio.current_time()
    for other in world.books.values():
        theirs = other.errand
        if (
            other.job.state is JobState.QUEUED
            and not other.started
            and theirs.call.priority < mine.call.priority
            and theirs.group is mine.group
            and theirs.call.requires == mine.call.requires
            and (theirs.call.key == mine.call.key or world.program.setup.per_key is None)
            and dict(theirs.call.uses).keys() <= dict(mine.call.uses).keys()
            and theirs.options.get("worker") is mine.options.get("worker")
            and not theirs.behind
            and len(other.job.history) == 1
            # One that comes in at this very instant may have been waiting at the door.
            and other.job.history[0].at < now
        ):
            world.fail(f"priorities: {book.job!r} has started before {other.job!r}")


def _check_bounds(world: World, book: JobBook) -> None:
    holding = [each for each in world.running.values() if not each.lent]
    if len(holding) > world.max_running:
        world.fail(f"max_running: {len(holding)} of {world.max_running} are under way")
    bounds, key = world.program.setup.per_key, book.errand.call.key
    if bounds is not None and bounds.max_running is not None and key:
        of_key = [each for each in holding if each.errand.call.key == key]
        if len(of_key) > bounds.max_running:
            world.fail(f"max_running: {len(of_key)} of {bounds.max_running} of the key {key} are under way")
    group = book.errand.group
    if group is not None and not group.is_over:  # what is requeued later is none of its jobs
        of_group = [each for each in holding if each.errand.group is group]
        if len(of_group) > group.max_running:
            world.fail(f"max_running: {len(of_group)} of {group.max_running} in a group are under way")


def _check_worker(world: World, book: JobBook, worker: Worker) -> None:
    job, errand = book.job, book.errand
    if len(worker.jobs) > worker.max_running:
        world.fail(f"places: {job!r} has started on {worker!r} beside {worker.jobs}")
    if not {*errand.call.requires} <= worker.tags:
        world.fail(f"placement: {job!r} requires {errand.call.requires}, and has started on {worker!r}")
    if errand.options.get("worker") not in (None, worker):
        world.fail(f"placement: {job!r} is for {errand.options['worker']!r}, and has started on {worker!r}")
    # The end of the body ends pauses, and not rests.
    for held in (world.resting, {} if world.body_ended else world.paused):
        for what in (worker, None):
            since, until = held.get(what, (0.0, 0.0))
            # What has been decided in the same instant may be told a little later.
            if since < trio.current_time() < until:
                world.fail(f"workers: {job!r} has started on {worker!r}, and {what or world.pool!r} is held back")
    for group in world.groups:
        if group.reserve and group is not errand.group and not group.is_over:
            known = [world.books[each] for each in worker.jobs if each in world.books]
            others = [each for each in known if each.errand.group is not group]
            if len(others) > worker.max_running - group.handle.reserved.count(worker):
                world.fail(f"reserved: {job!r} has started on {worker!r}, which another group has for itself")


def _check_dependencies(world: World, book: JobBook) -> None:
    if book.again:
        return  # it stands behind nobody any more
    for other in book.errand.behind:
        jobs = [each.job for each in world.books_of(other)] if isinstance(other, Errand) else [other]
        if not jobs or jobs[0].state is not JobState.SUCCEEDED:
            world.fail(f"dependencies: {book.job!r} has started before the end of {jobs!r}")


def _check_retry(world: World, book: JobBook, worker: Worker) -> None:
    """An attempt before this one has failed: see that this one is due."""
    policy = policy_of(world, book)
    last, error = book.attempts[-1]
    if policy is None or error is None or isinstance(error, JobCancelledError) or not is_ordinary(error):
        return
    counted = [each for _, each in book.attempts if each is not None and not isinstance(each, JobCancelledError)]
    if policy.max_attempts is not None and len(counted) >= policy.max_attempts and all(map(is_ordinary, counted)):
        world.fail(f"retries: {book.job!r} is tried once more than {policy}, after {in_words(error)}")
    is_leaving = last in world.removed or world.program.setup.elastic is not None
    failed_on = {last.id, *(each for each, _ in book.job.attempts[-1].hedges)}
    if policy.placement == "same" and worker.id not in failed_on and not is_leaving:
        world.fail(f"placement: {book.job!r} is to be tried again on {last!r}, and not on {worker!r}")
    if policy.jitter == "none" and type(policy) is RetryPolicy and all(map(is_ordinary, counted)):
        ended_at = book.job.attempts[-1].ended_at
        delay = min(policy.max_delay, policy.base_delay * policy.multiplier ** (len(counted) - 1))
        if trio.current_time() < ended_at + delay - 1e-6:
            world.fail(f"retries: {book.job!r} is tried again too soon, after {trio.current_time() - ended_at} s")


def policy_of(world: World, book: JobBook) -> RetryPolicy | None:
    """The policy that decides about its failures alone, or None."""
    if world.program.setup.on_failure or world.retry_changed:
        return None
    given: RetryPolicy | None = book.errand.options.get("retry")
    return world.policy if given is None else given


def is_ordinary(error: BaseException) -> bool:
    """Whether the policy alone decides about an error, wherever it comes from."""
    return isinstance(error, AttemptTimeoutError) or not any(isinstance(leaf, CONTROLS) for leaf in leaves(error))
