"""The terms of a job after its attempts so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.records import ANYONE

if TYPE_CHECKING:
    from .._model.records import JobRecord, Terms


def terms_of(job: JobRecord) -> Terms:
    """Return the job's current terms."""
    options = job._options
    setback = job._setback
    if setback is None:
        return options.terms
    pinned = options.worker
    if pinned is None:
        if setback.placement == "other" and setback.failed_on:
            return options.terms._replace(failed=setback.failed_on, last=setback.last)
        # A worker that is about to leave takes no more jobs.
        last = setback.last
        if setback.placement == "same" and last is not None and not (last._is_leaving or last._has_left):
            pinned = last
    return options.terms if pinned is None else options.terms._replace(pinned=pinned)


def limited_terms(terms: Terms, limited: set[str]) -> Terms:
    """Return the terms without the units that have no limit, so that jobs that differ only in these have the same."""
    if terms.units <= limited:
        return terms
    terms = terms._replace(units=terms.units & limited)
    return ANYONE if terms == ANYONE else terms
