"""Core: one wait of a running job, and the run that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ._job import Job
from ._seat import Seat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._group import Group
    from ._loans import Loan
    from ._window import Window


class Run(NamedTuple):
    """The attempt of a job on one of the workers that run it; a job without a hedge has but one.

    Attributes:
      job: the job.
      seat: the worker that it runs on, or that it has lent.
    """

    job: Job[Any]
    seat: Seat

    @property
    def is_cut(self) -> bool:
        """Whether it has been cancelled, the whole job or only this run."""
        return self.job._cancelled or self.seat._cut_of(self.job) is not None


class Wait:
    """One wait of a running job.

    Attributes:
      run: the job that waits, on the worker where it does.
      task: the one of its tasks that does.
      jobs: gives the jobs that it waits for.
      window: those are its jobs that can't be read yet, and one of them is enough; None if all have to end.
      group: the group that waits for workers of its own here, or None.
      loan: the loan whose end it waits for, to have the worker back, or None.
      outlasts: whether it goes on though its run has been cancelled.
      for_ends: whether it is for the ends of jobs that have been cancelled, come what may.
      number: which wait of the pool it is.
      stuck: if it turns out that it would be for ever, the runs that would wait with it;
          then it is about to end.
      lending_helps: whether it would not be for ever had these lent their workers.
      wake: lets whoever waits see that; None while there is nothing to wake.
    """

    __slots__ = (
        "for_ends",
        "group",
        "jobs",
        "lending_helps",
        "loan",
        "number",
        "outlasts",
        "run",
        "stuck",
        "task",
        "wake",
        "window",
    )

    def __init__(
        self,
        run: Run,
        jobs: Callable[[], Iterable[Job[Any]]],
        *,
        window: Window[Any] | None = None,
        for_ends: bool = False,
        outlasts: bool = False,
        group: Group | None = None,
        loan: Loan | None = None,
        task: object = None,
    ) -> None:
        self.task: object = task
        self.for_ends: bool = for_ends
        self.outlasts: bool = outlasts or for_ends or loan is not None  # these are shielded
        self.loan: Loan | None = loan
        self.run: Run = run
        self.jobs: Callable[[], Iterable[Job[Any]]] = jobs
        self.window: Window[Any] | None = window
        self.group: Group | None = group
        self.number: int = 0
        self.stuck: list[Run] = []
        self.lending_helps: bool = False
        self.wake: Callable[[], object] | None = None

    @property
    def is_ending(self) -> bool:
        """Whether it is about to end whatever becomes of what it is for: it is told, or cancelled."""
        return bool(self.stuck) or (not self.outlasts and self.run.is_cut)

    @property
    def can_be_told(self) -> bool:
        """Whether whoever waits can go on before it is over."""
        return not self.for_ends if self.loan is None else self.run.job._cancelled
