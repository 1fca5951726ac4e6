"""The jobs that an engine has submitted, and how they are cut when its worker ends."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import CancelledError, Future

import pytest
import trio.testing

from tests.actors import sleeps_forever, works
from tests.threads import PlainThread
from trio_pool import PoolClosedError, open_pool
from trio_pool.engines._under_way import UnderWay


def error_of(future: Future[object]) -> BaseException:
    """What the future raises, be it cancelled."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        return cancelled
    assert error is not None
    return error


async def test_after_the_cut_nothing_is_submitted() -> None:
    async with open_pool(["a"]) as pool:
        under_way = UnderWay(pool)
        under_way.cut()
        with pytest.raises(PoolClosedError, match="the worker has ended"):
            under_way.submit(works, (), {})


async def test_the_cut_reaches_jobs_that_run_that_wait_and_that_wait_for_a_place() -> None:
    async with open_pool(["a"], max_queue=1) as pool:
        under_way = UnderWay(pool)
        futures = [await PlainThread(under_way.submit, sleeps_forever, (), {}).wait() for _ in range(3)]
        assert under_way.count == 3
        under_way.is_ending = True
        under_way.cut()
        endings: list[str] = []
        for future in futures:
            error = await PlainThread(error_of, future).wait()
            endings.append(under_way.ending_of(error).kind)
            under_way.forget(future)
    assert endings == ["returned"] * 3
    assert under_way.count == 0


async def test_jobs_that_have_started_stay_when_those_that_wait_are_cut() -> None:
    async with open_pool(["a"]) as pool:
        under_way = UnderWay(pool)
        first, second = [await PlainThread(under_way.submit, sleeps_forever, (), {}).wait() for _ in range(2)]
        under_way.cut_waiting()
        await trio.testing.wait_all_tasks_blocked()
        assert (first.done(), second.done()) == (False, True)
        under_way.cut()


@pytest.mark.parametrize("engine", ["dramatiq", "pgqueuer"])
def test_an_extra_that_is_not_installed_says_what_to_install(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"trio_pool.{engine}"
    monkeypatch.setitem(sys.modules, engine, None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=rf'pip install "trio-pool\[{engine}\]"'):
        importlib.import_module(name)
