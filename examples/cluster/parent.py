"""For processes that must not outlive the one that has started them."""

from __future__ import annotations

import os

import trio


async def cancel_at_end_of_input(scope: trio.CancelScope) -> None:
    """Cancel the scope when the parent has closed its end of the input, or is gone, and with it that end."""
    # Not sys.stdin: a thread that is left reading there would hold a lock that the interpreter wants at its exit.
    while await trio.to_thread.run_sync(os.read, 0, 4096, abandon_on_cancel=True):
        pass
    scope.cancel()
