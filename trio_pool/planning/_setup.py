"""The pool of a replay: the recorded options and resources, with the caller's changes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from .._model.pool_config import Config
from .._policies import validate
from .._policies.per_key import PerKey
from .._policies.resource import Elastic, Resource
from ._conductor import WORKER
from ._decisions import as_recorded, breaker_as_recorded
from ._opening import PLAIN_OPTIONS
from ._values import FreshLimits, key_of, number, policy_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from .._model.handles import Worker
    from ._conductor import Conductor
    from ._script import Contents, Line

FIXED = {
    "lifespan": "lifespans take as long as recorded",
    "on_failure": "decisions about failures are repeated as recorded; a retry policy can be changed",
    "check": "checks are not repeated",
    "rng": "give a seed",
    "history": "a replay keeps none",
    "metadata": "nothing in a replay reads it",
}
"""The options that can't be changed, and why."""


def check_changes(changes: Mapping[str, object]) -> None:
    """Check the changes of a caller for a replay.

    Raises:
      TypeError: if an option is unknown.
      ValueError: if an option can't be changed.
    """
    for name in changes:
        if name in FIXED:
            raise ValueError(f"{name} can't be changed in a replay: {FIXED[name]}")
        if name not in Config.__slots__:
            raise TypeError(f"replay() got an unexpected keyword argument {name!r}; what can be changed are the "
                            f"options of open_pool")  # fmt: skip
    Config(**changes)  # type: ignore[arg-type]


class Session:
    """A lifespan that takes the recorded time to enter and to leave.

    Arguments:
      conductor: lets time pass.
      rank: the worker's number, which determines the order of events at the same instant.
      enter: how many seconds entering takes, and whether it succeeds.
      leave: how many seconds leaving takes.
    """

    __slots__ = ("_conductor", "_enter", "_leave", "_rank")

    def __init__(self, conductor: Conductor, rank: int, enter: tuple[float, bool], leave: float) -> None:
        self._conductor = conductor
        self._rank = (WORKER, rank)
        self._enter = enter
        self._leave = leave

    async def __aenter__(self) -> None:
        duration, succeeds = self._enter
        await self._conductor.until(self._conductor.now + duration, self._rank)
        if not succeeds:
            raise OSError("the resource could not be opened, as recorded")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It takes as long as recorded, also in a pool that is cancelled. An exit that was cut short was recorded so.
        with trio.CancelScope(shield=True):
            await self._conductor.until(self._conductor.now + self._leave, self._rank)


class Setup:
    """The arguments of `open_pool` for one replay.

    Attributes:
      resources: the resources, or the elastic description.
      options: the options.
      is_like_recorded: whether the decisions of the pool's retry policy are repeated.
      is_elastic: whether the pool opens workers with the load.
      has_recorded_workers: whether there are as many workers as recorded.
      is_unchanged: whether everything that matters is as recorded.
      entering: the worker whose lifespan is about to be entered.
    """

    def __init__(
        self, contents: Contents, conductor: Conductor, workers: int | None, seed: int, changes: Mapping[str, Any]
    ) -> None:
        self._contents = contents
        self._conductor = conductor
        self._limits = FreshLimits()
        self._sessions: dict[int, int] = {}
        self._known: list[int] = sorted(contents.enters)
        self.entering: Worker | None = None
        self.is_like_recorded = "retry" not in changes
        self.has_recorded_workers = workers is None
        self.is_unchanged = workers is None and changes.keys() <= {"instruments", "name", "show_arguments"}
        opening = contents.opening
        self.resources: Any = self._elastic(opening["elastic"], workers)
        if self.resources is None:
            self.resources = self._listed(workers)
        self.options: dict[str, Any] = self._recorded_options(opening)
        self.options |= changes
        for name in ("rate_limit", "per_key"):
            if name in changes:
                convert: Any = self._limits.given if name == "rate_limit" else self._limits.per_key
                self.options[name] = convert(changes[name])
        if self.options["on_dead"] == "keep":
            self.options["on_dead"] = "raise"  # the replay catches these errors; with "keep" they would be logged
        self.options |= {"rng": Random(seed), "history": False}
        self.is_elastic: bool = opening["elastic"] is not None
        if not self.is_elastic:
            self.options["lifespan"] = self._lifespan

    def _recorded_options(self, opening: Line) -> dict[str, Any]:
        options: dict[str, Any] = {name: number(opening[name]) for name in PLAIN_OPTIONS}
        options |= {"retry_budget": policy_of(opening["retry_budget"]), "reopening": policy_of(opening["reopening"])}
        options["retry"] = as_recorded(opening["retry"])
        options["breaker"] = breaker_as_recorded(opening["breaker"])
        options["rate_limit"] = self._limits.of(opening["rate_limit"])
        options["per_key"] = self._per_key(opening["per_key"])
        return options

    def _per_key(self, data: Line | None) -> PerKey | None:
        if data is None:
            return None
        if "by_key" not in data:
            return PerKey(
                max_running=number(data["max_running"]),
                weight=data["weight"],
                rate_limit=self._limits.of(data["rate_limit"]),
            )
        bounds: dict[Any, Line] = {}
        for script in self._contents.scripts.values():
            options = script.line.get("options", {})
            if "bounds" in options:
                bounds[key_of(options["key"])] = options["bounds"]
        return PerKey(
            max_running=lambda key: number(bounds[key]["max_running"]),
            weight=lambda key: bounds[key]["weight"],
            rate_limit=lambda key: self._limits.of(bounds[key]["rate_limit"]),
        )

    def resource(self, data: Line, name: str) -> Resource[int]:
        """A recorded worker's resource; its value is the worker's number in the recording."""
        return Resource(
            data["id"],
            name=name,
            tags=data.get("tags", ()),
            max_running=number(data.get("max_running", 1)) or 1,
            rate_limit=self._limits.of(data.get("rate_limit", ())),
            breaker=breaker_as_recorded(data.get("breaker")),
            max_jobs=data.get("max_jobs"),
            max_age=data.get("max_age"),
            on_cut=data.get("on_cut"),
        )

    def _listed(self, workers: int | None) -> list[Resource[int]]:
        recorded = self._contents.workers
        if workers is None:
            recorded = recorded[: self._contents.opened_with]
        elif not recorded:
            recorded = [dict[str, Any](id=0, name="worker")]
        resources: list[Resource[int]] = []
        for at in range(len(recorded) if workers is None else workers):
            rounds, place = divmod(at, len(recorded))
            data = recorded[place]
            resources.append(self.resource(data, f"{data['name']} ({rounds + 1})" if rounds else data["name"]))
        return resources

    def _elastic(self, data: Line | None, workers: int | None) -> Elastic[None] | None:
        if data is None:
            return None
        most = data["max"] if workers is None else workers
        return Elastic(
            self._factory,
            min=min(data["min"], most),
            max=most,
            idle_timeout=number(data["idle_timeout"]) or 0.0,
            open_after=data["open_after"],
            tags=data["tags"],
            max_running=number(data["max_running"]) or 1,
            rate_limit=self._limits.of(data["rate_limit"]),
            breaker=breaker_as_recorded(data["breaker"]),
            max_jobs=number(data["max_jobs"]),
            max_age=number(data["max_age"]),
            on_cut=data["on_cut"],
        )

    def source_of(self, worker: Any) -> int:
        """The number of a worker in the recording, or that of a recorded worker like it."""
        if not self.is_elastic:
            return int(worker._resource)
        turn: int = worker.id - 1
        return self._known[turn % len(self._known)] if self._known else 0

    # The lifespans. Each is called right after the worker was noted as `entering`.

    def _lifespan(self, source: int) -> Session:
        return self._session(source)

    def _factory(self) -> Session:
        return self._session(self.source_of(self.entering))

    def _session(self, source: int) -> Session:
        assert self.entering is not None
        worker = self.entering.id
        turn = self._sessions[worker] = self._sessions.get(worker, -1) + 1
        enters, exits = self._contents.enters.get(source, []), self._contents.exits.get(source, [])
        succeeded = [enter for enter in enters if enter[1]]
        enter = enters[turn] if turn < len(enters) else succeeded[-1] if succeeded else (0.0, True)
        leave = exits[min(turn, len(exits) - 1)] if exits else 0.0
        return Session(self._conductor, worker, enter, leave)


def checked_workers(workers: object) -> int | None:
    """Check a number of workers."""
    return None if workers is None else validate.count("workers", workers, least=1)
