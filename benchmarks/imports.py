"""What it takes to import the package, beyond what it is made with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
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


def start_interpreter(bytecode: str) -> Pair:
    """The seconds of importing the package after the others, and of importing those.

    All of them with bytecode, as installed packages have it: it is kept in a folder of its
    own, since the environment may forbid writing it beside the sources.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
    )
    own, others = map(float, answer.stdout.split())
    return own, others


def import_time(scale: Scale) -> Figure:
    """The time of importing the package against that of what it needs."""
    with tempfile.TemporaryDirectory() as bytecode:
        start_interpreter(bytecode)  # compiles
        return ratio([start_interpreter(bytecode) for _ in range(STARTS * scale.rounds)])
