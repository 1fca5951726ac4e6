"""The jobs of a replay: what their functions do, and the options with which they are submitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from .._model.states import Cut
from .._policies.retry import GiveUp
from .._runtime.job_context import current_job, current_run
from ._conductor import LATE_RUN, RUN
from ._decisions import as_recorded, error_of
from ._mishaps import MOST_REPEATS, Mishaps
from ._values import key_of, number, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._model.handles import Worker
    from .._model.records import Run
    from ._conductor import Conductor, Rank
    from ._script import Contents, Line, Script, ThreadScript
    from ._setup import Setup


_A_MOMENT = 0.001
"""Seconds by which a timeout may seem to be longer than it was recorded."""


class Performer:
    """Performs the runs of a replay's jobs: they take as long as recorded, and end as recorded.

    Arguments:
      conductor: lets time pass.
      contents: the recording.
      setup: the replay's pool.
      follow: performs the calls that a task inside of a run makes to the pool.
    """

    def __init__(
        self,
        conductor: Conductor,
        contents: Contents,
        setup: Setup,
        follow: Callable[[ThreadScript], Any],
    ) -> None:
        self._conductor = conductor
        self._is_like_recorded = setup.is_like_recorded
        self._is_unchanged = setup.is_unchanged
        self._mishaps = Mishaps(contents, setup.source_of, is_unchanged=setup.is_unchanged)
        # The timeouts of jobs that have none of their own.
        self._limits = [number(contents.opening[name]) for name in ("attempt_timeout", "total_timeout")]
        self._follow = follow

    async def __call__(self, _: object, script: Script) -> None:
        """The function of every job."""
        run = current_run.get()
        if run is None or run.job is not current_job():
            run = current_job()._run
        assert run is not None
        is_further = run.race is not None and run.worker is not run.race.first
        mishap = None if run.race is not None else self._mishaps.next_of(script, run.worker)
        if mishap is not None:
            attempt, seconds, how = mishap, mishap["seconds"], mishap["end"]
        else:
            attempt, (_, seconds, how) = script.begin(is_further=is_further)
        if script.begun > len(script.attempts) + self._most_repeats(script):
            raise GiveUp("nothing in the recording says that it would ever succeed")
        script.current, script.has_ended_as_recorded = attempt, False
        threads = () if is_further else script.take_threads(attempt)
        end = self._conductor.now + seconds
        try:
            if how != "timeout" and how != "cut" and seconds >= self._limit_of(script, attempt):
                with trio.CancelScope(shield=True):  # the recorded run went on in spite of its timeout
                    await self._last(run, script, attempt, end, how)
            elif not threads:
                await self._last(run, script, attempt, end, how)
            else:
                async with trio.open_nursery() as nursery:
                    for thread in threads:
                        nursery.start_soon(self._follow, thread)
                    await self._last(run, script, attempt, end, how)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                # Runs that are cancelled at the same instant end one after another.
                late = max(0.0, seconds - self._limit_of(script, attempt)) if how == "timeout" else 0.0
                if how == "cut" and self._is_unchanged and run.race is None and run.cut is Cut.CANCELLED:
                    late = max(0.0, end - self._conductor.now)  # how long the recorded run took to end
                script.has_ended_as_recorded = how == "timeout"
                if run.cut is not None and mishap is None and not is_further:
                    script.take_back()  # the worker is removed, and the job will run again
                await self._conductor.until(self._conductor.now + late, (RUN, run.number))
            raise
        self._end(script, attempt, how)

    def _limit_of(self, script: Script, attempt: Line) -> float:
        """How long the recorded attempt could take before a timeout cancelled it."""
        each, in_all = self._timeouts_of(script)
        limit = math.inf if each is None else each
        if in_all is None or in_all == math.inf or attempt not in script.attempts:
            return limit
        return min(limit, float(script.line["at"] + in_all - attempt["at"]))

    def _timeouts_of(self, script: Script) -> list[float | None]:
        """The ``attempt_timeout`` and the ``total_timeout`` of a job."""
        own: Line = script.line.get("options", {})
        return [
            number(own[name]) if name in own else default
            for name, default in zip(("attempt_timeout", "total_timeout"), self._limits, strict=True)
        ]

    async def _last(self, run: Run, script: Script, attempt: Line, end: float, how: str) -> None:
        """Wait for the end of a run; meanwhile, lend its place and report what it has used, as recorded."""
        rank: Rank = (RUN, run.number)
        is_race = run.race is not None
        start, steps = end - (attempt["seconds"] if not is_race else 0.0), attempt.get("steps", ())
        if steps and not is_race:
            end += await self._take_steps(run, start, steps)
        if how == "timeout":
            if run.deadline < end + _A_MOMENT:
                await trio.sleep_forever()
            end = max(end, start + script.usual)  # a longer timeout: nobody knows how much longer it would have taken
        if how == "cut" and not is_race:
            if script.is_cancelled_alone:
                await trio.sleep_forever()
            end = max(end, start + script.usual)  # without the cut it would have taken longer
        elif how == "cut":
            rank = (LATE_RUN, run.number)
        await self._conductor.until(end, rank)

    def _end(self, script: Script, attempt: Line, how: str) -> None:
        script.has_ended_as_recorded = True
        if how in ("error", "timeout"):
            raise error_of(attempt, is_like_recorded=self._repeats_decisions(script))

    def _repeats_decisions(self, script: Script) -> bool:
        """Whether the decision about a job after a failure is as recorded."""
        return self._is_like_recorded or "retry" in script.line.get("options", {})

    def _most_repeats(self, script: Script) -> int:
        """How often the last recorded attempt may be repeated, even if that one failed and was to be tried again."""
        # A job with a total timeout died of it, and the timeout also ends the job in the replay.
        is_over = script.line["end"] == "dead" and self._timeouts_of(script)[1] in (None, math.inf)
        return 0 if is_over and script.attempts and self._repeats_decisions(script) else MOST_REPEATS

    async def _take_steps(self, run: Run, start: float, steps: list[list[Any]]) -> float:
        """Take the steps of an attempt; return how much later it ends because a lent place came back later."""
        shift, following = 0.0, iter(steps)
        for offset, what, value in following:
            if what == "returned":
                shift = self._conductor.now - start - offset
                continue
            await self._conductor.until(start + offset + shift, (RUN, run.number))
            if what == "used":
                current_job().set_used(value)
            else:
                async with current_job().lend():
                    await self._stay_lent(run, start + shift, following)
        return shift  # noqa: ASYNC910  # not for users

    async def _stay_lent(  # noqa: ASYNC910  # not for users
        self, run: Run, start: float, steps: Iterator[list[Any]]
    ) -> None:
        """Take the steps of an attempt until it requests its lent place back."""
        for offset, what, value in steps:
            await self._conductor.until(start + offset, (RUN, run.number))
            if what == "claimed":
                return
            current_job().set_used(value)


class JobOptionsOf:
    """The options of the jobs of a replay.

    Arguments:
      workers: the workers by their numbers in the recording.
      scripts: the jobs by their numbers.
    """

    def __init__(self, workers: dict[int, Worker], scripts: dict[int, Script]) -> None:
        self._workers = workers
        self._scripts = scripts
        self._policies: dict[str, Any] = {}

    def of(self, script: Script) -> dict[str, Any]:
        """The options of a job, as arguments for the calls of the pool."""
        line: Line = script.line.get("options", {})
        options: dict[str, Any] = {"name": script.line["name"]}
        for name in ("attempt_timeout", "total_timeout"):
            if name in line:
                options[name] = number(line[name])
        for name in ("priority", "requires", "uses"):
            if name in line:
                options[name] = line[name]
        if "retry" in line:
            options["retry"] = self._once(line["retry"], as_recorded)
        if "hedge" in line:
            options["hedge"] = self._once(line["hedge"], policy_of)
        if "key" in line:
            options["key"] = key_of(line["key"])
        if "worker" in line:
            options["worker"] = self._workers.get(line["worker"])
        if "after" in script.line:
            others = [self._scripts[number].job for number in script.line["after"] if number in self._scripts]
            options["after"] = [job for job in others if job is not None]
        return options

    def _once(self, data: Line, make: Callable[[Line], Any]) -> Any:
        key = repr(data)
        if key not in self._policies:
            self._policies[key] = make(data)
        return self._policies[key]
