"""What the machine that tries the scheduler draws from."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.core.plain_limits import PlainRates
from tests.core.plain_parts import PlainKey, PlainLimits, PlainVerdict
from trio_pool import CircuitBreaker, DeadReason, RateLimit, RetryBudget
from trio_pool._core.retry_decision import Die, Drop, Retry, Verdict
from trio_pool._policies.hedge import Hedge
from trio_pool._policies.rate_meter import Amount

TAG_SETS = st.sampled_from([(), (), ("a",), ("b",), ("a", "b")])
REQUIRED = st.sampled_from([(), (), (), ("a",), ("b",), ("a", "b"), ("c",)])
TIMES = st.sampled_from([math.inf, math.inf, math.inf, 0.0, 1.0, 2.0, 4.0])

# Of powers of two, so that all times are exact.
RATES = st.sampled_from([RateLimit(1), RateLimit(1, 2, 2), RateLimit(2, burst=3), RateLimit(0.25)])
UNIT_RATES = st.builds(
    RateLimit,
    st.sampled_from([1, 2, 0.5]),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([1, 2, 4]),
    unit=st.sampled_from(["x", "x", "y"]),
)
SETS_OF_RATES = st.lists(RATES | UNIT_RATES | UNIT_RATES, min_size=1, max_size=3).map(tuple)
AMOUNTS: st.SearchStrategy[Amount] = st.sampled_from([0, 1, 1, 2, 4, Fraction(1, 2)])
USES: st.SearchStrategy[dict[str, Amount]] = st.dictionaries(
    st.sampled_from(["x", "x", "y", "z"]), AMOUNTS, min_size=1, max_size=2
)
# What the jobs of one run use.
NO_USES: st.SearchStrategy[dict[str, Amount]] = st.builds(dict[str, Amount])
UNITS: dict[str, st.SearchStrategy[dict[str, Amount]]] = {"none": NO_USES, "some": NO_USES | USES}
BREAKERS = st.builds(
    CircuitBreaker,
    failures=st.sampled_from([1, 1, 2]),
    reset_after=st.sampled_from([1.0, 2.0]),
    max_reset_after=st.sampled_from([None, 4.0, math.inf]),
    rate=st.sampled_from([None, None, 0.5, 0.75]),
    window=st.sampled_from([2.0, 8.0]),
)
BUDGETS = st.builds(
    RetryBudget,
    ratio=st.sampled_from([0.0, 0.5, 1.0]),
    minimum=st.sampled_from([0, 1, 2]),
    window=st.sampled_from([2.0, 8.0]),
)
# One run has to do with one kind of limit, or none, or all: they would be too thinly spread
# over a run that has a little of each.
WORKER_LIMITS = {
    "none": st.just(PlainLimits()),
    "rates": st.builds(PlainLimits, rate_limit=st.none() | RATES | RATES | SETS_OF_RATES | UNIT_RATES),
    "breakers": st.builds(PlainLimits, breaker=BREAKERS),
    "wear": st.builds(
        PlainLimits,
        max_jobs=st.sampled_from([None, 1, 2]),
        max_age=st.sampled_from([None, 1.0, 4.0]),
    ),
    "all": st.builds(
        PlainLimits,
        rate_limit=st.none() | RATES | SETS_OF_RATES,
        breaker=st.none() | BREAKERS,
        max_jobs=st.sampled_from([None, None, 1, 2]),
        max_age=st.sampled_from([None, None, 1.0, 4.0]),
    ),
}
# Likewise for places.
PLACES: dict[str, st.SearchStrategy[float]] = {
    "one": st.just(1),
    "several": st.sampled_from([1, 1, 1, 2, 2, 3, math.inf]),
}
# Likewise for jobs that may run on several workers at once.
HEDGE = st.builds(Hedge, after=st.sampled_from([0.0, 0.5, 1.0, 2.0]), extra=st.integers(1, 2))
HEDGES = {"none": st.none(), "some": st.none() | st.none() | HEDGE, "many": HEDGE}
# Likewise for blocks of ``acquire``, which have a place as jobs do.
LEASES = {"none": st.just(False), "some": st.sampled_from([False, False, True])}
# Likewise for keys: their bounds, None for the jobs without one. The weights are powers of two, so that sums are exact.
WEIGHTS = st.sampled_from([0.5, 1.0, 1.0, 2.0])
NO_KEY = st.builds(PlainKey, is_named=st.just(False))
BOUNDED_KEY = st.builds(PlainKey, st.sampled_from([1, 1, 2, math.inf]), WEIGHTS)
LIMITED_KEY = st.builds(
    PlainKey, st.sampled_from([1, 2, math.inf]), WEIGHTS, st.builds(PlainRates, st.none() | RATES | SETS_OF_RATES)
)
KEYS: dict[str, st.SearchStrategy[dict[str | None, PlainKey]]] = {
    "none": st.builds(dict[str | None, PlainKey]),
    "bounded": st.fixed_dictionaries({None: NO_KEY, "k": BOUNDED_KEY, "l": BOUNDED_KEY}),
    "limited": st.fixed_dictionaries({None: NO_KEY, "k": LIMITED_KEY, "l": LIMITED_KEY}),
}
# What happens, one thing after another, while such an attempt is under way.
EVENTS = st.sampled_from(["wait", "wait", "wait", "fail", "cancel"])

RETRIES = st.builds(
    PlainVerdict,
    fate=st.just("retry"),
    delay=st.sampled_from([0.0, 0.0, 1.0, 2.0]),
    placement=st.sampled_from(["any", "same", "other", "other"]),
    front=st.booleans(),
    counts=st.booleans(),
    rest=st.sampled_from([0.0, 0.0, 0.0, 1.0, 3.0]),
    key_rest=st.sampled_from([0.0, 0.0, 0.0, 1.0, 3.0]),
    broken=st.sampled_from([False, False, False, True]),
    is_failure=st.sampled_from([True, True, False]),
)
ENDS = st.builds(
    PlainVerdict,
    fate=st.sampled_from([DeadReason.GAVE_UP, DeadReason.ATTEMPTS_EXHAUSTED, "drop"]),
    broken=st.booleans(),
    is_failure=st.sampled_from([True, True, False]),
)


class JobKind(NamedTuple):
    """What the jobs of one run draw in the same way, wherever they come from."""

    hedge: Hedge | None
    uses: dict[str, Amount]
    is_lease: bool
    key: str | None
    owner: PlainKey | None

    @property
    def of_core(self) -> dict[str, Any]:
        """What the library's job is made with."""
        return {"hedge": self.hedge, "uses": self.uses, "is_lease": self.is_lease, "key": self.key}

    @property
    def of_model(self) -> dict[str, Any]:
        """What the model's is made with."""
        hedge = (self.hedge.after, self.hedge.extra) if self.hedge else None
        return {"hedge": hedge, "uses": self.uses, "is_lease": self.is_lease, "owner": self.owner}


def verdict_of(plain: PlainVerdict, error: Exception) -> Verdict:
    """The library's verdict for the model's."""
    fate: Retry | Die | Drop
    if isinstance(plain.fate, DeadReason):
        fate = Die(plain.fate, "it is so", error)
    elif plain.fate == "drop":
        fate = Drop("it is so")
    else:
        fate = Retry(plain.delay, plain.placement, plain.front, plain.counts)
    return Verdict(fate, rest=plain.rest, key_rest=plain.key_rest, broken=plain.broken, is_failure=plain.is_failure)
