"""Detection of the cancellation of a block from outside, whatever its body does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class CancellationWatch:
    """A task that is cancelled with the block, even if the body is shielded, and then calls ``act``.

    The task must run in a nursery around the body.

    Arguments:
      act: called when a scope around the block has been cancelled.

    Attributes:
      cancelled: the cancellation that Trio has raised, or None.
    """

    __slots__ = ("_act", "_is_over", "_waiting", "cancelled")

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._is_over = False
        # The task while it waits.
        self._waiting: trio.lowlevel.Task | None = None
        self.cancelled: trio.Cancelled | None = None

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:  # noqa: ASYNC910  # the body of a task
        """Run the task."""
        try:
            if self._is_over:
                await trio.lowlevel.checkpoint()
            else:
                self._waiting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        except trio.Cancelled as cancelled:
            # Kept instead of raised: it must leave the block only if no other exception does.
            if not self._is_over:
                self.cancelled = cancelled.with_traceback(None)
                self._act()

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def outcome(self, error: BaseException | None) -> BaseException | None:
        """The exception, or None, that leaves the block after its body has ended with ``error``, or without one."""
        return self.cancelled if error is None else error

    def stop(self) -> None:
        """End the task when the block is over."""
        self._is_over = True
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None
