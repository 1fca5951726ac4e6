"""``python -m tests.core``: lets the state machines of the core draw something else, for as long as it is told to."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from hypothesis.errors import HypothesisException

from tests.core.machines import MACHINES, run

if TYPE_CHECKING:
    from tests.core.checked_machine import CheckedMachine

EXAMPLES = 100
"""How many lives are drawn by one seed: some ten seconds of them."""


def main() -> int:
    """Run the machines in turn, each time with another seed; 1 if any has failed."""
    machines = {machine.__name__: machine for machine in MACHINES}
    parser = argparse.ArgumentParser(prog="python -m tests.core", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; by default it is the time")
    parser.add_argument("--number", type=int, default=None, help="how many seeds at most; 1 to repeat one")
    parser.add_argument("--only", choices=machines, action="append", help="only this machine")
    parser.add_argument("--go-on", action="store_true", help="don't stop at the first failure")
    given = parser.parse_args()
    first = int(time.time()) if given.seed is None else given.seed
    until = time.monotonic() + 60 * given.minutes
    seeds = count(first) if given.number is None else range(first, first + given.number)
    print(f"machines from seed {first} on, for {given.minutes:g} minutes", flush=True)
    runs: Counter[bool] = Counter()
    for seed in seeds:
        for name in given.only or machines:
            if time.monotonic() > until or (runs[False] and not given.go_on):
                break
            runs[_passes(machines[name], seed)] += 1
    print(f"{runs.total()} times {EXAMPLES} lives, {runs[False]} of them fail")
    return 1 if runs[False] else 0


def _passes(machine: type[CheckedMachine], seed: int, *, shrinks: bool = False) -> bool:
    """Run a machine; if it fails, print how to repeat that, and then what it did, made small."""
    try:
        run(machine, EXAMPLES, steps=Random(seed).choice([20, 40, 80]), drawn_by=seed, shrinks=shrinks)
    except (Exception, HypothesisException) as error:
        if shrinks:
            _leave_out_invariants(machine, error)
            traceback.print_exception(error, file=sys.stdout)
        else:
            name, words = machine.__name__, str(error).partition("\n")[0]
            print(f"\n{name} fails, and again with --only={name} --seed={seed} --number=1: {words}", flush=True)
            _passes(machine, seed, shrinks=True)
        sys.stdout.flush()
        return False
    return True


def _leave_out_invariants(machine: type[CheckedMachine], error: BaseException) -> None:
    """Leave out what holds after each of the steps that hypothesis has noted with an error."""
    names = [name for name in dir(machine) if hasattr(getattr(machine, name), "hypothesis_stateful_invariant")]
    lines = {f"state.{name}()" for name in names}
    notes: list[str] = getattr(error, "__notes__", [])
    notes[:] = ["\n".join(line for line in note.splitlines() if line not in lines) for note in notes]
    notes[:] = [note for note in notes if note]


if __name__ == "__main__":
    sys.exit(main())
