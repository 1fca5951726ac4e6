"""Programs that were found to fail, made small."""

from __future__ import annotations

import pytest

from tests.programs.language import (
    Call,
    Device,
    Group,
    Items,
    Program,
    Raise,
    Rate,
    Run,
    Scope,
    Setup,
    Sleep,
    Stream,
    Submit,
    Wait,
)
from tests.programs.running import failures_of

FOUND: dict[str, Program] = {
    "an instrument cancels a job as it starts, in a pool with a lifespan": Program(
        (Run(Call((), attempt_timeout=0.0)),),
        setup=Setup(lifespan=True, calls_at=4),
    ),
    "leaving a lifespan raises what is neither true nor false, and is logged": Program(
        (Submit(Call((Sleep(1.0),))),),
        setup=Setup(devices=(Device(max_jobs=1, farewell="quarrelsome"),), lifespan=True),
    ),
    "a lifespan that can't be entered at first raises what is neither true nor false": Program(
        (Run(Call(())),),
        setup=Setup(devices=(Device(failures=2, fails_from=1, max_jobs=1, failure="quarrelsome"),), lifespan=True),
    ),
    "jobs of a stream that die as they come": Program(
        (Stream(Call((), requires=("b",)), items=Items(kind="generator")),),
        setup=Setup(no_worker="bury"),
    ),
    "a reader that makes room starts the task that takes items": Program(
        (Stream(Call(()), kind="as_completed", buffer=2),),
        setup=Setup(elastic=(0, 3), idle_timeout=0.0),
    ),
    "items that raise what is neither true nor false": Program(
        (Stream(Call(()), items=Items(kind="generator", fails_at=0, failure="quarrelsome")),),
    ),
    "an elastic worker leaves as the body ends, and a limit holds a job back": Program(
        (Submit(Call(())), Submit(Call(()))),
        setup=Setup(elastic=(0, 1), idle_timeout=0.0, rate=Rate(4)),
    ),
    "a job of a bounded group comes while an elastic pool has no worker": Program(
        (Group((Run(Call(())), Sleep(1.0), Run(Call(()))), max_running=1),),
        setup=Setup(elastic=(0, 1), idle_timeout=0.0),
    ),
    "a job that has not begun is on a worker whose lifespan ends": Program(
        (Submit(Call(())), Raise("value")),
        setup=Setup(devices=(Device(closing=0.5, life=0.0),), lifespan=True),
    ),
    "of two readers in a job one takes what the other would have waited for": Program(
        (Submit(Call((Stream(Call((Run(Call(())),)), items=Items(kind="generator"), readers=2),))),),
        setup=Setup(devices=(Device(), Device())),
    ),
    "a hedged job waits for itself behind a shield, and its time is up before another worker's rest": Program(
        (
            Run(Call((Raise("rest elsewhere"),))),
            Run(Call((Scope((Wait(of_any=True),), shield=True),), hedge=(0.0, 2))),
        ),
        setup=Setup(slots=2, total_timeout=1.0),
    ),
    "a group that doesn't say what it holds": Program((Run(Call((Raise("secretive group"),))),)),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_has_failed_once_fails_no_more(name: str) -> None:
    assert not failures_of(FOUND[name])
