"""Shell: noticing that a block is cancelled from outside, whatever its body is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class CancellationWatch:
    """A task that is cancelled with the block, though the body may be behind a shield, and sees to the rest.

    It has to run in a nursery around the body.

    Arguments:
      act: called when a scope around the block has been cancelled.

    Attributes:
      cancelled: that cancellation as Trio has raised it, or None.
    """

    __slots__ = ("_act", "_life", "cancelled")

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._life = trio.CancelScope()
        self.cancelled: trio.Cancelled | None = None

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The task."""
        with self._life:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                # Not raised on, since it is to come out of the block, and only if nothing else does.
                if not self._life.cancel_called:
                    self.cancelled = cancelled
                    self._act()

    def outcome(self, error: BaseException | None) -> BaseException | None:
        """What comes out of the block whose body has ended with ``error``, or without one."""
        return self.cancelled if error is None else error

    def stop(self, nursery: trio.Nursery) -> None:
        """The block is over: end the task, and let the nursery be left whatever is cancelled around it."""
        self._life.cancel()
        nursery.cancel_scope.shield = True
