"""What is left of a journal if the power fails, as far as that can be had without a machine that falls."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from tests.journal_proof import files
from tests.journal_proof.killing import PROGRAM
from tests.journal_proof.life import Life
from tests.journal_proof.program import WAYS, Task, value_of
from tests.journal_proof.record import Record, numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.journal_proof.record import Line


@dataclass(frozen=True)
class Moment:
    """The files at a moment, while the program stood still.

    Attributes:
        journal: The copy.
        lines: What the program had said until then.
        log: How far the log had come.
    """

    journal: Path
    lines: list[Line]
    log: files.Log


@dataclass
class Outcome:
    """What has been opened, and what was wrong with it."""

    copies: int = 0
    cuts: int = 0
    lost: int = 0
    restarts: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return (
            f"{self.copies} copies, {self.cuts} of them with an end of the log cut off, which took {self.lost} results "
            f"with it; {self.restarts} programs went on from one; {len(self.faults)} faults; {self.seconds:.1f} s"
        )


class PowerLoss:
    """Takes copies while a program runs, cuts off what a disk may not have written yet, and opens them.

    SQLite's log is written from its beginning to its end, and synced before anybody learns that a transaction is
    committed. So the disk has all of the log up to some place, which is not before the last commit that the program
    knows of. Here the place is drawn from even further before: from the last moment on.

    Arguments:
        items: How many the program works through.
        moments: How many copies are taken.
        cuts: How many ends are cut off from each.
    """

    def __init__(self, items: int, moments: int, cuts: int, seed: int, folder: Path) -> None:
        self._items = items
        self._moments = moments
        self._cuts = cuts
        self._rng = Random(seed)
        self._folder = folder
        self._journal = folder / "run.sqlite"
        self._outcome = Outcome()

    def run(self) -> Outcome:
        began = time.monotonic()
        before: Moment | None = None
        for number, moment in enumerate(self._take()):
            kept = self._open(f"moment {number}", moment, moment.journal, moment)
            if before is not None and before.log.salt == moment.log.salt:
                self._cut(number, before, moment, kept)
            self._outcome.copies += 1
            before = moment
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    def _take(self) -> list[Moment]:
        """Run the program once, and stop it at moments all over its life."""
        moments: list[Moment] = []
        lines = 0
        with Life(PROGRAM, Task(str(self._journal), self._items, self._rng.choice(sorted(WAYS))).written()) as life:
            life.wait_for(1, "open")
            while len(moments) < self._moments:
                lines += self._rng.randint(1, 3 * self._items // self._moments)
                life.wait_for(lines, "start", "end")
                time.sleep(self._rng.uniform(0, 0.01))
                if not life.stop():
                    break
                copy = files.copy(self._journal, self._folder / f"moment {len(moments)}")
                moments.append(Moment(copy, list(life.lines), files.Log.of(self._journal)))
                life.go_on()
            if (code := life.finish()) != 0:
                self._outcome.faults.append(f"ended with {code}: {life.lines[-1]} {life.errors}")
        return moments

    def _open(self, what: str, safe: Moment, journal: Path, moment: Moment) -> Mapping[int, object]:
        """What is in a copy, which must be all that had been given out, and nothing that had not run."""
        kept = files.export(journal)
        note = self._outcome.faults.append
        if lost := numbers_of(safe.lines, "given") - kept.keys():
            note(f"{what}: lost {sorted(lost)}")
        if more := kept.keys() - numbers_of(moment.lines, "end"):
            note(f"{what}: {sorted(more)} never ran")
        if wrong := [number for number, value in kept.items() if value != value_of(number)]:
            note(f"{what}: {sorted(wrong)} are wrong")
        return kept

    def _cut(self, number: int, before: Moment, moment: Moment, whole: Mapping[int, object]) -> None:
        """Cut at some places, the last as early as can be, and go on from that."""
        rng = self._rng
        size = files.log_of(moment.journal).stat().st_size
        first = max(before.log.written, moment.log.moved)
        places = [*sorted((rng.randint(first, size) for _ in range(self._cuts - 1)), reverse=True), first]
        longer = whole
        for left, place in zip(reversed(range(self._cuts)), places, strict=True):
            folder = self._folder / f"moment {number} cut at {place}"
            journal = files.copy(moment.journal, folder)
            how = files.cut(journal, place, rng)
            kept = self._open(f"{folder.name}, {how}", before, journal, moment)
            if more := kept.keys() - longer.keys():
                self._outcome.faults.append(f"{folder.name}, {how}: {sorted(more)} are not in the longer one")
            self._outcome.cuts += 1
            if not left:
                self._outcome.lost += len(whole) - len(kept)
                self._go_on(journal, kept, before, moment)
            shutil.rmtree(folder)
            longer = kept

    def _go_on(self, journal: Path, kept: Mapping[int, object], before: Moment, moment: Moment) -> None:
        """A program that is started over such a journal runs what is missing, and nothing else."""
        record = Record(self._items)
        ran = [line for line in moment.lines if line[0] not in ("given", "dead")]
        record.add([*ran, *(line for line in before.lines if line[0] in ("given", "dead"))], kept)
        with Life(PROGRAM, Task(str(journal), self._items, self._rng.choice(sorted(WAYS))).written()) as life:
            code = life.finish()
            if code != 0:
                self._outcome.faults.append(
                    f"{journal.parent.name}: ended with {code}: {life.lines[-1:]} {life.errors}"
                )
        record.add(life.lines, files.export(journal))
        record.finish(life.lines)
        self._outcome.restarts += 1
        self._outcome.faults += [f"{journal.parent.name}: {fault}" for fault in record.faults]
