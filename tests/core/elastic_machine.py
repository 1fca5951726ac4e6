"""Lets the pool open and retire workers, whatever else happens."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.core.commands import Hire
from tests.core.lending_machine import LendingMachine
from tests.core.plain_elastic import PlainElastic, PlainElasticPool
from trio_pool import Elastic

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject, SearchStrategy

    from tests.core.commands import Typed
    from tests.core.shell_machine import ShellWorker


def make_elastic(
    least: int, more: int, idle_timeout: float, open_after: float, tags: tuple[str, ...] = (), places: float = 1
) -> Elastic[None]:
    """One of so many workers at least, and so many more at most, with so many places each."""
    return Elastic(
        nullcontext[None],
        min=least,
        max=least + more,
        idle_timeout=idle_timeout,
        open_after=open_after,
        tags=frozenset(tags),
        max_running=places,
    )


def plain_of(elastic: Elastic[None]) -> PlainElastic:
    """The same for the model."""
    return PlainElastic(
        elastic.min, elastic.max, elastic.idle_timeout, elastic.tags, elastic.open_after, elastic.max_running
    )


NUMBERS = (
    st.sampled_from([0, 0, 1, 2]),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 1.0, 2.0, math.inf]),  # at once is too soon for a model to tell when
    st.sampled_from([0.0, 0.0, 0.5, 2.0]),
)
TAGS = st.sampled_from([(), (), ("a",), ("a", "b")])
ELASTICS = st.builds(make_elastic, *NUMBERS, TAGS)
ELASTICS_WITH_PLACES = ELASTICS | st.builds(make_elastic, *NUMBERS, TAGS, st.sampled_from([2, 2, 3, math.inf]))
CHANGES = st.builds(make_elastic, *NUMBERS)


class ElasticMachine(LendingMachine):
    """Opens ordered workers, or doesn't."""

    make_plain = PlainElasticPool
    elastics: ClassVar[SearchStrategy[Elastic[None] | None]] = ELASTICS_WITH_PLACES

    def __init__(self) -> None:
        super().__init__()
        # The workers that are ordered and have not joined, and those that were with the last event.
        self.orders = 0
        self.new_orders = 0
        # Whether they join at once.
        self.prompt = True
        # The largest number of workers that there ever could be.
        self.most_ever = 0

    @property
    def model(self) -> PlainElasticPool:
        """The model, as what it is."""
        assert isinstance(self.plain, PlainElasticPool)
        return self.plain

    @initialize(prompt=st.booleans())
    def choose_pace(self, prompt: bool) -> None:
        self.prompt = prompt

    def begin(self, elastic: Elastic[None] | None, data: DataObject) -> None:
        """The workers are there with which the pool begins."""
        if elastic is None:
            return
        # How many workers the levels of the pool's units are worth depends on which jobs come first, if not all use
        # the same; test_elastic_units.py has examples.
        self.uses = st.just(data.draw(self.uses))
        self.tags = tuple(sorted(elastic.tags))
        self.own_limits, self.own_places = data.draw(self.limits), elastic.max_running
        self.most_ever = elastic.max
        self.model.elastic = plain = plain_of(elastic)
        for _ in range(elastic.min):
            self.add(self.tags, self.own_limits, self.own_places, elastic=True)
            self.open_resource(self.workers[-1])
        self.on_both(lambda: self.model.begin(plain), lambda: self.core.scheduler.begin(self.now))

    def carry_out_more(self, command: Typed) -> None:
        if isinstance(command, Hire):
            self.new_orders += 1
        else:
            super().carry_out_more(command)

    def forget_news(self) -> None:
        super().forget_news()
        self.new_orders = self.model.hired = 0

    def check_news(self, told_before: int) -> None:
        """The same; and as many workers are ordered, and have been idle for as long."""
        super().check_news(told_before)
        assert self.new_orders == self.model.hired
        autoscaler, model = self.core.scheduler._features.autoscaler, self.model
        if autoscaler is not None:
            assert set(autoscaler._idle) == {
                record for plain, record in self.records().items() if plain in model.idlers
            }
            # A break of no length may count as one: a job goes to an idle worker, and then another falls idle.
            found = list(autoscaler._idle_since)
            assert len(found) == len(model.idle_times)
            assert all(since in (time, self.now) for since, time in zip(found, model.idle_times, strict=True))
            model.idle_times = found

    def go_on(self) -> None:
        """An event has happened: the workers join that were ordered with it."""
        super().go_on()
        self.orders += self.new_orders
        self.new_orders = 0
        while self.prompt and self.orders:
            self.join_as_ordered()

    def join_as_ordered(self) -> None:
        self.orders -= 1
        self.add(self.tags, self.own_limits, self.own_places, elastic=True, ordered=True)

    @precondition(lambda self: self.orders)
    @rule(joins=st.booleans())
    def carry_out_an_order(self, joins: bool) -> None:
        """It is carried out late, or not at all: then it is made anew with the next event."""
        if joins:
            self.join_as_ordered()
        else:
            self.orders -= 1
            self.on_both(self.model.not_hired, self.core.scheduler.not_hired, dated=False)
            self.set_max_running(self.plain.max_running)

    @precondition(lambda self: self.model.elastic)
    @rule(change=CHANGES)
    def change_it(self, change: Elastic[None]) -> None:
        elastic = attrs.evolve(change, tags=frozenset(self.tags), max_running=self.own_places)
        self.most_ever = max(self.most_ever, elastic.max)
        self.on_both(
            lambda: self.model.change(plain_of(elastic)),
            lambda: self.core.scheduler.set_elastic(elastic, self.now),
        )

    @precondition(lambda self: self.unopened())
    @rule(data=st.data())
    def open_one_that_was_ordered(self, data: DataObject) -> None:
        self.open_resource(data.draw(st.sampled_from(self.unopened())))

    def unopened(self) -> list[ShellWorker]:
        return self.those(lambda worker: worker.elastic and worker.phase == "starting")

    # What holds after every step.

    @invariant()
    def there_are_as_many_workers_as_there_may_be(self) -> None:
        elastic = self.model.elastic
        if elastic is None:
            return
        records = self.core.roster.by_id.values()
        kept = sum(record._elastic for record in records) + self.orders
        assert kept <= max(elastic.max, self.most_ever)
        staying = sum(record._elastic and not record._is_leaving for record in records)
        is_held_up = self.model.failing() or self.model.there() >= elastic.max
        assert staying + self.orders >= elastic.min or is_held_up

    @invariant()
    def those_that_are_idle_are_so_in_the_same_order(self) -> None:
        autoscaler, records = self.core.scheduler._features.autoscaler, self.records()
        if autoscaler is not None:
            assert list(autoscaler._idle) == [records[worker] for worker in self.model.idlers]

    def something_happens(self) -> bool:
        """The next of all that happens by itself; workers join that were ordered."""
        if self.orders:
            self.join_as_ordered()
            return True
        return super().something_happens()
