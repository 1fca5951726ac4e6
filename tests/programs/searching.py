"""Runs many programs, in processes of their own."""

from __future__ import annotations

import multiprocessing
import queue
import time
from typing import TYPE_CHECKING

from tests.programs.generator import Choice, program_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import Queue

    from tests.programs.language import Program

    # Says what is wrong with a program.
    Judge = Callable[[Program], list[str]]
    # The seed, or None at the end, and what is wrong with its program.
    Report = tuple[int | None, list[str]]


def search(
    first: int, until: float, number: int | None, processes: int, choice: Choice, judge: Judge, *, go_on: bool
) -> list[tuple[int, list[str]]]:
    """Run programs in processes of their own; return those in which ``judge`` finds something."""
    context = multiprocessing.get_context("spawn")
    reports: Queue[Report] = context.Queue()
    workers = [
        context.Process(
            target=_run_many, args=(first + offset, processes, until, number, choice, judge, reports), daemon=True
        )
        for offset in range(processes)
    ]
    for worker in workers:
        worker.start()
    found: list[tuple[int, list[str]]] = []
    run, ended, told = 0, 0, time.monotonic()
    while ended < len(workers) and (go_on or not found):
        try:
            seed, failures = reports.get(timeout=5.0)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                break
            continue
        if seed is None:
            ended += 1
            continue
        run += 1
        if failures:
            found.append((seed, failures))
            print(f"seed {seed}: {failures[0][:200]}", flush=True)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{run} programs, {len(found)} of them fail", flush=True)
    for worker in workers:
        worker.terminate()
        worker.join()
    print(f"{run} programs, {len(found)} of them fail", flush=True)
    return found


def _run_many(
    first: int, step: int, until: float, number: int | None, choice: Choice, judge: Judge, reports: Queue[Report]
) -> None:
    seed = first
    while time.monotonic() < until and (number is None or (seed - first) // step < number):
        reports.put((seed, judge(program_of(seed, choice))))
        seed += step
    reports.put((None, []))
