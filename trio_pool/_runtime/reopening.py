"""When a worker tries again to open its resource, and when it gives up."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import trio

from .._basics.exceptions import as_error
from .._basics.is_a import is_a
from .._basics.logs import report
from .._basics.text import one_line
from .._basics.tracebacks import context_of, set_context
from .._policies import validate
from .._policies.retry import RetryPolicy

if TYPE_CHECKING:
    from random import Random


class Reopening:
    """Counts the failures of a worker's resource, and waits before the next try to open it.

    Arguments:
      name: the worker's name.
      policy: the pool's policy.
      rng: the source of random numbers for the delays.
      may_give_up: whether ``max_attempts`` and ``retry_on`` of the policy apply, not only its delays.
    """

    __slots__ = ("_delay", "_failed", "_is_told", "_may_give_up", "_name", "_pause", "_policy", "_rng", "_tries")

    def __init__(self, name: str, policy: RetryPolicy, rng: Random, *, may_give_up: bool) -> None:
        self._name = name
        self._policy = policy
        self._rng = rng
        self._may_give_up = may_give_up
        # In a row: the sessions that failed, because the resource couldn't be opened or broke by
        # itself; and the tries to open it. And whether the first of these tries has been logged.
        self._failed = 0
        self._tries = 0
        self._is_told = False
        # The last pause, in seconds.
        self._delay = 0.0
        # Covers that pause while it lasts.
        self._pause: trio.CancelScope | None = None

    def left(self) -> None:
        """Record that a session has ended as intended."""
        self._failed = self._tries = 0
        self._is_told = False
        self._delay = 0.0

    def broke(self, error: Exception, lasted: float) -> BaseException | None:
        """Record that the resource broke by itself after it was open for ``lasted`` seconds."""
        if lasted > self._delay:
            self.left()  # otherwise the pauses would go on growing over days
        self._tries = 0
        self._is_told = False
        return self._plan(error)

    def failed(self, error: Exception) -> BaseException | None:
        """Record that the resource could not be opened.

        Returns:
          the error because of which there are no more tries, or None if there are.
        """
        self._tries += 1
        if self._may_give_up:
            most = math.inf if self._policy.max_attempts is None else self._policy.max_attempts
            try:
                is_over = not self._policy.covers(error) or self._tries >= most
            except BaseException as fault:
                return _blamed(fault, error)
            if is_over:
                return error
        if not self._is_told:  # there may be no other report
            words = "%s can't be opened, and is tried again"
            report(words, one_line(self._name), error=error, level=logging.WARNING)
        self._is_told = True
        return self._plan(error)

    def _plan(self, error: Exception) -> BaseException | None:
        """Choose the next pause; return an error of the policy itself."""
        self._failed += 1
        policy = self._policy
        try:
            delay = policy.delay(self._failed, error, self._delay, self._rng)
            if type(policy) is not RetryPolicy:
                validate.answer("delay", delay)
                validate.seconds("the delay of a RetryPolicy", delay, finite=True)
        except BaseException as raised:
            fault = _blamed(raised, error)
            if self._may_give_up or not is_a(fault, Exception):
                return fault
            report("the reopening policy failed for %s", one_line(self._name), error=fault)
            delay = RetryPolicy.endless().delay(self._failed, error, self._delay, self._rng)
        self._delay = delay
        return None

    def end_pause(self) -> None:
        """End the pause before the next try, if there is one now."""
        if self._pause is not None:
            self._pause.cancel()

    async def wait(self) -> None:
        """Wait for the pause before the next try. A checkpoint; `end_pause` ends the wait."""
        with trio.move_on_after(self._delay) as self._pause:
            await trio.sleep_forever()
        self._pause = None


def _blamed(fault: BaseException, error: Exception) -> BaseException:
    """The error of the user's own code for reopening, with the resource's error as its context."""
    fault = as_error(fault, "the reopening policy")
    if is_a(fault, Exception) and fault is not error and context_of(fault) is None:
        set_context(fault, error)
    return fault
