"""What jobs, waits and workers need from each other, besides the ends of jobs, runs and waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.records import Group, JobRecord, Run, WorkerRecord
    from .race import Race
    from .waits import Wait

    # What others may need: the end of a job, of a run or of a wait; a free worker or place; or one more
    # run of an attempt.
    Node: TypeAlias = "JobRecord | Run | Through | Wait | Vacancy | Release | Emptied | Race"
    # How many of these nodes are needed, and the nodes.
    Need: TypeAlias = tuple[int, Sequence[Node]]


class Through(NamedTuple):
    """The end of a run by itself, and not because another run of the attempt has ended."""

    run: Run


class Vacancy(NamedTuple):
    """A worker that can start something, or that has a number of free places for a group.

    Attributes:
      worker: the worker.
      wholly: whether no run may use or have lent it.
      gate: the group whose job is to start, or that is to get places.
      given_back: the group that must end first, for which the whole worker is reserved.
      reserves: how many places the group is to get in addition to those that it has; 0 for a job.
    """

    worker: WorkerRecord
    wholly: bool
    gate: Group | None = None
    given_back: Group | None = None
    reserves: int = 0


class Release(NamedTuple):
    """A place that comes free.

    Attributes:
      runs: the runs, some of which must end.
      ends: how many of them.
      given_back: the group that must end, for which the place is reserved.
    """

    runs: tuple[Run, ...]
    ends: int
    given_back: Group | None


class Emptied(NamedTuple):
    """A worker on which nothing runs."""

    worker: WorkerRecord
