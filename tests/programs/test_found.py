"""Programs that were found to fail, made small."""

from __future__ import annotations

import pytest

from tests.programs.language import (
    Call,
    Device,
    Program,
    Raise,
    Run,
    Setup,
    Sleep,
    Submit,
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
    "a group that doesn't say what it holds": Program((Run(Call((Raise("secretive group"),))),)),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_has_failed_once_fails_no_more(name: str) -> None:
    assert not failures_of(FOUND[name])
