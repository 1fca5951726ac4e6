"""A program that is killed again and again at random moments, and started again until it is done."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.journal_proof import files
from tests.journal_proof.life import Life
from tests.journal_proof.program import INTERRUPTED, WAYS, Task
from tests.journal_proof.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).with_name("program.py")


@dataclass
class Story:
    """What has happened.

    Attributes:
        record: What the lives have done.
        killed: How many have been killed; ``early`` of them before the journal was open.
        interrupted: How many have been ended by Ctrl-C besides.
        ended: How many have come to their end.
    """

    record: Record
    killed: int = 0
    early: int = 0
    interrupted: int = 0
    ended: int = 0
    seconds: float = 0.0
    moments: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        record = self.record
        moments = ", ".join(f"{count} by {name}" for name, count in sorted(self.moments.items()))
        return (
            f"{self.killed} kills, {self.early} before the journal was open: {moments}\n"
            f"{self.interrupted} times Ctrl-C besides\n"
            f"{record.runs} runs for {record.items} items: {record.under_way} were under way at the kills, of which "
            f"{record.over} had returned and were not committed, at most {record.most_over} at one kill\n"
            f"{len(record.given)} results and {len(record.dead)} dead ones were given out\n"
            f"{len(record.faults)} faults, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Moment:
    """When to kill: after so many lines of some kinds, and some seconds; or when to press Ctrl-C in place of that."""

    name: str
    count: int
    kinds: tuple[str, ...]
    delay: float
    by_hand: bool = False

    def wait(self, life: Life) -> None:
        if life.wait_for(self.count, *self.kinds):
            time.sleep(self.delay)


class Killer:
    """Draws the moments, and starts the lives.

    Arguments:
        items: How many there are.
        kills: How often the program is killed.
        folder: For the journal, empty.
    """

    def __init__(self, items: int, kills: int, seed: int, folder: Path) -> None:
        self._kills = kills
        self._journal = folder / "run.sqlite"
        self._rng = Random(seed)
        self._story = Story(Record(items))
        self._lives = 0
        self._has_been_open = False
        self._startup = 0.5

    def run(self, tell: Callable[[str], object] = lambda line: None) -> Story:
        """Kill as often as asked for, let one more life come to its end, and look at another one after it."""
        began = time.monotonic()
        story = self._story
        while story.killed < self._kills:
            self._live(self._draw())
            tell(f"{story.killed} kills, {story.record.runs} runs, {len(story.record.kept)} kept")
        story.record.finish(self._live(None))
        runs = story.record.runs
        self._live(None)
        if story.record.runs != runs:
            story.record.faults.append(f"{story.record.runs - runs} ran in the life after the last")
        story.seconds = time.monotonic() - began
        return story

    def _draw(self) -> Moment:
        rng, record = self._rng, self._story.record
        jitter = rng.uniform(0, 0.01)
        kind = rng.random()
        if kind < 0.1:
            return Moment("time from the start", 0, (), rng.uniform(0, 1.1 * self._startup))
        if kind < 0.2:
            return Moment("its opening", 1, ("open",), jitter)
        if kind < 0.3:
            return Moment("what it gave out", rng.randint(1, max(1, len(record.given))), ("given",), jitter)
        if kind < 0.4:
            return Moment("hand", rng.randint(1, 20), ("start",), jitter, by_hand=True)
        # So many that the items last until the last kill, or nearly.
        share = (record.items - len(record.kept)) / (self._kills - self._story.killed)
        return Moment("what it ran", rng.randint(1, max(1, round(3.2 * share))), ("start", "end"), jitter)

    def _live(self, moment: Moment | None) -> list[list[str]]:
        """One life, to a moment or to its end; returns what it has said."""
        self._lives += 1
        story = self._story
        task = Task(str(self._journal), story.record.items, self._rng.choice(sorted(WAYS)), self._lives)
        with Life(PROGRAM, task.written()) as life:
            if moment is None:
                code = life.finish()
            else:
                moment.wait(life)
                code = life.interrupt() if moment.by_hand else life.kill()
            if code == INTERRUPTED and moment is not None and moment.by_hand:
                story.interrupted += 1
            elif code == -signal.SIGKILL and moment is not None:
                story.killed += 1
                story.early += not life.lines
                story.moments[moment.name] += 1
            else:
                story.ended += 1
                if code != 0 or life.lines[-1] != ["done"]:
                    story.record.faults.append(f"life {self._lives} ended with {code}: {life.lines[-1:]} {life.errors}")
        if life.lines:
            self._has_been_open = True
            self._startup = life.seconds
        # Nothing may be there before it has been open once.
        story.record.add(life.lines, files.export(self._journal) if self._has_been_open else {})
        return life.lines
