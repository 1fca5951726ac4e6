"""A program that is killed again and again at random moments, and started again until it is done."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.journal_proof import files
from tests.journal_proof.life import Life
from tests.journal_proof.program import WAYS, Task
from tests.journal_proof.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).with_name("program.py")
RUNNING = ("start", "end")


@dataclass
class Story:
    """What has happened.

    Attributes:
        record: What the lives have done.
        killed: How many have been killed; ``early`` of them before the journal was open.
        ended: How many have come to their end.
    """

    record: Record
    killed: int = 0
    early: int = 0
    ended: int = 0
    seconds: float = 0.0
    moments: dict[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        record = self.record
        return "\n".join(
            [
                f"{self.killed} kills: {self.early} before the journal was open, "
                + ", ".join(f"{count} by {name}" for name, count in sorted(self.moments.items())),
                f"{record.runs} runs for {record.items} items: {record.under_way} were under way at the kills; of these "
                f"{record.over} had returned and were not committed, at most {record.most_over} at one kill",
                f"{len(record.given)} results and {len(record.dead)} dead ones were given out, {len(record.faults)} faults",
                f"{self.seconds:.1f} s",
            ]
        )


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
        for _ in range(2):  # the second has nothing to do
            runs = story.record.runs
            last = self._live(None)
        story.record.finish(last)
        if story.record.runs != runs:
            story.record.faults.append(f"{story.record.runs - runs} ran in the life after the last")
        story.seconds = time.monotonic() - began
        return story

    def _draw(self) -> tuple[str, Callable[[Life], object]]:
        """A moment by its name, and how to wait for it."""
        rng, record = self._rng, self._story.record
        jitter = rng.uniform(0, 0.01)
        kind = rng.random()
        if kind < 0.1:
            delay = rng.uniform(0, 1.1 * self._startup)
            return "time from the start", lambda life: time.sleep(delay)
        if kind < 0.2:
            return "its opening", lambda life: life.wait_for(1, "open") and time.sleep(jitter)
        if kind < 0.3:
            count = rng.randint(1, max(1, len(record.given)))
            return "what it gave out", lambda life: life.wait_for(count, "given") and time.sleep(jitter)
        # So many that the items last until the last kill, or nearly.
        left = 2 * (record.items - len(record.kept)) / (self._kills - self._story.killed)
        lines = rng.randint(1, max(1, round(1.6 * left)))
        return "what it ran", lambda life: life.wait_for(lines, *RUNNING) and time.sleep(jitter)

    def _live(self, moment: tuple[str, Callable[[Life], object]] | None) -> list[list[str]]:
        """One life, to a moment or to its end; returns what it has said."""
        self._lives += 1
        story = self._story
        task = Task(str(self._journal), story.record.items, self._rng.choice(sorted(WAYS)), self._lives)
        with Life(PROGRAM, task.written()) as life:
            if moment is None:
                code = life.finish()
            else:
                name, wait = moment
                wait(life)
                code = life.kill()
            if code == -signal.SIGKILL and moment is not None:
                story.killed += 1
                story.early += not life.lines
                story.moments[name] = story.moments.get(name, 0) + 1
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
