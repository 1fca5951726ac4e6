"""What a run draws from limits, and how much of each unit it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._basics.frozen_mapping import FrozenMapping
from . import validate
from .rate_meter import Amount, as_float, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .rate_meters import Meter, RateMeters

NO_USES: FrozenMapping[str, Amount] = FrozenMapping()

# Larger whole numbers are shown as floats, since users may have passed them as floats.
_LARGEST = 2**63


class Draws:
    """What a run has drawn, and what it uses.

    Attributes:
      used: the amounts by their units.
      has_begun: whether the function has begun, so that the start counts in the limits.
    """

    __slots__ = ("_drawn", "has_begun", "used")

    def __init__(self, used: Mapping[str, Amount], holders: Iterable[RateMeters], now: float) -> None:
        self.used: Mapping[str, Amount] = used
        self.has_begun: bool = False
        self._drawn: dict[Meter, Amount] = {}
        uses = () if used is NO_USES else tuple(used.items())
        for meters in holders:
            meters.add_draws(uses, self._drawn)
        for meter, amount in self._drawn.items():
            meter.hand_out(now, amount)

    def begin(self, now: float) -> None:
        """Record that the function begins; only the first call counts."""
        if not self.has_begun:
            self.has_begun = True
            for meter, amount in self._drawn.items():
                meter.begun(now, amount)

    def give_back(self) -> None:
        """Give everything back, since the function will not begin."""
        for meter, amount in self._drawn.items():
            meter.give_back(amount)
        self._drawn.clear()

    def correct(self, unit: str, amount: Amount, holders: Iterable[RateMeters], now: float) -> None:
        """Set how much of a unit the run has used in total, in the limits that it drew from and in the current ones."""
        self.used = {**self.used, unit: amount}
        for meters in holders:
            for meter in meters.of_unit(unit):
                self._drawn.setdefault(meter, 0)
        for meter, drawn in self._drawn.items():
            if meter.unit == unit and amount != drawn:
                self._drawn[meter] = amount
                meter.correct(now, amount - drawn)


def checked_uses(name: str, value: object) -> FrozenMapping[str, Amount]:
    """Return a mapping of units to amounts, after checking it, with amounts that are exact in sums."""
    given = validate.mapping(name, value)
    return FrozenMapping({checked_unit(name, unit): checked_amount(name, unit, given[unit]) for unit in given})


def checked_unit(name: str, unit: object) -> str:
    """Return a unit as a plain str."""
    if not isinstance(unit, str):
        raise TypeError(f"{name} must have units as keys, which are strings, {validate.got(unit)}")
    if not unit:
        raise ValueError(f"{name} must not have an empty unit")
    return str.__str__(unit)


def checked_amount(name: str, unit: object, amount: object) -> Amount:
    """Return an amount, exact in sums, after checking that it is a finite number, zero or more."""
    number = validate.seconds(f"{name}[{unit!r}]", amount, finite=True)
    return amount if isinstance(amount, int) else exact(number)


def shown_uses(used: Mapping[str, Amount]) -> FrozenMapping[str, float]:
    """Return amounts as users see them: as ints and floats."""
    return FrozenMapping({unit: _as_number(amount) for unit, amount in used.items()}) if used else NOTHING


NOTHING: FrozenMapping[str, float] = FrozenMapping()


def used_of(draws: Draws | None) -> Mapping[str, Amount] | None:
    """What a run with these draws has used, by units, or None for nothing."""
    return None if draws is None or draws.used is NO_USES else draws.used


def _as_number(amount: Amount) -> float:
    return as_float(amount) if not isinstance(amount, int) or abs(amount) >= _LARGEST else amount
