"""The arguments with which a pool was opened, as plain values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from ._values import plain, plain_amounts, plain_key, plain_number

if TYPE_CHECKING:
    from .._model.pool_config import Config
    from .._model.records import JobSpec, WorkerRecord
    from .._policies.per_key import PerKey
    from .._policies.resource import Elastic
    from ._values import SharedLimits

NUMBERS = ("attempt_timeout", "total_timeout", "max_queue", "max_running", "max_opening", "max_dead")
WORDS = ("on_cut", "order", "pick", "no_worker", "on_dead", "name")
POLICIES = ("retry", "retry_budget", "breaker", "reopening")
PLAIN_OPTIONS = (*NUMBERS, *WORDS)
"""The options of `open_pool` that are numbers, words or policies made of these."""


def options_of(config: Config, elastic: Elastic[Any] | None, limits: SharedLimits) -> dict[str, Any]:
    """The options of a pool, without its resources."""
    line: dict[str, Any] = {name: plain_number(getattr(config, name)) for name in PLAIN_OPTIONS}
    line |= {name: plain(getattr(config, name)) for name in POLICIES}
    line["rate_limit"] = limits.plain(config.rate_limit)
    line["per_key"] = None if config.per_key is None else _plain_per_key(config.per_key, limits)
    line["has_lifespan"] = config.lifespan is not None
    line["elastic"] = None if elastic is None else _plain_elastic(elastic, limits)
    return line


def differs_by_key(per_key: PerKey | None) -> bool:
    """Whether the bounds of keys are functions of the key."""
    return per_key is not None and any(callable(getattr(per_key, field.name)) for field in attrs.fields(type(per_key)))


def _plain_per_key(per_key: PerKey, limits: SharedLimits) -> dict[str, Any]:
    if differs_by_key(per_key):
        return {"by_key": True}
    line: dict[str, Any] = {"max_running": plain_number(per_key.max_running)}  # type: ignore[arg-type]
    line |= {"weight": per_key.weight, "rate_limit": limits.plain(per_key.rate_limit)}
    return line


def _plain_elastic(elastic: Elastic[Any], limits: SharedLimits) -> dict[str, Any]:
    bounds = ("min", "max", "idle_timeout", "open_after", "max_running", "max_jobs", "max_age")
    line: dict[str, Any] = {name: plain_number(getattr(elastic, name)) for name in bounds}
    line |= {"tags": sorted(elastic.tags), "on_cut": elastic.on_cut, "breaker": plain(elastic.breaker)}
    line["rate_limit"] = limits.plain(elastic.rate_limit)
    return line


def described(worker: WorkerRecord, config: Config, shared: SharedLimits) -> dict[str, Any]:
    """A worker as the `Resource` from which it was made, without the resource itself."""
    line: dict[str, Any] = {"id": worker._id, "name": worker._name}
    if worker._tags:
        line["tags"] = sorted(worker._tags)
    if worker._max_running != 1:
        line["max_running"] = plain_number(worker._max_running)
    limits = worker._limits
    if limits is None:
        return line
    if limits.meters.limits is not None:
        line["rate_limit"] = shared.plain(limits.meters.limits)
    if limits.breaker is not None and limits.breaker.policy is not config.breaker:
        line["breaker"] = plain(limits.breaker.policy)
    if limits.max_jobs != math.inf:
        line["max_jobs"] = limits.max_jobs
    if limits.max_age != math.inf:
        line["max_age"] = limits.max_age
    if config.lifespan is not None and limits.reopens_on_cut != (config.on_cut == "reopen"):
        line["on_cut"] = "reopen" if limits.reopens_on_cut else "keep"
    return line


def plain_options(spec: JobSpec, config: Config, limits: SharedLimits) -> dict[str, Any]:
    """The options that a job itself has, without its name, its group, and the jobs that it starts after."""
    line: dict[str, Any] = {}
    if spec.is_lease:
        line["lease"] = True
    elif spec.attempt_timeout != config.attempt_timeout:
        line["attempt_timeout"] = plain_number(spec.attempt_timeout)
    if spec.total_timeout != (math.inf if spec.is_lease else config.total_timeout):
        line["total_timeout"] = plain_number(spec.total_timeout)
    if spec.retry is not None:
        line["retry"] = plain(spec.retry)
    if spec.priority:
        line["priority"] = spec.priority
    if spec.requires:
        line["requires"] = sorted(spec.requires)
    if spec.worker is not None:
        line["worker"] = spec.worker._id
    if spec.key is not None:
        line["key"] = plain_key(spec.key)
    if spec.uses:
        line["uses"] = plain_amounts(spec.uses)
    if spec.hedge is not None:
        line["hedge"] = plain(spec.hedge)
    return line
