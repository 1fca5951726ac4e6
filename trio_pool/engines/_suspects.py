"""Jobs that are redelivered after a crash: which of them killed the process, and which only ran beside them."""

from __future__ import annotations

import random
import time
from threading import Lock
from typing import Literal, TypeAlias

from .._policies import validate

Verdict: TypeAlias = Literal["start", "wait", "bury"]


class Suspects:
    """Distinguishes jobs that kill their process from those that were only under way beside them.

    When a process dies, each job that was under way in it is a suspect: it has one crash more than
    before. If suspects ran side by side again, an innocent one would get as many crashes as the one
    that kills. So a process has at most one suspect under way at a time, and the others come back
    later. After a suspect has run for ``patience`` seconds without harm, the next one can start.

    Thread-safe. The engine must count the crashes of each job.

    Arguments:
      max_crashes: the number of crashes at which a job is buried, at least 1; ``None`` for never.
      patience: seconds after which a suspect no longer holds up others.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    def __init__(self, max_crashes: int | None = 3, *, patience: float = 30.0) -> None:
        self.max_crashes: float = validate.bound("max_crashes", max_crashes, least=1)
        self._patience = validate.seconds("patience", patience)
        self._lock = Lock()
        self._job: object = None
        self._until = 0.0

    def admit(self, job: object, crashes: int) -> Verdict:
        """Decide about a job that has been delivered, by the number of its crashes.

        Arguments:
          job: the job's identifier.
          crashes: how often a process has died while the job was under way in it.

        Returns:
          str: ``"start"``: run it, and call `dismiss` at its end. ``"wait"``: have it delivered again after
          `pause` seconds, without counting this as a crash. ``"bury"``: it is dead.
        """
        if not crashes:
            return "start"
        if crashes >= self.max_crashes:
            return "bury"
        with self._lock:
            now = time.monotonic()
            if self._job not in (None, job) and now < self._until:
                return "wait"
            self._job, self._until = job, now + self._patience
        return "start"

    def dismiss(self, job: object) -> None:
        """Record that a job, whether a suspect or not, has ended."""
        if self._job is None:
            return
        with self._lock:
            if self._job == job:
                self._job = None

    def pause(self) -> float:
        """Return after how many seconds a waiting suspect is delivered again, a different time for each."""
        return random.uniform(0.2, 1.0)
