"""The file that a recorder writes, and what can be read of it at any time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.extras.planning.lives import FailingError, durations
from trio_pool import PerKey, RateLimit, Resource, RetryAfter, RetryPolicy, current_job, open_pool
from trio_pool.planning import Recorder, Recording

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def jobs_of(path: Path) -> list[dict[str, Any]]:
    return sorted((line for line in lines_of(path) if "end" in line and "job" in line), key=lambda line: line["job"])


async def test_it_writes_how_the_pool_was_opened(autojump_clock: MockClock, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "file")
    shared = RateLimit(5, unit="tokens").shared(name="all")
    resources = [
        Resource("secret", name="a", tags=["x"], max_running=3, rate_limit=[RateLimit(2), shared]),
        Resource("secret", name="b", rate_limit=shared),
    ]
    async with open_pool(resources, instruments=[recorder], name="pool", retry=RetryPolicy(retry_on=OSError)):
        pass
    opening = lines_of(tmp_path / "file")[1]["pool"]
    assert opening["name"] == "pool"
    assert opening["retry"]["retry_on"] == "builtins.OSError"
    a, b = opening["workers"]
    assert (a["name"], a["tags"], a["max_running"]) == ("a", ["x"], 3)
    assert [limit["count"] for limit in a["rate_limit"]] == [2, 5]
    assert a["rate_limit"][1] == b["rate_limit"][0]
    assert b["rate_limit"][0]["shared"] == 1
    assert "secret" not in (tmp_path / "file").read_text()


async def test_it_writes_how_a_job_came_and_went(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def fail_once(_: object, secret: str) -> None:
        await trio.sleep(2)
        current_job().set_used(tokens=0.25)
        if not current_job().attempt_count:
            raise FailingError(secret)

    recorder = Recorder(tmp_path / "file")
    async with open_pool(["a"], instruments=[recorder], retry=RetryPolicy.fixed(3.0)) as pool:
        await trio.sleep(1)
        await pool.submit(fail_once, "secret", key=("k", 1), uses={"tokens": 2}, priority=1, name="job")
    (job,) = jobs_of(tmp_path / "file")
    assert (job["at"], job["lasted"], job["end"], job["name"]) == (1.0, 7.0, "succeeded", "job")
    assert job["options"] == {"priority": 1, "key": ["k", 1], "uses": {"tokens": 2}}
    assert (job["last"]["worker"], job["last"]["at"], job["last"]["seconds"]) == (1, 6.0, 2.0)
    assert job["last"]["used"] == {"tokens": 0.25}
    (first,) = [line for line in lines_of(tmp_path / "file") if "attempt" in line]
    assert first["error"].endswith("lives.FailingError")
    assert first["decision"] == {"again": 3.0, "placement": "any", "counts": True}
    assert "secret" not in (tmp_path / "file").read_text()


async def test_it_reads_what_has_ended_while_the_pool_runs(autojump_clock: MockClock, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "file")
    async with open_pool(2, instruments=[recorder]) as pool:
        await pool.run(trio.sleep, 2)
        await pool.submit(trio.sleep, 5)
        await trio.sleep(1)
        recording = recorder.recording()
    assert repr(recording) == "<trio_pool.planning.Recording: 1 jobs in 2 s>"
    assert recorder.path == tmp_path / "file"


def test_jobs_under_way_at_a_crash_are_left_out_and_those_they_started_are_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = """
        import os, sys, trio
        from trio.testing import MockClock
        from trio_pool import open_pool
        from trio_pool.planning import Recorder

        async def parent():
            await trio.sleep(1)
            for _ in range(5):
                await pool.submit(trio.sleep, 1)
            await trio.sleep(1000)

        async def main():
            global pool
            async with open_pool(2, instruments=[Recorder(sys.argv[1])]) as pool:
                await pool.submit(parent)
                for _ in range(3):
                    await pool.submit(trio.sleep, 2)
                    await trio.sleep(0.5)
                await trio.sleep(100)
                os._exit(9)  # nothing is flushed or closed

        trio.run(main, clock=MockClock(autojump_threshold=0))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=environment, check=False, timeout=60)
    assert ended.returncode == 9
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"job": 100, "at": 1')
    recording = Recording.load(path)
    replay = recording.replay()
    assert replay.statistics.submitted == replay.statistics.succeeded == 8
    assert replay.elapsed <= recording.elapsed == 11.0
    assert Recording.load(str(path)).replay() == replay


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text, words in [
        ("", "is not a recording of trio_pool"),
        ("words\n", "is not a recording of trio_pool"),
        ("[1]\n", "is not a recording of trio_pool"),
        ('{"format":"trio_pool recording","version":2}\n', "of a later version"),
        ('{"format":"trio_pool recording","version":1}\n', "no pool was opened"),
        ('{"format":"trio_pool recording","version":1}\n{"pool":{}}\n', "is damaged"),
        ('{"format":"trio_pool recording","version":1}\n{"pool":5}\n', "is damaged"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            Recording.load(path)
    with pytest.raises(FileNotFoundError):
        Recording.load(tmp_path / "missing")


def test_a_path_that_can_not_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorder(tmp_path / "missing" / "file")


def test_an_error_of_writing_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    async def main() -> None:
        async with open_pool(2, instruments=[Recorder(folder / "file")]) as pool:
            await pool.run(trio.sleep, 1)
            (folder / "file").unlink()
            folder.rmdir()
            for _ in range(10):
                await pool.run(trio.sleep, 2)

    run(main)
    (record,) = caplog.records
    assert "was removed" in record.getMessage()


async def test_it_records_one_pool(autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "file")
    async with open_pool(2, instruments=[recorder]) as pool:
        await pool.run(trio.sleep, 1)
    async with open_pool(2, instruments=[recorder]) as pool:
        await pool.run(trio.sleep, 1)
        with pytest.raises(RuntimeError, match="records one pool"):
            pool.add_instrument(recorder)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None
    assert "records one pool" in str(caplog.records[0].exc_info[1])
    assert recorder.recording().elapsed == 1.0


async def test_it_can_begin_in_the_middle(autojump_clock: MockClock, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "file")
    async with open_pool(2, name="pool") as pool:
        with pytest.raises(ValueError, match="no pool was opened"):
            recorder.recording()
        for _ in range(6):
            await pool.submit(trio.sleep, 2)
        async with pool.open_group() as group:
            await trio.sleep(1)
            pool.add_instrument(recorder)
            async with group.map(trio.sleep, [1, 1]) as results:
                async for _ in results:
                    pass
            await group.submit(trio.sleep, 1)
    replay = await trio.to_thread.run_sync(recorder.recording().replay)
    assert replay.statistics.succeeded == 9
    assert replay.elapsed == pytest.approx(9, abs=1)


async def test_keys_have_the_bounds_that_functions_gave_them(autojump_clock: MockClock, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "file")
    per_key = PerKey(max_running=lambda key: 1 if key == "a" else None)
    async with open_pool(5, instruments=[recorder], per_key=per_key) as pool:
        for at in range(20):
            await pool.submit(trio.sleep, 1, key="ab"[at % 2])
    replay = await trio.to_thread.run_sync(recorder.recording().replay)
    assert replay.elapsed == recorder.recording().elapsed == 10.0


def test_the_memory_is_that_of_what_is_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_pool(2, instruments=[recorder]) as pool:
            async with pool.map(trio.sleep, durations(3000)) as results:
                held.extend([count_held() async for _ in results])
            for seconds in durations(100):
                await pool.run(trio.sleep, seconds)
        held.append(count_held())

    def count_held() -> int:
        held: list[Any] = [recorder._traces, recorder._streams, recorder._groups, recorder._coming, recorder._early]
        return sum(map(len, held))

    held: list[int] = []
    recorder = Recorder(tmp_path / "file")
    run(main)
    assert max(held) < 20
    assert held[-1] == 0


async def test_a_function_that_says_what_it_uses_every_moment_does_not_fill_the_file(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async def busy() -> None:
        for amount in range(5000):
            current_job().set_used(tokens=amount)
        await trio.sleep(1)

    recorder = Recorder(tmp_path / "file")
    async with open_pool(1, instruments=[recorder]) as pool:
        await pool.run(busy)
    assert len(jobs_of(tmp_path / "file")[0]["last"]["steps"]) == 1000


async def test_an_odd_error_is_no_trouble(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class OddError(RetryAfter):
        def __init__(self) -> None:
            Exception.__init__(self)

        def __getattribute__(self, name: str) -> Any:
            if name == "delay":
                raise KeyError(name)
            return super().__getattribute__(name)

    class Key:
        def __repr__(self) -> str:
            return "the key"

    async def raise_it() -> None:
        raise ExceptionGroup("", [OddError(), OddError()])

    recorder = Recorder(tmp_path / "file")
    async with open_pool(1, instruments=[recorder], on_dead="keep") as pool:
        await pool.submit(raise_it, key=Key())
        await pool.submit(raise_it, key=1.5)
    assert [job["options"]["key"] for job in jobs_of(tmp_path / "file")] == ["the key", 1.5]
    replay = await trio.to_thread.run_sync(recorder.recording().replay)
    assert replay.statistics.dead == 2
    assert all("instrument" not in record.getMessage() for record in caplog.records)
