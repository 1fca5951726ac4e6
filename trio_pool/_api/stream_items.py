"""Turning the items of a stream into jobs, as long as there is room for more jobs."""

from __future__ import annotations

from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._basics.is_a import is_a
from .._basics.logs import report
from .._model.errors import PoolClosedError
from .._runtime.job_context import is_in_a_job
from .._runtime.notify import notify
from .stream_source import END
from .stream_task import FeedingTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._core.stream_window import StreamWindow
    from .._model.handles import Job
    from .._model.job_options import ItemSpec
    from .._model.records import JobRecord, JobSpec
    from .stream_source import Items
    from .submitting import Submitting

BATCH = 100  # items that may be taken before other tasks run


class Feeder:
    """Turns a stream's items into jobs, as long as there is room for more.

    If taking an item runs none of the program's code, the reader that makes room takes the next
    items. A task then takes items only when room is made by jobs that back off or wait for their turn.
    In all other cases a task takes all items.

    Arguments:
      pool: the pool or group to which the jobs are submitted.
      fn: the jobs' function.
      items: the items.
      options: the jobs' options.
      window: counts the jobs; closed when no more jobs will come, after which `take_error` returns
          the reason.

    Attributes:
      is_unsure: whether the jobs that a reader inside a job waits for are unknown.
    """

    __slots__ = (
        "_context",
        "_engine",
        "_fixed",
        "_fn",
        "_is_bringing",
        "_is_outside",
        "_is_plain",
        "_items",
        "_jobs_context",
        "_options",
        "_over",
        "_placing",
        "_pool",
        "_refusal",
        "_task",
        "_window",
        "is_unsure",
    )

    def __init__(
        self,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Items,
        options: ItemSpec,
        window: StreamWindow[Any],
    ) -> None:
        self._pool = pool
        self._engine = pool._engine
        self._fn = fn
        self._items = items
        self._options = options
        # The options of all jobs, if none of them is a function of the item.
        self._fixed = None if options.by_item else options.fixed
        self._window = window
        self._is_plain = self._items.are_plain and not options.by_item
        # The context of the task that entered the block; and whether that task is not part of a
        # job.
        self._context = Context()
        self._is_outside = False
        # The context of the jobs; None for the current context of the task, which the program's
        # code may change.
        self._jobs_context: Context | None = None
        self._task = FeedingTask(pool._engine, self._items, self._feed, self._on_task_ended)
        # Whether the task waits for an item.
        self._is_bringing = False
        # The last job while it waits for a place in the queue. No items are taken in the meantime.
        self._placing: Job[Any] | None = None
        # Whether no more items will be taken; and the reason if the pool accepts no more jobs.
        self._over = False
        self._refusal: PoolClosedError | None = None
        self.is_unsure: bool = False

    # The methods that the stream and the engine call.

    def begin(self) -> Callable[[], object]:
        """Begin when the block is entered; return the function for readers to call after making room."""
        self._engine.check_open(inside=True)
        self._context = copy_context()
        self._is_outside = not is_in_a_job()
        self._task.reader = trio.lowlevel.current_task()
        self._engine.feeders[self] = None
        if not self._is_plain:
            self._task.start(self._context)
            return self.look
        self._jobs_context = self._context
        self._items.begin()
        self._window.is_wanted = True
        self._take_plain()
        # In the context of the task that entered the block, whichever task reads.
        return self._take_plain if self._is_outside else partial(self._context.run, self._take_plain)

    def look(self) -> None:
        """Check for room. This call must not take items itself."""
        if self._window.is_wanted and self._window.room(if_held=True) > 0:
            self._rouse()
        else:
            self._reassure()

    def awaited(self) -> Iterable[JobRecord]:
        """Return the jobs of which one must end before a reader can go on; none if more jobs may come first.

        If the result was once empty, it stays empty until `is_unsure` is reset.
        """
        if self.is_unsure:
            return ()
        jobs = self._window.awaited(self._may_bring_more)
        self.is_unsure = not jobs
        return jobs

    def take_error(self) -> Exception | None:
        """Return, to the first reader only, why there are no more jobs; None if the items have ended."""
        error = self._refusal if self._task.failure is None else self._task.failure
        self._task.failure = self._refusal = None
        return error

    def stop(self, what: str = "the pool") -> None:
        """Stop because the pool or the jobs' group ends."""
        if not self._over:
            self._end(PoolClosedError(f"{what} ended before the items did"))
        self._task.stop()

    def stop_with(self, group: object) -> None:
        """Stop if the ending group is the one that the jobs belong to."""
        if self._pool is group:
            self.stop("the group")

    async def finish(self) -> None:
        """Finish when the block is left. This can't be cancelled."""
        self._over = True
        self._window.is_wanted = False
        job = self._placing
        if job is not None and self._engine.submitters.withdraw(job):
            self._placing = None
            self._drop(job)
        await self._task.finish()
        self._window.close()
        del self._engine.feeders[self]
        if self._task.failure is not None:  # no reader can get it any more
            report("the items of a stream failed unnoticed", error=self._task.failure)

    # Creating jobs.

    def _take_plain(self) -> None:
        """Take items up to the available room, if that runs none of the program's code."""
        room = self._window.room()
        if room > BATCH:
            room = BATCH
            if self._window.is_wanted:
                self._rouse()  # the task continues after others have run
        try:
            while room > 0 and self._placing is None and not self._over:
                room -= 1
                item = self._items.take_plain()
                if item is END:
                    self._end()
                else:
                    self._submit(item)
        except Exception as error:
            self._fail(error)
        if self.is_unsure:
            self._reassure()

    def _submit(self, item: Any) -> None:
        """Create and submit the job of an item."""
        pool = self._pool
        options = self._fixed or self._options_of(item)
        job = pool._make_job(self._fn, (item,), options, self._jobs_context)
        # This comes first, since the next steps may have any effect: the window counts the job,
        # whatever its outcome.
        self._take(job)
        try:
            if not pool._goes_straight(job) and pool._lines_up(job, outside=self._is_outside):
                self._placing = job
                self._window.is_wanted = False
                self._engine.submitters.call_when_placed(job, self._placed)
        except PoolClosedError as error:
            self._drop(job)
            self._end(error)
        except BaseException:
            self._drop(job)
            raise

    def _take(self, job: Job[Any]) -> None:
        """Put a job into the window, before it is submitted."""
        self._window.take(job)

    def _drop(self, job: Job[Any]) -> None:
        """Take the last job out of the window, since it will not enter the pool."""
        self._window.drop(job)

    def _placed(self, error: Exception | None) -> None:
        """Continue after a job has got its place in the queue, or has been refused."""
        job, self._placing = self._placing, None
        if error is not None:
            assert job is not None
            self._drop(job)
            if is_a(error, PoolClosedError):
                self._end(error)
            else:
                self._fail(error)
        self._rouse()

    def _fail(self, error: Exception) -> None:
        """Stop because no job can be made from an item."""
        self._task.failure = error
        self._end()

    def _end(self, refusal: PoolClosedError | None = None) -> None:
        """Take no more items, with the reason if the pool accepts no more jobs."""
        self._over = True
        self._window.is_wanted = False
        self._refusal = self._refusal or refusal
        if self._is_plain:
            self._window.close()
        self._reassure()

    def _on_task_ended(self) -> None:
        self._over = True
        self._window.is_wanted = False
        self._window.close()
        self._reassure()

    @trio.lowlevel.disable_ki_protection
    def _options_of(self, item: Any) -> JobSpec:
        return self._options.of(item)

    # Whether there is room for more.

    @property
    def _may_bring_more(self) -> bool:
        """Whether another job may come before any of the current jobs has ended."""
        if self._over:
            return False
        return self._is_bringing or (self._placing is None and self._window.room(if_held=True) > 0)

    @property
    def _is_held_up(self) -> bool:
        return not self._over and (self._placing is not None or self._window.room() <= 0)

    def _rouse(self) -> None:
        """Let the task check for room; start the task if needed."""
        self._window.is_wanted = False
        if self._task.has_begun:
            self._task.wake()
        elif not self._over:
            self._task.start(self._context)

    def _reassure(self) -> None:
        """Check for a deadlock of the readers, if that was unknown before and is known now."""
        if self.is_unsure and self._window.awaited(self._may_bring_more):
            self.is_unsure = False
            self.look_at_readers()

    def look_at_readers(self) -> None:
        """Check the readers inside jobs again, since the jobs that they wait for have changed."""
        if self._window in self._engine.core.waits.readers:
            self._engine.core.may_read(self._window, trio.current_time())
            self._engine.carry_out()

    # The body of the task.

    async def _feed(self) -> None:  # noqa: ASYNC910  # the body of a task
        await (self._keep_taking_plain() if self._is_plain else self._take_all())

    async def _keep_taking_plain(self) -> None:  # noqa: ASYNC910  # the stream has ended
        while not self._over:
            self._take_plain()
            await self._wait_for_room()

    async def _take_all(self) -> None:
        self._items.begin()
        taken = 0
        while True:
            if self._is_held_up or taken == BATCH or self.is_unsure:
                await self._wait_for_room()
                taken = 0
            if self._over:
                return  # noqa: ASYNC910  # the pool has ended
            self._is_bringing = True
            began = trio.current_time()
            item = await self._items.take()
            self._is_bringing = False
            if self._engine.instruments:
                notify(self._engine.instruments, "_stream", self._window, "brought", trio.current_time() - began)
            if item is END:
                self._end()
                return
            self._submit(item)
            taken += 1

    async def _wait_for_room(self) -> None:  # noqa: ASYNC910  # it is a checkpoint on every path
        """Wait until there is room and no job waits for a place; a checkpoint in any case."""
        window = self._window
        try:
            if self.is_unsure or not self._is_held_up:
                await trio.lowlevel.checkpoint()  # new jobs may begin to wait for the reader
            self._reassure()
            while self._is_held_up:
                first = window.next
                if self._placing is None and first is not None and window.room(if_held=True) > 0:
                    # Jobs that end at the same instant do so in any order: check whether this one
                    # still ends.
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    if window.next is first:
                        window.held_by = first
                else:
                    self._reassure()
                    window.is_wanted = self._placing is None
                    await self._task.wait()
        except trio.Cancelled as error:
            window.is_wanted = False
            self._task.check_asked_for(error)
            raise
