"""What a program costs in instructions of the processor, counted by callgrind.

``python -m benchmarks.instructions PEER FEW MANY`` is the process that is counted. It forks for each
program and each number of jobs, so all of them have the same start and the same imports behind them.
These drop out of the difference between two numbers of jobs.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from . import programs
from .imports import keeping_bytecode
from .measure import NotMeasured, ratio

if TYPE_CHECKING:
    from .measure import Figure
    from .rows import Scale

CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")


def process(peer: str, few: int, many: int) -> list[str]:
    """The command that runs so many jobs of the pool, then of the peer."""
    return [sys.executable, "-m", f"{__package__}.instructions", peer, str(few), str(many)]


def against(peer: str, scale: Scale) -> Figure:
    """The instructions of each job by ``submit`` against those of a peer.

    Raises:
      NotMeasured: if valgrind is not installed.
      RuntimeError: if callgrind does not say the numbers.
    """
    if shutil.which(CALLGRIND[0]) is None:
        raise NotMeasured("valgrind is not installed")
    few, many = scale.counted, 3 * scale.counted
    with tempfile.TemporaryDirectory() as bytecode:
        # With the same seed the dictionaries of all processes have the same collisions.
        environment = keeping_bytecode(bytecode) | {"PYTHONHASHSEED": "0"}
        subprocess.run(process(peer, 1, 1), check=True, env=environment)  # compiles
        command = [*CALLGRIND, *process(peer, few, many)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    # A line of each child, in their order, and one of their parent.
    counts = [int(number) for number in re.findall(r"Collected : (\d+)", answer.stderr)]
    if len(counts) != 5:
        raise RuntimeError(f"callgrind has not counted five processes: {answer.stderr}")
    jobs = many - few
    return ratio([((counts[1] - counts[0]) / jobs, (counts[3] - counts[2]) / jobs)])


def main(peer: str, few: int, many: int) -> None:
    """Run each program in a child. The garbage collector leaves alone what was imported before."""
    other = importlib.import_module(f".peers.{peer}", __package__).run
    costs = [programs.whole(run, jobs) for run in (programs.submit_all, other) for jobs in (few, many)]
    gc.collect()
    gc.freeze()
    for cost in costs:
        child = os.fork()
        if not child:
            cost()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit("a program has failed")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
