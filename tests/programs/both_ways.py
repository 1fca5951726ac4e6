"""Runs a program twice, the second time without the straight way of plain jobs, and says what differs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.general_way import straight_way_forbidden
from tests.lives import Life, Listener, Steps, difference, entries_noted
from tests.programs.running import run
from tests.programs.world import JobBook, World

if TYPE_CHECKING:
    from tests.programs.language import Program
    from trio_pool import Job


def differences_of(program: Program, *, is_quiet: bool) -> list[str]:
    """Run a program both ways; return the first difference, if there is one, with its kind before a colon.

    Arguments:
      is_quiet: whether the pool has no instruments; the straight way is another then.
    """
    found = difference(life_of(program, is_quiet=is_quiet), life_of(program, is_quiet=is_quiet, is_general=True))
    return [f"difference: {found}"] if found else []


def life_of(program: Program, *, is_quiet: bool, is_general: bool = False) -> Life:
    """Run a program, and return what was seen."""
    life = Life()
    world = World(program, is_quiet=is_quiet, watching=[Steps(life, lambda: world.pool)], listening=[Listener(life)])

    def note(job: Job[Any]) -> None:
        life.jobs.append(job)
        if is_quiet:
            world.books[job] = JobBook(job, job.args[-1], again=bool(world.books_of(job.args[-1])))

    with ExitStack() as patches:
        if is_general:
            patches.enter_context(straight_way_forbidden())
        patches.enter_context(entries_noted(note))
        run(world)
    life.pool = world.pool
    life.groups = [group.handle for group in world.groups]
    return life
