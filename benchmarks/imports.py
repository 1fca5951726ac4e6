"""What it takes to import the package, beyond what it is made with."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from .measure import Figure, ratio

if TYPE_CHECKING:
    from .measure import Pair
    from .rows import Scale

STARTS = 3
"""Interpreters for each round: the imports are short, so what disturbs them weighs more."""

PROGRAM = """
from time import perf_counter
start = perf_counter()
import trio, attrs
middle = perf_counter()
import trio_pool
end = perf_counter()
print(end - middle, middle - start)
"""


def start_interpreter() -> Pair:
    """The seconds of importing the package after the others, and of importing those."""
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    own, others = map(float, answer.stdout.split())
    return own, others


def import_time(scale: Scale) -> Figure:
    """The time of importing the package against that of what it needs."""
    start_interpreter()  # compiles what has no bytecode yet
    return ratio([start_interpreter() for _ in range(STARTS * scale.rounds)])
