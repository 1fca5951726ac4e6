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
from time import process_time
start = process_time()
import trio, attrs
middle = process_time()
import trio_pool
end = process_time()
print(end - middle, middle - start)
"""


def keeping_bytecode(folder: str) -> dict[str, str]:
    """The environment of interpreters that keep the bytecode of all that they import there.

    Installed packages have theirs beside the sources, but it may be missing, and the environment may
    forbid writing it.
    """
    return os.environ | {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}


def start_interpreter(bytecode: str) -> Pair:
    """The seconds of importing the package after the others, and of importing those."""
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=keeping_bytecode(bytecode)
    )
    own, others = map(float, answer.stdout.split())
    return own, others


def import_time(scale: Scale) -> Figure:
    """The time of importing the package against that of what it needs."""
    with tempfile.TemporaryDirectory() as bytecode:
        start_interpreter(bytecode)  # compiles
        return ratio([start_interpreter(bytecode) for _ in range(STARTS * scale.rounds)])
