"""A batch over keys with quotas that are used up, which is killed again and again."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.journal_proof import files
from tests.journal_proof.life import Life
from tests.project.test_examples import EXAMPLES, PATIENCE, first_line, running

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = Path(__file__).with_name("llm_program.py")
MINUTE = 10.0
"""The seconds of a minute of the quotas: long, so that little comes back while a program starts."""
AT_ONCE = 192
"""So many requests the quotas allow at once; see ``whole_quota`` of the example."""


@dataclass
class Bill:
    """What the server has counted, and what the program has said.

    Attributes:
        calls: Those that the server counted, of which it ``refused`` some, and let some fail.
        starts: The attempts, of which ``under_way`` were killed.
        repeated: The prompts that were begun again after their answers were in the journal.
        lost: The prompts whose answers were given out, and then were not in the journal.
        given: How often each answer was given out in the last life.
    """

    calls: int = 0
    refused: int = 0
    failed: int = 0
    starts: int = 0
    under_way: int = 0
    repeated: list[int] = field(default_factory=list[int])
    lost: list[int] = field(default_factory=list[int])
    given: list[int] = field(default_factory=list[int])
    seconds: float = 0.0

    def faults(self, prompts: int) -> list[str]:
        """What is wrong with it, in words."""
        wrong = {
            f"{self.refused} calls were refused": self.refused,
            f"called for again though answered: {self.repeated}": self.repeated,
            f"answered and lost: {self.lost}": self.lost,
            f"{len(self.given)} of {prompts} answers in the end, not each once": self.given != list(range(prompts)),
            f"{self.starts} attempts": self.starts != prompts + self.failed + self.under_way,
            f"{self.calls} calls by {self.starts} attempts": self.calls > self.starts,
        }
        return [words for words, is_wrong in wrong.items() if is_wrong]

    def __str__(self) -> str:
        return (
            f"{self.calls} calls for {len(self.given)} prompts: {self.refused} refused, {self.failed} failed, "
            f"{self.under_way} attempts under way at the kills; {self.seconds:.1f} s"
        )


def is_counted(starts: int, lines: Sequence[list[str]]) -> bool:
    """Whether so many calls have started, and a result of later has been given out since."""
    begun = [number for number, line in enumerate(lines) if line[0] == "start"]
    if len(begun) < starts:
        return False
    since = lines[begun[starts - 1] :]
    ended = {line[1] for line in since if line[0] == "end"}
    return any(line[0] == "given" and line[1] in ended for line in since)


def run_batch(prompts: int, kills: int, seed: int, folder: Path, *, keep: bool = True) -> Bill:
    """Use the quotas up, and kill and start the program so often.

    Arguments:
        keep: Whether each life has the journal of the one before.
    """
    rng, bill, began = Random(seed), Bill(), time.monotonic()
    kept: set[int] = set()
    with running("llm_server.py", "--seed", str(seed), "--minute", str(MINUTE)) as server:
        port = first_line(server.stdout).strip()
        for number in range(kills + 1):
            journal = folder / ("run.sqlite" if keep else f"run-{number}.sqlite")
            arguments = json.dumps([str(journal), prompts, MINUTE])
            with Life(PROGRAM, port, arguments, PYTHONPATH=str(EXAMPLES)) as life:
                if number < kills:
                    starts = rng.randint(20, 40) + (0 if number else AT_ONCE)
                    # What has started just now may be forgotten. With the next result, it is committed.
                    life.wait_until(partial(is_counted, starts))
                    life.kill()
                else:
                    assert life.finish() == 0, life.errors
            counts = Counter(line[0] for line in life.lines)
            begun = [int(line[1]) for line in life.lines if line[0] == "start"]
            given = [int(line[1]) for line in life.lines if line[0] == "given"]
            bill.repeated += sorted(kept.intersection(begun))
            before, kept = kept, set(files.export(journal))
            bill.lost += sorted((before | {*given}) - kept) if keep else []
            bill.starts += counts["start"]
            bill.under_way += len(begun) - counts["fail"] - len({*begun} & kept)
            bill.given = sorted(given)
        output, errors = server.communicate(timeout=PATIENCE)
    assert errors == ""
    for account in json.loads(output.splitlines()[-1]).values():
        bill.calls += account["calls"]
        bill.refused += account["refused"]
        bill.failed += account["failed"]
    bill.seconds = time.monotonic() - began
    return bill
