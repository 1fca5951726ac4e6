"""Running a job's function in its submitter's context, without a Trio task of its own."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from .._basics.exceptions import CANCELLATIONS
from .._basics.tracebacks import clear_frames, set_traceback, traceback_of
from .bad_calls import bound_already, not_async, wrong_arguments
from .job_context import current, current_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .._model.handles import Job
    from .._model.records import Run

T = TypeVar("T")

KEPT_FRAMES = 1000


def call_as_part_of(run: Run, fn: Callable[[], T]) -> T:
    """Call ``fn`` as part of the job's function, in a copy of the submitter's context."""
    job = run.job
    assert job._context is not None

    def call() -> T:
        current.set(cast("Job[Any]", job))
        if run.race is not None:
            current_run.set(run)
        return fn()

    return job._context.copy().run(call)


class Failure:
    """The result of `run_job` if the job's function has raised an exception.

    A raised exception would pass through several frames of the pool, which costs more than handling
    it. Also, a cancel scope on the way would split an exception group, and might fail to rebuild it.

    Attributes:
      error: the exception.
      is_bad_call: whether the call returned no coroutine, so that a retry would be pointless.
    """

    __slots__ = ("error", "is_bad_call")

    def __init__(self, error: BaseException, *, is_bad_call: bool = False) -> None:
        self.error = error
        self.is_bad_call = is_bad_call


@trio.lowlevel.disable_ki_protection
async def _user_code(run: Run, args: tuple[Any, ...]) -> Any:
    """Call the job's function and await it. Inside, Ctrl-C works as usual."""
    job: Any = run.job
    current.set(job)
    if run.race is not None:
        current_run.set(run)
    fn = job._fn
    try:
        if type(fn) is types.MethodType and len(args) > len(job._args) and fn.__self__ is args[0]:
            return _bad_call(bound_already(fn, args[0]))  # noqa: ASYNC910  # run_job() adds the checkpoint
        try:
            made: Any = fn(*args)
        except TypeError as error:
            # A call that fails before the first line of the function isn't worth a retry.
            traceback = traceback_of(error)
            if traceback is not None and traceback.tb_next is None:
                leading = args[: len(args) - len(job._args)]
                return _bad_call(wrong_arguments(fn, leading, error))  # noqa: ASYNC910
            raise
        kind = type(made)  # pyright: ignore[reportUnknownVariableType]  # of anything that a program may return
        if kind is not types.CoroutineType and not issubclass(kind, Coroutine):
            return _bad_call(not_async(fn, made))  # noqa: ASYNC910
        value = await made
        window = job._window
        return value if window is None or window.dump is None else window.dump(value)
    except BaseException as error:
        return Failure(error)  # noqa: ASYNC910


def _bad_call(words: str) -> Failure:
    return Failure(TypeError(words), is_bad_call=True)


@types.coroutine
def run_job(run: Run, args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    """Await the job's function, with each of its steps in a copy of its submitter's context.

    The start counts in the limits from now on. The generator passes on what the function yields to
    Trio, and what Trio sends to the function. If the function never yields, a checkpoint is added:
    every attempt is a checkpoint, so that a worker with many short jobs lets other tasks run.

    Returns:
      the function's return value, or a `Failure`.
    """
    context = run.job._context
    assert context is not None
    enter = context.copy().run
    # A separate coroutine, instead of a frame of this generator, makes Ctrl-C safe: no interrupt can
    # come between a step and its answer.
    coroutine = _user_code(run, args)
    send, throw = coroutine.send, coroutine.throw
    if run.draws is not None:
        run.draws.begin(trio.current_time())
    try:
        message = enter(send, None)
    except StopIteration as stop:
        yield from trio.lowlevel.cancel_shielded_checkpoint().__await__()  # noqa: ASYNC105  # a generator can't await
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
            message = enter(step, answer)
        except StopIteration as stop:
            return stop.value


def tidy(error: Exception) -> None:
    """Prepare an error for storage: clear its frames, and remove those before the user's code."""
    traceback = traceback_of(error)
    if traceback is not None and traceback.tb_frame.f_code is _USER_CODE:
        traceback.tb_frame.clear()
        if sys.version_info < (3, 15):  # some of these keep the calling frame too, with its locals
            back = traceback.tb_frame.f_back
            if back is not None and back.f_code is _RUN_JOB:
                back.clear()
        traceback = traceback.tb_next
    set_traceback(error, traceback)
    # A cancellation in the context is unrelated to this error.
    clear_frames(error, strangers=CANCELLATIONS)
    # If a function raises the same exception object repeatedly, its traceback grows each time.
    kept = 0
    while traceback is not None:
        kept += 1
        if kept > KEPT_FRAMES:
            traceback.tb_next = None
        traceback = traceback.tb_next


# The code of the first frame in the traceback of a job's function, and of the frame that it was called from.
_USER_CODE = inspect.unwrap(_user_code).__code__
_RUN_JOB = inspect.unwrap(run_job).__code__
