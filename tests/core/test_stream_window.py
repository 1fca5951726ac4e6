"""Which jobs of a stream count, which can be handed out, and who is told: against a plain count of all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.commands import Moved, of_kind
from tests.core.makers import make_core, make_job
from trio_pool._core.stream_window import AsTheyEnd, InOrder, StreamWindow
from trio_pool._model.states import TRANSITIONS, JobState

if TYPE_CHECKING:
    from trio_pool._core.commands import Command
    from trio_pool._model.handles import Job

ORDERS: list[type[StreamWindow[Any]]] = [InOrder, AsTheyEnd]


class Outlet:
    """The sending end of a channel whose reader may take its time."""

    def __init__(self) -> None:
        self.unread: list[Job[Any]] = []
        self.is_closed = False

    def send_nowait(self, job: Job[Any], /) -> None:
        assert not self.is_closed, "more came behind the last"
        self.unread.append(job)

    def close(self) -> None:
        self.is_closed = True


class Plain:
    """The same, counted anew each time."""

    def __init__(self, order: type[StreamWindow[Any]], buffer: float, most_aside: float) -> None:
        self.in_order = order is InOrder
        self.buffer = buffer
        self.most_aside = most_aside
        self.taken: list[Job[Any]] = []
        self.ended: list[Job[Any]] = []

    @property
    def ready(self) -> list[Job[Any]]:
        """Those that can be handed out."""
        if not self.in_order:
            return self.ended
        first = next((at for at, job in enumerate(self.taken) if not job.state.is_final), len(self.taken))
        return self.taken[:first]

    def room(self, *, early_ones_count: bool) -> float:
        """How many more may be taken."""
        delayed = sum(job.state is JobState.DELAYED for job in self.taken)
        early = 0 if early_ones_count else sum(job.state.is_final and job not in self.ready for job in self.taken)
        aside = min(delayed + early, self.most_aside)
        return self.buffer - (len(self.taken) - aside)


def told(commands: list[Command]) -> bool:
    """Whether those who wait are to look."""
    moved = of_kind(Moved, commands)
    assert len(moved) <= 1
    for command in moved:
        command.window.tell()
    return bool(moved)


@given(
    st.data(),
    st.sampled_from(ORDERS),
    st.integers(1, 4),
    st.integers(0, 4),
    st.lists(st.sampled_from(["take", "move", "move", "move", "read", "hold", "close"]), max_size=60),
)
def test_it_agrees_with_a_plain_count(
    data: st.DataObject, order: type[StreamWindow[Any]], buffer: int, max_queue: int, steps: list[str]
) -> None:
    core = make_core()
    outlet = Outlet()
    looks: list[None] = []
    window = order(core.roster, core.commands, buffer, max_queue, outlet, lambda: looks.append(None))
    is_closed = False
    plain = Plain(order, buffer, max_queue)
    for step in steps:
        live = [job for job in plain.taken if not job.state.is_final]
        before = window.room(if_held=True)
        window.is_wanted = before <= 0
        core.commands.clear()
        if step == "take" and not is_closed:
            job = make_job()
            window.take(job)
            core.lifecycle.move(job, JobState.QUEUED, 0.0)
            plain.taken.append(job)
        elif step == "move" and live:
            job = data.draw(st.sampled_from(live))
            state = data.draw(st.sampled_from(sorted(TRANSITIONS[job.state], key=lambda each: each.name)))
            core.lifecycle.move(job, state, 0.0)
            if state.is_final:
                plain.ended.append(job)
            is_told = told(list(core.commands))
            if window.is_wanted and window.room(if_held=True) > before and window.room(if_held=True) > 0:
                assert is_told
        elif step == "read" and outlet.unread:
            given = outlet.unread.pop(0)
            window.unread -= 1
            first = plain.ready[0]
            assert given is first
            plain.taken.remove(first)
            plain.ended.remove(first)
        elif step == "hold":
            window.held_by = window.next
        elif step == "close":
            window.close()
            is_closed = True
        assert outlet.unread == plain.ready
        assert window.unread == len(plain.ready)
        assert list(window.pending) == [job for job in plain.taken if job not in plain.ready]
        assert window.next is (next(iter(window.pending), None) if plain.in_order else None)
        assert outlet.is_closed is (is_closed and not window.pending)
        assert window.room(if_held=True) == plain.room(early_ones_count=False)
        assert window.room() == plain.room(early_ones_count=window.held_by is None)
        assert window.held_by is None or not window.held_by.state.is_final


@pytest.mark.parametrize("order", ORDERS)
def test_a_job_that_has_ended_knows_its_window_no_longer(order: type[StreamWindow[Any]]) -> None:
    core = make_core()
    window = order(core.roster, core.commands, 5, math.inf, Outlet(), lambda: None)
    job = make_job()
    core.lifecycle.move(job, JobState.QUEUED, 0.0)
    window.take(job)
    assert job._window is window
    core.lifecycle.move(job, JobState.CANCELLED, 0.0)
    assert job._window is None


@pytest.mark.parametrize("order", ORDERS)
def test_a_job_that_is_dead_when_it_comes_is_handed_out(order: type[StreamWindow[Any]]) -> None:
    core = make_core()
    outlet = Outlet()
    window = order(core.roster, core.commands, 5, math.inf, outlet, lambda: None)
    job = make_job()
    window.take(job)
    core.lifecycle.move(job, JobState.DEAD, 0.0)
    assert (outlet.unread, list(window.pending)) == ([job], [])
    assert job._window is None


@pytest.mark.parametrize("order", ORDERS)
def test_a_job_that_never_enters_leaves_no_trace(order: type[StreamWindow[Any]]) -> None:
    core = make_core()
    window = order(core.roster, core.commands, 5, math.inf, Outlet(), lambda: None)
    job = make_job()
    window.take(job)
    assert window.room() == 4
    window.drop(job)
    assert (window.room(), list(window.pending), job._window) == (5, [], None)


@pytest.mark.parametrize("order", ORDERS)
def test_the_first_that_was_taken_is_next_if_they_are_handed_out_in_that_order(order: type[StreamWindow[Any]]) -> None:
    core = make_core()
    window = order(core.roster, core.commands, 5, math.inf, Outlet(), lambda: None)
    assert window.next is None
    jobs = [make_job(), make_job()]
    for job in jobs:
        window.take(job)
    assert window.next is (jobs[0] if order is InOrder else None)


def test_by_default_twice_as_many_are_taken_as_there_are_workers_that_stay() -> None:
    core = make_core()
    window = InOrder(core.roster, core.commands, None, math.inf, Outlet(), lambda: None)
    assert window.room() == 2
    workers = [core.add_worker() for _ in range(4)]
    core.scheduler.depart(workers[0], 0.0)
    assert window.room() == 6


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.CANCELLED])
def test_a_job_makes_room_only_while_it_backs_off(state: JobState) -> None:
    core = make_core()
    window = AsTheyEnd(core.roster, core.commands, 5, math.inf, Outlet(), lambda: None)
    job = make_job()
    window.take(job)
    for each in (JobState.QUEUED, JobState.RUNNING, JobState.DELAYED):
        core.lifecycle.move(job, each, 0.0)
    assert window.room() == 5
    core.lifecycle.move(job, state, 1.0)
    assert window.room() == 4
