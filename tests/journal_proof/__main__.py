"""``python -m tests.journal_proof``: kills programs at random moments, and tells what has come of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.journal_proof.killing import Killer
from tests.journal_proof.power import PowerLoss
from tests.journal_proof.quotas import AT_ONCE, run_batch


def main() -> int:
    """Kill as often as asked for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.journal_proof", description=__doc__)
    parser.add_argument("--items", type=int, default=2000, help="how many items the program works through")
    parser.add_argument("--kills", type=int, default=100, help="how often it is killed")
    parser.add_argument("--copies", type=int, default=25, help="how often its files are copied, as if power failed")
    parser.add_argument(
        "--restarts", type=int, default=10, help="how often a batch is killed that has used up its quotas"
    )
    parser.add_argument("--seed", type=int, default=None, help="for the moments; by default it is the time")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    print(f"{given.kills} kills over {given.items} items from seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        story = Killer(given.items, given.kills, seed, Path(folder)).run(lambda line: print(f"  {line}", flush=True))
    print(story, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome = PowerLoss(given.items, given.copies, 4, seed, Path(folder)).run()
    print(outcome, flush=True)
    prompts = AT_ONCE + 25 * given.restarts
    with tempfile.TemporaryDirectory() as folder:
        bill = run_batch(prompts, given.restarts, seed, Path(folder))
    print(bill)
    faults = [*story.record.faults, *outcome.faults, *bill.faults(prompts)]
    for fault in faults:
        print(f"wrong: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
