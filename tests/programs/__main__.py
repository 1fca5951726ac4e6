"""``python -m tests.programs``: runs random programs for as long as it is told to."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.programs.both_ways import differences_of
from tests.programs.generator import FEATURES, Choice, program_of
from tests.programs.language import Program, written
from tests.programs.running import failures_of
from tests.programs.searching import search
from tests.programs.shrinker import shrunk, signature

if TYPE_CHECKING:
    from tests.programs.searching import Judge


def main() -> int:
    """Run programs; 1 if any has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; by default it is the time")
    parser.add_argument("--number", type=int, default=None, help="how many programs at most; 1 to repeat a seed")
    parser.add_argument("--processes", type=int, default=1, help="how many programs at once")
    parser.add_argument("--without", default="", help=f"features to leave out, of {', '.join(FEATURES)}")
    parser.add_argument("--always", default="", help="features that each program has")
    parser.add_argument("--show", type=int, default=1, help="how many failures of each kind are made small")
    parser.add_argument("--both-ways", action="store_true", help="compare with the same without the straight way")
    parser.add_argument("--go-on", action="store_true", help="count failures by their kinds, not stopping at the first")
    given = parser.parse_args()
    first = int(time.time()) if given.seed is None else given.seed
    until = time.monotonic() + 60 * given.minutes
    choice = Choice(_features(given.without), _features(given.always))
    if unknown := (choice.without | choice.always) - {*FEATURES}:
        parser.error(f"unknown features: {', '.join(unknown)}")
    print(f"programs from seed {first} on, for {given.minutes:g} minutes", flush=True)
    judge = differences_of if given.both_ways else failures_of
    found = search(first, until, given.number, given.processes, choice, judge, go_on=given.go_on)
    shown: Counter[str] = Counter()
    for seed, failures in found:
        kind = signature(failures[0])
        shown[kind] += 1
        if shown[kind] <= given.show:
            _show(seed, failures, choice, judge)
    for kind, number in shown.most_common():
        print(f"{number} times {kind}")
    return 1 if found else 0


def _features(words: str) -> frozenset[str]:
    return frozenset(each.strip() for each in words.split(",") if each.strip())


def _show(seed: int, failures: list[str], choice: Choice, judge: Judge) -> None:
    """Print what is wrong, and the program made small."""
    print(f"\nseed {seed} fails:")
    for failure in failures:
        print(f"  {failure}")
    kind = signature(failures[0])

    def fails(program: Program) -> bool:
        return any(signature(failure) == kind for failure in judge(program))

    program = shrunk(program_of(seed, choice), fails)
    print(f"made small, to be run by {judge.__name__}():\n{written(program)}")
    for failure in judge(program):
        print(f"  {failure}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
