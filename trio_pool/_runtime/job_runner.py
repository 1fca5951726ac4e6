"""Running a job's function in its submitter's context, without a Trio task of its own."""

from __future__ import annotations

import inspect
import types
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from .._basics.exceptions import CANCELLATIONS
from .._basics.tracebacks import clear_frames, set_traceback, traceback_of
from .bad_calls import bound_already, not_async, wrong_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .._model.handles import Job
    from .._model.records import JobRecord

T = TypeVar("T")

# None in the context of what is no part of the job that it has its variables from.
_current_job: ContextVar[Job[Any] | None] = ContextVar("trio_pool_current_job", default=None)


def current_job() -> Job[Any]:
    """The job whose function is running.

    Works in the function itself, in everything that it calls, and in tasks and threads
    that it starts by Trio's means.

    Raises:
      RuntimeError: if the caller is not part of a job.
    """
    job = _current_job.get()
    if job is None:
        raise RuntimeError("current_job() must be called inside a job's function")
    return job


def leave_job() -> None:
    """Make the context that this is called in one of no job."""
    _current_job.set(None)


def is_in_a_job() -> bool:
    """Whether the caller may be part of any job: a quick answer for those that aren't."""
    return _current_job.get() is not None


def enclosing_jobs() -> Generator[Job[Any], None, None]:
    """The job that the caller is part of, the one that submitted it, and so on.

    Only those that have not ended: what a job leaves behind is no part of it.
    """
    job = _current_job.get()
    while job is not None and not job.state.is_final:
        yield job
        context = job._context
        job = None if context is None else context.get(_current_job)


KEPT_FRAMES = 1000


def call_as_part_of(job: Job[Any], fn: Callable[[], T]) -> T:
    """Call ``fn`` as if the job's function did, in a copy of the submitter's context."""
    assert job._context is not None

    def call() -> T:
        _current_job.set(job)
        return fn()

    return job._context.copy().run(call)


class Failure:
    """What `run_job` returns instead of a value if the job's function has raised something.

    To let it come out as an exception, through one frame of the pool after the other, would
    cost more than all that becomes of it; and a cancel scope on the way would take an
    exception group apart that it may not be able to put together again.

    Attributes:
      is_bad_call: whether calling the function gave no coroutine, so that calling it again is no use either.
    """

    __slots__ = ("error", "is_bad_call")

    def __init__(self, error: BaseException, *, is_bad_call: bool = False) -> None:
        self.error = error
        self.is_bad_call = is_bad_call


@trio.lowlevel.disable_ki_protection
async def _user_code(job: JobRecord, args: tuple[Any, ...]) -> Any:
    """Call the job's function and await it. From here on Ctrl-C may strike as ever."""
    _current_job.set(cast("Job[Any]", job))
    fn = job._fn
    try:
        if type(fn) is types.MethodType and len(args) > len(job._args) and cast("Any", fn).__self__ is args[0]:
            return _bad_call(bound_already(fn, args[0]))  # noqa: ASYNC910  # what drives it makes up for it
        try:
            made: object = fn(*args)
        except TypeError as error:
            # A call that fails before the first line of the function isn't worth a retry.
            traceback = traceback_of(error)
            if traceback is not None and traceback.tb_next is None:
                leading = args[: len(args) - len(job._args)]
                return _bad_call(wrong_arguments(fn, leading, error))  # noqa: ASYNC910
            raise
        if type(made) is not types.CoroutineType and not isinstance(made, Coroutine):
            return _bad_call(not_async(fn, made))  # noqa: ASYNC910
        return await made
    except BaseException as error:
        return Failure(error)  # noqa: ASYNC910


def _bad_call(words: str) -> Failure:
    return Failure(TypeError(words), is_bad_call=True)


@types.coroutine
def run_job(job: JobRecord, args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    """Await the job's function, each of its steps in a copy of its submitter's context.

    What it yields goes to Trio, and what Trio sends goes to it. If it ends without having
    yielded even once, that is made up for here: every attempt is a checkpoint, so that a
    worker with many short jobs lets others run too.

    Returns:
      what the function returned, or a `Failure`.
    """
    assert job._context is not None
    run = job._context.copy().run
    # That this is a coroutine of its own, and not a frame of this generator, is what
    # makes Ctrl-C safe: nothing can be interrupted between a step and its answer.
    coroutine = _user_code(job, args)
    send, throw = coroutine.send, coroutine.throw
    try:
        message = run(send, None)
    except StopIteration as stop:
        yield from trio.lowlevel.cancel_shielded_checkpoint().__await__()  # noqa: ASYNC105  # as a generator has to
        return stop.value
    while True:
        step: Callable[[Any], Any]
        try:
            answer = yield message
            step = send
        except BaseException as error:
            answer = error
            step = throw
        try:
            message = run(step, answer)
        except StopIteration as stop:
            return stop.value


def tidy(error: Exception) -> None:
    """Make an error fit to be kept: its frames hold nothing, and start in user code."""
    traceback = traceback_of(error)
    if traceback is not None and traceback.tb_frame.f_code is _USER_CODE:
        traceback.tb_frame.clear()
        traceback = traceback.tb_next
    set_traceback(error, traceback)
    # What somebody was about when he cancelled something has nothing to do with this.
    clear_frames(error, strangers=CANCELLATIONS)
    # One that is raised again and again, by a function that keeps it, grows each time.
    kept = 0
    while traceback is not None:
        kept += 1
        if kept > KEPT_FRAMES:
            traceback.tb_next = None
        traceback = traceback.tb_next


# The code of the frame that the traceback of a function begins with.
_USER_CODE = inspect.unwrap(_user_code).__code__
