"""Runs a program twice, the second time without the straight way of plain jobs, and says what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lives import Life, difference, watched
from tests.programs.running import run
from tests.programs.world import JobBook, World, errand_of

if TYPE_CHECKING:
    from tests.programs.language import Program
    from trio_pool import Job


def differences_of(program: Program) -> list[str]:
    """Run a program both ways, with instruments and without; return what differs, with its kind before a colon."""
    found: list[str] = []
    for is_quiet in (False, True):
        lives = [life_of(program, is_quiet=is_quiet, is_general=is_general) for is_general in (False, True)]
        differs = difference(*lives)
        if differs:
            found.append(f"{'quiet' if is_quiet else 'told'}: {differs}")
    return found


def life_of(program: Program, *, is_quiet: bool, is_general: bool = False) -> Life:
    """Run a program, and return what was seen.

    Arguments:
      is_quiet: whether the pool has no instruments; the straight way has fewer steps then.
      is_general: whether jobs are forbidden the straight way.
    """
    world = World(program, is_quiet=is_quiet)

    def note(job: Job[Any]) -> None:
        if is_quiet:
            world.books[job] = JobBook(job, errand_of(job), again=bool(world.books_of(errand_of(job))))

    with watched(is_general=is_general, note=note) as life:
        run(world)
    return life
