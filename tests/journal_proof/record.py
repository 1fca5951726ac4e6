"""What a program has done in all its lives, held against what a journal promises."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.journal_proof.program import digest, is_poisoned, numbers_in_turn, value_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

Line = list[str]


@dataclass
class Record:
    """The lives of one program over a number of items.

    Attributes:
        items: How many different ones.
        kept: The results in the journal after the last life, by their items.
        given: The items whose results, and ``dead`` those whose errors, were given out in any life.
        runs: How often an item was begun; an attempt that follows a failed one is no run of its own.
        under_way: The runs that were cancelled by Ctrl-C, or that a killed life left without a result in the journal.
        over: Those of them whose function had returned, and whose result was not committed yet.
        most_over: The most of them at one kill.
        faults: What was wrong, in words.
    """

    items: int
    kept: Mapping[int, object] = field(default_factory=dict[int, object])
    given: set[int] = field(default_factory=set[int])
    dead: set[int] = field(default_factory=set[int])
    runs: int = 0
    under_way: int = 0
    over: int = 0
    most_over: int = 0
    faults: list[str] = field(default_factory=list[str])
    _ended: set[int] = field(default_factory=set[int])
    _begun: list[set[int]] = field(default_factory=list[set[int]])
    _started: list[set[int]] = field(default_factory=list[set[int]])
    _dead_counts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def add(self, lines: Sequence[Line], kept: Mapping[int, object]) -> None:
        """Check one more life by what it has said, and by what is in the journal after it."""
        begun = self._check_runs(lines)
        self._check_given(lines)
        self._check_kept(kept)
        left = {number for number in begun if number not in kept and not is_poisoned(number)}
        over = left & numbers_of(lines, "end")
        self.under_way += len(left)
        self.over += len(over)
        self.most_over = max(self.most_over, len(over))

    def finish(self, lines: Sequence[Line]) -> None:
        """Check what must hold once everything has been done, by what the last life has said."""
        ways = {line[1] for line in lines if line[0] in ("given", "dead")}
        for way in ways:
            out = [int(line[2]) for line in lines if line[0] in ("given", "dead") and line[1] == way]
            if Counter(out) != Counter(numbers_in_turn(self.items)):
                self._note(f"{way} gave out {len(out)} in its last life, not each item once for each time it occurs")
        poisoned = set(filter(is_poisoned, range(self.items)))
        if self.dead != poisoned:
            self._note(f"the dead ones are {sorted(self.dead)}, not {sorted(poisoned)}")
        if set(self.kept) != set(range(self.items)) - poisoned:
            self._note(f"{len(self.kept)} results are kept, not those of the {self.items} items that can be done")
        for life, dead in self._dead_counts:
            # Those that were dead at the opening are those that have run, and have not run from then on.
            before = set[int]().union(*self._begun[:life]) - set[int]().union(*self._started[life:])
            if dead != len(set(filter(is_poisoned, before))):
                self._note(f"life {life} opened with {dead} dead ones")
        # Poisoned ones under way are those that ran again: they run until they are dead.
        again = sum(len(begun & poisoned) for begun in self._begun) - len(poisoned)
        self.under_way += again
        if self.runs != self.items + self.under_way:
            self._note(f"{self.runs} runs, not {self.items} and the {self.under_way} that were under way")

    def _check_runs(self, lines: Sequence[Line]) -> set[int]:
        begun: set[int] = set()
        started: set[int] = set()
        failed: set[int] = set()
        for number, kind in ((int(line[1]), line[0]) for line in lines if line[0] in ("start", "fail", "cut", "end")):
            if kind == "fail":
                failed.add(number)
            elif kind == "cut":  # another stream that waited for it may run it
                begun.discard(number)
                failed.discard(number)
                self.under_way += 1
            elif kind == "end":
                self._ended.add(number)
            elif number in failed:
                failed.discard(number)
            else:
                if number in begun:
                    self._note(f"{number} ran twice in one life")
                begun.add(number)
                started.add(number)
                self.runs += 1
        for what, done in (("kept", set(self.kept)), ("given out", self.given), ("given out as dead", self.dead)):
            if again := started & done:
                self._note(f"{sorted(again)} ran again though {what}")
        self._begun.append(begun)
        self._started.append(started)
        return begun

    def _check_given(self, lines: Iterable[Line]) -> None:
        for kind, *words in lines:
            if kind == "open":
                done, dead = map(int, words)
                self._dead_counts.append((len(self._begun) - 1, dead))
                if done != len(self.kept):
                    self._note(f"opened with {done} results, of which {len(self.kept)} were kept")
            elif kind in ("given", "dead"):
                number = int(words[1])
                if kind == "dead":
                    self.dead.add(number)
                    continue
                if words[2] != digest(value_of(number)):
                    self._note(f"the result given out for {number} is wrong")
                self.given.add(number)

    def _check_kept(self, kept: Mapping[int, object]) -> None:
        self._note_if("lost from the journal", self.kept.keys() - kept.keys())
        self._note_if("given out before it was committed", self.given - kept.keys())
        self._note_if("kept without having run", kept.keys() - self._ended)
        self._note_if("kept wrong", [number for number, value in kept.items() if value != value_of(number)])
        self.kept = kept

    def _note_if(self, what: str, numbers: Collection[int]) -> None:
        if numbers:
            self._note(f"{what}: {sorted(numbers)}")

    def _note(self, fault: str) -> None:
        self.faults.append(f"life {len(self._begun)}: {fault}")


def numbers_of(lines: Iterable[Line], *kinds: str) -> set[int]:
    """The items of which lines of these kinds speak."""
    return {int(line[2] if line[0] in ("given", "dead") else line[1]) for line in lines if line[0] in kinds}
