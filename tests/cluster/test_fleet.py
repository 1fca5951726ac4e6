"""Each job is done, or dead for a reason of its own, whatever kills workers, stops the broker or ends the process."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

if TYPE_CHECKING:
    from tests.cluster.fleet import Fleet

POISON, BYSTANDER, FAILS, RETURNED, UNWRITABLE = 901, 902, 903, 904, 905
GOOD = range(200)


def test_of_200_jobs_among_bad_ones_and_killed_workers_each_is_done_and_only_the_bad_are_dead(fleet: Fleet) -> None:
    fleet.keep_alive(2)
    # PgQueuer keeps no results, so there a result that can't be written is as good as any.
    dead = {POISON, FAILS, UNWRITABLE} if fleet.keeps_results else {POISON, FAILS}
    done = {*GOOD, BYSTANDER, RETURNED, UNWRITABLE}
    # Two programs submit at the same time. The bystander is under way when the poison first kills its process.
    bad = [(POISON, "poison", 0.3), (BYSTANDER, "good", 3.0), (FAILS, "fails"), (RETURNED, "returned")]
    first = [(number, "good", 0.05) for number in GOOD[:100]]
    second = [(number, "good", 0.05) for number in GOOD[100:]]
    programs = [
        fleet.submit(*first[:20], *bad, *first[20:], wait=False),
        fleet.submit(*second, (UNWRITABLE, "unwritable"), wait=False),
    ]
    fleet.wait_until(lambda: len(fleet.log.numbers("end")) > 20)
    victim = next(worker for worker in fleet.workers if worker.poll() is None)
    victim.send_signal(signal.SIGKILL)

    def is_over() -> bool:
        fleet.keep_alive(2)
        return done <= set(fleet.log.numbers("end")) and dead <= fleet.dead().keys()

    fleet.wait_until(is_over, lambda: (done - set(fleet.log.numbers("end")), dead - fleet.dead().keys()))
    ends = [fleet.end(worker) for worker in fleet.workers if worker.poll() is None]

    assert [program.wait() for program in programs] == [0, 0]
    assert ends == [0, 0]
    assert victim.wait() == -signal.SIGKILL
    assert fleet.dead().keys() == dead
    assert "its process has died 3 times" in fleet.dead()[POISON]
    assert "ValueError: no luck" in fleet.dead()[FAILS]
    starts = Counter(fleet.log.numbers("start"))
    assert starts[POISON] <= 3  # fewer if it was killed from outside before it had begun
    # The attempts of the pool, and no more of the engine, unless its process was killed.
    in_each = Counter(pid for what, number, pid, _ in fleet.log.read() if (what, number) == ("start", FAILS))
    assert set(in_each.values()) <= {1, 2}
    assert starts[RETURNED] >= 2


def test_what_is_under_way_at_sigterm_ends_in_the_time_of_grace_and_what_waits_is_done_elsewhere(fleet: Fleet) -> None:
    worker = fleet.start_worker(grace=20, heartbeat=30)
    fleet.submit(*[(number, "good", 1.0) for number in range(12)])
    fleet.wait_until(lambda: len(fleet.log.numbers("start")) >= 4)
    assert fleet.end(worker) == 0
    done = set(fleet.log.numbers("end"))
    began = time.monotonic()
    assert 4 <= len(done) < 12

    fleet.start_worker(heartbeat=30)
    fleet.wait_for("end", range(12))

    assert time.monotonic() - began < 25  # it was returned, and not found after 30 seconds
    assert set(Counter(fleet.log.numbers("start")).values()) == {1}


def test_what_takes_longer_than_the_grace_is_returned_at_once_and_counts_as_no_crash(fleet: Fleet) -> None:
    worker = fleet.start_worker(grace=0.3, heartbeat=30)
    fleet.submit(*[(number, "good", 3.0) for number in range(3)])
    fleet.wait_for("start", range(3))
    assert fleet.end(worker) == 0
    assert fleet.log.numbers("end") == []
    began = time.monotonic()

    fleet.start_worker(heartbeat=30)
    fleet.wait_for("end", range(3))

    # All three at the same time: suspects of a crash would go one after the other.
    assert time.monotonic() - began < 25
    assert Counter(fleet.log.numbers("start")) == {0: 2, 1: 2, 2: 2}


def test_a_broker_that_is_away_for_five_seconds_loses_no_job(fleet: Fleet) -> None:
    fleet.keep_alive(2, heartbeat=10)
    fleet.submit(*[(number, "good", 0.2) for number in range(80)])
    fleet.wait_until(lambda: len(fleet.log.numbers("end")) > 8)
    fleet.broker.stop()
    time.sleep(5.0)
    fleet.broker.start()
    fleet.wait_for("end", range(80))

    assert [fleet.end(worker) for worker in fleet.workers] == [0, 0]
    assert fleet.dead() == {}


def test_workers_wait_for_a_broker_that_is_not_there_at_the_start(idle_fleet: Fleet) -> None:
    worker = idle_fleet.start_worker()
    idle_fleet.broker.start()
    try:
        idle_fleet.submit(*[(number,) for number in range(5)])
        idle_fleet.wait_for("end", range(5))
        assert idle_fleet.end(worker) == 0
    finally:
        idle_fleet.broker.stop()


def test_a_worker_ends_while_the_broker_is_away(fleet: Fleet) -> None:
    worker = fleet.start_worker(grace=0.2, heartbeat=2)
    fleet.submit((1, "good", 2.0))
    fleet.wait_for("start", [1])
    fleet.broker.stop()
    assert fleet.end(worker) == 0
    fleet.broker.start()
    fleet.start_worker()
    fleet.wait_for("end", [1])


@pytest.mark.parametrize("engine", ["dramatiq"], indirect=True)
def test_a_message_that_can_not_be_read_keeps_no_other_from_being_done(fleet: Fleet) -> None:
    client: Any = Redis
    redis = client.from_url(fleet.broker.url)
    for number in range(6):
        fleet.submit((number,))
        if number == 2:
            redis.hset("dramatiq:default.msgs", "odd", b"{nonsense")
            redis.rpush("dramatiq:default", "odd")
    fleet.start_worker(heartbeat=1)
    fleet.wait_for("end", range(6))
    fleet.wait_until(lambda: redis.hexists("dramatiq:default.XQ.msgs", "odd"))
