"""Core: who is in the pool, who is free, and who may take what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from random import Random

    from ._group import Group
    from ._job import Job
    from ._seat import Seat

Pick: TypeAlias = Literal["longest_idle", "last_used", "random"]
Key: TypeAlias = "tuple[frozenset[str], Group | None]"
PICKS: tuple[Pick, ...] = ("longest_idle", "last_used", "random")


class Terms(NamedTuple):
    """Who may take a job. Jobs of equal terms are interchangeable but for their order.

    Attributes:
      requires: tags that the worker must have.
      pinned: the only worker that may take it, or None.
      failed: workers to be avoided as long as another is available (the bounce).
      last: of those, the one to be avoided even when a new round begins.
      gate: the job's group, if that limits its jobs or has workers for itself.
    """

    requires: frozenset[str] = frozenset()
    pinned: Seat | None = None
    failed: frozenset[Seat] = frozenset()
    last: Seat | None = None
    gate: Group | None = None


ANYONE = Terms()


def terms_of(job: Job[Any]) -> Terms:
    """The terms on which the job waits now."""
    options = job._options
    setback = job._setback
    if setback is None:
        return options.terms
    pinned = options.worker
    if pinned is None:
        if setback.placement == "other" and setback.failed_on:
            return Terms(options.requires, None, setback.failed_on, setback.last, options.terms.gate)
        # A worker that is to leave takes no more jobs.
        last = setback.last
        if setback.placement == "same" and last is not None and not (last._departing or last._gone):
            pinned = last
    return options.terms if pinned is None else Terms(options.requires, pinned, gate=options.terms.gate)


class Kind:
    """The workers that have the same tags and are kept for the same group, or for none."""

    __slots__ = ("available", "group", "idle", "key", "members", "tags")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.tags, self.group = key
        self.members = 0
        self.available = 0
        # In the order in which they became idle; each with a number for that order.
        self.idle: dict[Seat, int] = {}

    def may_serve(self, terms: Terms) -> bool:
        """Whether such a worker may ever take such a job, as far as its tags and its group go."""
        return terms.requires <= self.tags and (self.group is None or self.group is terms.gate)


class Roster:
    """All workers of the pool that have not left, by their tags and by whom they are kept for.

    Invariant: a worker is in its kind's ``idle`` exactly if it is available, runs
    nothing and found nothing to run.
    """

    __slots__ = (
        "_in_order",
        "_kinds",
        "_only",
        "_pick",
        "_rng",
        "_sequence",
        "coming",
        "idle_count",
        "leaving",
        "seats",
    )

    def __init__(self, pick: Pick, rng: Random) -> None:
        self._pick = pick
        self._rng = rng
        self.seats: dict[int, Seat] = {}
        # How many of them are to leave.
        self.leaving: int = 0
        # How many can't start anything now, but may later without anybody's doing.
        self.coming: int = 0
        self._kinds: dict[Key, Kind] = {}
        self._sequence = 0
        # The sum over the kinds, since it is asked for with every job; and what is asked
        # when there is but one of them, and no chance in it.
        self.idle_count: int = 0
        self._only: Kind | None = None
        self._in_order: Callable[[dict[Seat, int]], Iterator[Seat]] = reversed if pick == "last_used" else iter

    def join(self, seat: Seat) -> None:
        """A worker enters the pool, not yet available."""
        self.seats[seat._id] = seat
        self._enter(seat, None)
        self.count_coming(seat)

    def leave(self, seat: Seat) -> None:
        """A worker that is no longer available leaves the pool."""
        del self.seats[seat._id]
        self.leaving -= seat._departing
        self.coming -= seat._coming
        self._quit(seat)

    def reserve(self, seat: Seat, group: Group | None) -> None:
        """Keep a worker for a group from here on, or for none."""
        kind = seat._kind
        since = kind.idle.pop(seat, None)
        counts = seat._available and not seat._loans
        kind.available -= counts
        self._quit(seat)
        self._enter(seat, group)
        kind = seat._kind
        kind.available += counts
        if since is not None:
            in_order = since > next(reversed(kind.idle.values()), 0)
            kind.idle[seat] = since
            if not in_order:
                kind.idle = dict(sorted(kind.idle.items(), key=lambda item: item[1]))

    def _enter(self, seat: Seat, group: Group | None) -> None:
        key = (seat._tags, group)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind(key)
        kind.members += 1
        seat._kind = kind
        self._look_for_only()

    def _quit(self, seat: Seat) -> None:
        kind = seat._kind
        kind.members -= 1
        if not kind.members:
            del self._kinds[kind.key]
            self._look_for_only()

    def _look_for_only(self) -> None:
        kinds = list(self._kinds.values())
        is_simple = len(kinds) == 1 and kinds[0].group is None and self._pick != "random"
        self._only = kinds[0] if is_simple else None

    def set_available(self, seat: Seat, available: bool) -> bool:
        """Note that a worker can, or can no longer, be counted on to take a job.

        Returns:
          whether it was idle and is so no longer.
        """
        seat._available = available
        if not seat._loans:
            seat._kind.available += 1 if available else -1
        return not available and self.unpark(seat)

    def count_as_available(self, seat: Seat, counts: bool) -> None:
        """A worker is lent, so that others are not to rely on it, or is so no longer."""
        if seat._available:
            seat._kind.available += 1 if counts else -1

    def count_coming(self, seat: Seat) -> None:
        """What holds a worker back has changed."""
        coming = seat._may_become_available
        if coming is not seat._coming:
            seat._coming = coming
            self.coming += 1 if coming else -1

    def park(self, seat: Seat) -> None:
        """An available worker has nothing to do."""
        self._sequence = number = self._sequence + 1
        seat._kind.idle[seat] = number
        self.idle_count += 1

    def unpark(self, seat: Seat) -> bool:
        """A worker is idle no longer; returns whether it was."""
        if seat._kind.idle.pop(seat, None) is None:
            return False
        self.idle_count -= 1
        return True

    def idle(self) -> list[Seat]:
        """The idle workers, the longest idle first."""
        found = [item for kind in self._kinds.values() for item in kind.idle.items()]
        return [seat for seat, _ in sorted(found, key=lambda item: item[1])]

    def has_any(self, terms: Terms) -> bool:
        """Whether some worker of the pool may take such a job, now or ever."""
        if terms is ANYONE:
            return bool(self.seats)
        pinned = terms.pinned
        if pinned is not None:
            return pinned._id in self.seats and terms.requires <= pinned._tags
        return any(terms.requires <= kind.tags for kind in self._kinds.values())

    def count(self, terms: Terms) -> int:
        """How many workers of the pool may take such a job, now or ever."""
        if terms.pinned is not None:
            return int(self.has_any(terms))
        return sum(kind.members for kind in self._kinds.values() if terms.requires <= kind.tags)

    def fitting(self, terms: Terms) -> list[Seat]:
        """The workers of the pool that may take such a job, now or ever."""
        pinned = terms.pinned
        if pinned is not None:
            return [pinned] if self.has_any(terms) else []
        return [seat for seat in self.seats.values() if terms.requires <= seat._tags]

    def admits(self, terms: Terms, seat: Seat) -> bool:
        """Whether an available worker may take such a job now."""
        if not seat._kind.may_serve(terms):
            return False
        if terms.pinned is not None:
            return seat is terms.pinned
        if not terms.failed:
            return True
        available = sum(kind.available for kind in self._matching(terms))
        failed = sum(1 for other in terms.failed if _is_relied_on(other, terms))
        if failed < available:
            return seat not in terms.failed
        # It failed on all there are: a new round, with the last one left out if it can be, that
        # is if others can be counted on. It counts itself only while it is not lent.
        return seat is not terms.last or available == (0 if seat._loans else 1)

    def is_avoided(self, terms: Terms, seat: Seat) -> bool:
        """Whether a worker that may take such a job won't, whatever its own state, as long as others are available."""
        if seat not in terms.failed or not seat._kind.may_serve(terms):
            return False
        others = [other for other in self.seats.values() if other is not seat and _is_relied_on(other, terms)]
        return any(other not in terms.failed for other in others) or (seat is terms.last and bool(others))

    def choose(self, terms: Terms, but: Collection[Seat] = ()) -> Seat | None:
        """The idle worker that such a job goes to, ``but`` none of these, or None."""
        if not self.idle_count:
            return None
        if terms is ANYONE and self._only is not None and not but:
            # What the search below comes to, for the pools that most programs have.
            return next(self._in_order(self._only.idle))
        if terms.gate is not None and terms.gate.is_full:
            return None
        if terms.pinned is not None:
            seat = terms.pinned
            free = seat in seat._kind.idle and seat not in but and self.admits(terms, seat)
            return seat if free else None
        kinds: Iterable[Kind] = self._matching(terms)
        if terms.gate is not None and terms.gate.seats:
            # First those that its group has for itself: the others are there for everybody.
            kinds = list(kinds)
            own = self._choose_of([kind for kind in kinds if kind.group is not None], terms, but)
            if own is not None:
                return own
        return self._choose_of(kinds, terms, but)

    def _choose_of(self, kinds: Iterable[Kind], terms: Terms, but: Collection[Seat]) -> Seat | None:
        """The preferred one of the idle workers of these kinds that may take it, or None."""
        if self._pick == "random":
            found = [seat for seat, _ in self._candidates(kinds, terms, but, each=False)]
            return self._rng.choice(found) if found else None
        candidates = self._candidates(kinds, terms, but, each=True)
        by_age = max if self._pick == "last_used" else min
        best = by_age(candidates, key=lambda item: item[1], default=None)
        return best[0] if best is not None else None

    def _candidates(
        self, kinds: Iterable[Kind], terms: Terms, but: Collection[Seat], *, each: bool
    ) -> Iterator[tuple[Seat, int]]:
        """Idle workers of these kinds that may take it; with ``each`` only the preferred of each class."""
        for kind in kinds:
            idle = kind.idle.items()
            for seat, since in reversed(idle) if self._pick == "last_used" else idle:
                if seat not in but and (not terms.failed or self.admits(terms, seat)):
                    yield seat, since
                    if each:
                        break

    def _matching(self, terms: Terms) -> Iterator[Kind]:
        for kind in self._kinds.values():
            if kind.may_serve(terms):
                yield kind


def _is_relied_on(seat: Seat, terms: Terms) -> bool:
    return seat._available and not seat._loans and seat._kind.may_serve(terms)
