"""``python -m tests.mutation``: tries whether the tests notice small changes to the core and the policies."""

from __future__ import annotations

import argparse
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.mutation.changes import Mutant, compiles, mutants_of

JUDGES = {Path("trio_pool/_core"): Path("tests/core"), Path("trio_pool/_policies"): Path("tests/policies")}
"""Which tests have to notice a change in what folder."""

SLOWEST = {"test_flat_events.py", "test_machines.py"}
"""These tests come last: they take as long as all the others together."""


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    caught: bool


def main() -> int:
    """Try mutants; 1 if too few of them are caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--number", type=int, default=300, help="how many are drawn at random (%(default)s); 0 for all")
    parser.add_argument("--seed", type=int, default=None, help="what they are drawn by; by default it is the time")
    parser.add_argument("--only", default="", help="only modules with this in their path")
    parser.add_argument("--least", type=float, default=90.0, help="how many per cent must be caught (%(default)s)")
    parser.add_argument("--list", action="store_true", help="only say how many there are of each change")
    given = parser.parse_args()
    modules = [path for folder in JUDGES for path in sorted(folder.glob("*.py")) if given.only in path.as_posix()]
    everything = [mutant for path in modules for mutant in mutants_of(path)]
    if given.list:
        for change, number in Counter(mutant.change for mutant in everything).most_common():
            print(f"{number:5} {change}")
        return 0
    seed = int(time.time()) if given.seed is None else given.seed
    random.Random(seed).shuffle(everything)
    print(f"{given.number or 'all'} of {len(everything)} mutants, drawn by seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for name in ("trio_pool", "tests"):
            shutil.copytree(name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("conftest.py", "pyproject.toml"):
            shutil.copy2(name, copy)
        verdicts = judge(copy, everything, given.number or len(everything))
    return report(verdicts, given.least)


def judge(copy: Path, mutants: list[Mutant], number: int) -> list[Verdict]:
    """Try mutants, in a copy of the project, until there are so many."""
    for folder in {mutant.path.parent for mutant in mutants}:
        # It leaves compiled files behind, which the other runs use.
        if notices(copy, files_for(folder / "__init__.py"), write_bytecode=True):
            sys.exit(f"The tests in {JUDGES[folder]} fail on the code as it is.")
    verdicts: list[Verdict] = []
    for mutant in mutants:
        if len(verdicts) == number:
            break
        original = mutant.path.read_text(encoding="utf-8")
        changed = mutant.source()
        if changed is None or changed == original or not compiles(changed):
            continue
        (copy / mutant.path).write_text(changed, encoding="utf-8")
        caught = notices(copy, files_for(mutant.path))
        shutil.copy2(mutant.path, copy / mutant.path)
        verdicts.append(Verdict(mutant, caught))
        if not caught:
            print(f"\n{mutant.change} survives:\n{difference(mutant.path, original, changed)}", flush=True)
        if not len(verdicts) % 25:
            print(f"\n{len(verdicts)} tried, {sum(verdict.caught for verdict in verdicts)} of them caught", flush=True)
    return verdicts


def files_for(module: Path) -> list[str]:
    """The tests of a module's folder, those first that are named like the module, the slowest last."""

    def place(path: Path) -> tuple[bool, bool, str]:
        return path.name in SLOWEST, not path.stem.startswith(f"test_{module.stem}"), path.name

    return [path.as_posix() for path in sorted(JUDGES[module.parent].glob("test_*.py"), key=place)]


def notices(copy: Path, files: list[str], *, write_bytecode: bool = False) -> bool:
    """Whether one of the tests in these files fails, in the folder."""
    environment = {
        **os.environ,
        # Two mutants of one length made within a second would be one to Python.
        "PYTHONDONTWRITEBYTECODE": "" if write_bytecode else "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation.judge", *files],
        cwd=copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode != 0


def difference(path: Path, original: str, changed: str) -> str:
    """The change, as a diff."""
    name = path.as_posix()
    return "\n".join(difflib.unified_diff(original.splitlines(), changed.splitlines(), name, name, lineterm=""))


def report(verdicts: list[Verdict], least: float) -> int:
    """Print how many were caught, by module and in all."""
    drawn = Counter(verdict.mutant.path for verdict in verdicts)
    caught = Counter(verdict.mutant.path for verdict in verdicts if verdict.caught)
    print()
    for path in sorted(drawn):
        print(f"{caught[path]:4} of {drawn[path]:4} caught: {path.as_posix()}")
    score = 100 * caught.total() / max(1, drawn.total())
    print(f"{caught.total():4} of {drawn.total():4} caught: {score:.1f} per cent, and {least:g} have to be", flush=True)
    return int(score < least)


if __name__ == "__main__":
    sys.exit(main())
