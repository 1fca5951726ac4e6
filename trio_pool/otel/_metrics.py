"""The OpenTelemetry metrics of pools, with one set of OpenTelemetry instruments for each provider."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import trio
from opentelemetry import metrics
from opentelemetry.metrics import Observation
from opentelemetry.util.types import AttributeValue

from .._api.origins import engine_of, outcome_of
from .._basics.error_text import first_leaf
from .._basics.text import call_name, full_type_name
from .._model.states import JobState, WorkerState
from .._version import __version__
from ._attributes import (
    ATTEMPT_OUTCOME,
    ERROR_TYPE,
    JOB_DEAD_REASON,
    JOB_FUNCTION,
    JOB_OUTCOME,
    JOB_STATE,
    PLACE_CAUSE,
    POOL_NAME,
    POOL_STATE,
    WORKER_NAME,
    WORKER_STATE,
    exportable,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider

    from .._api.pool import Instrument
    from .._model.handles import Job, Worker
    from .._model.states import Attempt
    from .._runtime.engine import Engine

Attributes: TypeAlias = dict[str, AttributeValue]

# Guards the registrations, since pools may run in several threads.
_lock = threading.Lock()

# The value that OpenTelemetry's conventions define for everything else.
_OTHER = "_OTHER"

# The bucket boundaries of the histograms, in seconds.
_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_PRESENT = [state for state in JobState if not state.is_final]
_POOL_STATES = ("open", "paused", "resting")
_ENGAGED = [state for state in WorkerState if state is not WorkerState.STOPPED]


class _Names:
    """Names of one kind that metrics distinguish: the first ones; all others share one label."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def label(self, name: str, most: int) -> str:
        label = self._labels.get(name)
        if label is None:
            if len(self._labels) >= most:
                return _OTHER
            label = self._labels[name] = exportable(name)
        return label


class _Watching:
    """A registration of an instrument with a pool, with weak references to both."""

    def __init__(self, engine: Engine, instrument: Instrument, label: Attributes) -> None:
        self.engine = weakref.ref(engine)
        self.instrument = weakref.ref(instrument)
        self.label = label

    def holds(self) -> bool:
        engine, instrument = self.engine(), self.instrument()
        # Compared by identity, since another instrument's own comparison may not be thread-safe.
        return engine is not None and any(each is instrument for each in engine.instruments)


class _Measures:
    """The metrics of one provider, for all instruments and pools.

    Created once per provider: if several observables have the same name, the SDK calls only the
    callbacks of the first. The names are counted here, since their bound applies to the provider.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        self.pools = _Names()
        self.workers = _Names()
        self.functions = _Names()
        self.errors = _Names()
        # Replaced, never modified, since any thread that collects metrics reads it.
        self._watching: tuple[_Watching, ...] = ()
        meter = metrics.get_meter("trio_pool", __version__, provider)
        self.finished = meter.create_counter("trio_pool.finished.jobs", "{job}", "Jobs that have ended, by outcome.")
        self.attempts = meter.create_counter(
            "trio_pool.job.attempts", "{attempt}", "Attempts that have ended, by outcome."
        )
        self.retries = meter.create_counter("trio_pool.job.retries", "{retry}", "Retries of failed jobs.")
        self.wait_time = meter.create_histogram(
            "trio_pool.job.wait_time",
            "s",
            "Time from the submission of a job to its first start.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        self.duration = meter.create_histogram(
            "trio_pool.attempt.duration",
            "s",
            "Duration of attempts.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        meter.create_observable_up_down_counter(
            "trio_pool.job.count", [self._jobs], "{job}", "Jobs in the pool, by state."
        )
        meter.create_observable_up_down_counter(
            "trio_pool.worker.count", [self._workers], "{worker}", "Workers in the pool, by state."
        )

        meter.create_observable_up_down_counter(
            "trio_pool.pool.count", [self._pool_states], "{pool}", "Open pools, by whether they start jobs."
        )
        meter.create_observable_counter(
            "trio_pool.place.time", [self._times], "s", "What the places of workers have spent their time on, by cause."
        )

    def watch(self, engine: Engine, instrument: Instrument, label: Attributes) -> None:
        """Register an instrument that watches a pool."""
        with _lock:
            self._watching = (*self._still(), _Watching(engine, instrument, label))

    def close(self, engine: Engine) -> None:
        """Unregister a closed pool."""
        with _lock:
            self._watching = tuple(each for each in self._still() if each.engine() is not engine)

    def _still(self) -> Iterable[_Watching]:
        return [each for each in self._watching if each.engine() is not None and each.instrument() is not None]

    def _pools(self) -> Iterable[tuple[Engine, Attributes]]:
        """Return each watched pool once, with its label."""
        found = {each.engine(): each.label for each in self._watching if each.holds()}
        return [(engine, label) for engine, label in found.items() if engine is not None]

    def _pool_states(self, _: CallbackOptions) -> Iterable[Observation]:
        for engine, label in self._pools():
            hold = engine.core.hold
            is_on = hold.is_on_at(engine.home.clock.current_time())
            current = "paused" if hold.paused else "resting" if is_on else "open"
            for state in _POOL_STATES:
                yield Observation(int(state == current), {**label, POOL_STATE: state})

    def _times(self, _: CallbackOptions) -> Iterable[Observation]:
        for engine, label in self._pools():
            now = engine.home.clock.current_time()
            time = engine.core.accounts.in_all(list(engine.roster.by_id.values()), now)
            for cause, seconds in time.items():
                yield Observation(seconds, {**label, PLACE_CAUSE: cause})

    def _jobs(self, _: CallbackOptions) -> Iterable[Observation]:
        for engine, label in self._pools():
            for state in _PRESENT:
                yield Observation(engine.lifecycle.count[state], {**label, JOB_STATE: state.value})

    def _workers(self, _: CallbackOptions) -> Iterable[Observation]:
        for engine, label in self._pools():
            count = Counter(worker.state for worker in list(engine.roster.by_id.values()))
            for state in _ENGAGED:
                yield Observation(count[state], {**label, WORKER_STATE: state.value})


class _Global:
    """A key for the global provider, whichever provider is set, now or later."""


_GLOBAL = _Global()
# Looked up by identity, since the program's provider may define its own comparison.
_measures: list[tuple[weakref.ref[object], _Measures]] = []


def _measures_of(provider: MeterProvider | None) -> _Measures:
    is_global = provider is None or provider is metrics.get_meter_provider()
    key: object = _GLOBAL if is_global else provider
    with _lock:
        _measures[:] = [(ref, measures) for ref, measures in _measures if ref() is not None]
        for ref, measures in _measures:
            if ref() is key:
                return measures
        made = _Measures(provider)
        _measures.append((weakref.ref(key), made))
        return made


class Metrics:
    """The metrics that one instrument records for its pools.

    Arguments:
      provider: the meter provider; None for the global one.
      most: how many names of each kind the metrics distinguish.
      per_worker: whether they distinguish workers; None to do so if the number of names is bounded.
    """

    def __init__(self, provider: MeterProvider | None, *, most: int, per_worker: bool | None) -> None:
        self._measures = _measures_of(provider)
        self._most = most
        self._per_worker = per_worker
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()

    def watch(self, engine: Engine, instrument: Instrument) -> None:
        """Start a pool's metrics, unless that has been done."""
        if engine not in self._engines:
            self._engines.add(engine)
            self._measures.watch(engine, instrument, self._of_pool(engine))

    def close(self, engine: Engine) -> None:
        """Stop the metrics of a closed pool."""
        self._engines.discard(engine)
        self._measures.close(engine)

    def started(self, job: Job[Any], context: Context) -> None:
        """Record the waiting time of a job that has started for the first time."""
        waited = trio.current_time() - job.submitted_at
        self._measures.wait_time.record(waited, self._of_job(job), context)

    def attempt_ended(self, job: Job[Any], attempt: Attempt, context: Context) -> None:
        """Record an attempt that has ended."""
        attributes = self._of_job(job)
        outcome = outcome_of(job, attempt)
        if outcome == "failed" and not job.state.is_final:
            self._measures.retries.add(1, dict(attributes), context)
        attributes[ATTEMPT_OUTCOME] = outcome
        if outcome == "failed":
            assert attempt.error is not None
            attributes[ERROR_TYPE] = self._measures.errors.label(full_type_name(first_leaf(attempt.error)), self._most)
        worker = cast("Worker | None", engine_of(job).roster.by_id.get(attempt.worker_id))
        if self._tells_apart(worker):
            attributes[WORKER_NAME] = self._measures.workers.label(attempt.worker_name, self._most)
        self._measures.attempts.add(1, attributes, context)
        self._measures.duration.record(attempt.ended_at - attempt.started_at, attributes, context)

    def finished(self, job: Job[Any], context: Context) -> None:
        """Record a job that has ended."""
        attributes = self._of_job(job)
        attributes[JOB_OUTCOME] = job.state.value
        if job.dead_reason is not None:
            attributes[JOB_DEAD_REASON] = value_of(job.dead_reason)
        self._measures.finished.add(1, attributes, context)

    def _of_pool(self, engine: Engine) -> Attributes:
        name = engine.config.name
        return {} if name is None else {POOL_NAME: self._measures.pools.label(name, self._most)}

    def _of_job(self, job: Job[Any]) -> Attributes:
        attributes = self._of_pool(engine_of(job))
        attributes[JOB_FUNCTION] = self._measures.functions.label(call_name(job.fn), self._most)
        return attributes

    def _tells_apart(self, worker: Worker | None) -> bool:
        if self._per_worker is not None:
            return self._per_worker
        # Slots are all alike, and the number of workers that an elastic pool opens over time has no bound.
        return worker is not None and bool(worker._task.leading) and not worker._elastic
