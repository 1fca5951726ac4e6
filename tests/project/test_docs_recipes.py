"""The recipes run, and print what the chapter shows."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
import trio.testing

import trio_pool
from tests.platforms import sends_signals

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECIPES = DOCS / "recipes"
PAGE = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("recipes*.rst")))
ON_TRIOS_CLOCK = ["api_keys", "chained", "language_model", "periodic", "two_resources"]
WITH_THREADS = ["blocking", "database"]
"""They wait for nothing but threads, and a clock that jumps would not wait for those."""
FAKES = ["fake_model", "fake_service"]
"""They stand for a service, and are no programs."""
PATIENCE = 60.0
"""Seconds after which a process that should have ended is taken for hung."""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(name: str) -> str:
    return (RECIPES / f"{name}.txt").read_text(encoding="utf-8")


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", text)


def environment() -> dict[str, str]:
    """Variables with which a process uses the library under test, whether that is installed or not."""
    path = [str(Path(trio_pool.__file__).parent.parent), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


@pytest.fixture(autouse=True)
def _imports_from_the_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(RECIPES), *sys.path])
    # They count the calls that are made to them, so each test needs those of its own.
    for name in FAKES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("name", ON_TRIOS_CLOCK)
def test_recipe_on_trios_clock_prints_what_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load(name).main, clock=trio.testing.MockClock(autojump_threshold=0))
    # How many pages each key serves differs from run to run, as the order of Trio's tasks does.
    assert without_numbers(capsys.readouterr().out) == without_numbers(shown(name))


@pytest.mark.parametrize("name", WITH_THREADS)
def test_recipe_with_threads_prints_what_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load(name).main)
    assert capsys.readouterr().out == shown(name)


def test_recipe_with_sockets_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    # What is on its way between two sockets has 10 ms to arrive before the clock jumps.
    trio.run(load("server").main, clock=trio.testing.MockClock(autojump_threshold=0.01))
    assert capsys.readouterr().out == shown("server")


def test_neither_of_two_chained_pools_gets_far_ahead(capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load("chained").main, clock=trio.testing.MockClock(autojump_threshold=0))
    (downloaded,) = re.findall(r"(\d+) pages are downloaded", capsys.readouterr().out)
    assert int(downloaded) <= 1 + 3 + 4


def test_all_pages_arrive_with_several_keys(capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load("api_keys").main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert "40 of 41 pages arrived" in capsys.readouterr().out


def test_a_language_model_refuses_no_call_where_its_quotas_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: Counter[int] = Counter()

    class Response(httpx.Response):
        def __init__(self, status_code: int, **options: Any) -> None:
            statuses[status_code] += 1
            super().__init__(status_code, **options)

    monkeypatch.setattr(httpx, "Response", Response)
    trio.run(load("language_model").main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert statuses[200] == 600
    assert statuses.keys() <= {200, 500}


class Service:
    """A server with the keys of the recipe: one hangs, one is told to pause without being told for how long."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def answer(self, stream: trio.SocketStream) -> None:
        """Serve a connection, as the simplest of HTTP servers."""
        received = b""
        async for part in stream:
            received += part
            while b"\r\n\r\n" in received:
                request, _, received = received.partition(b"\r\n\r\n")
                await stream.send_all(await self.respond(request.decode("ascii")))

    async def respond(self, request: str) -> bytes:
        path = request.split(" ")[1]
        key = re.findall(r"^authorization: (\w+)\r?$", request, re.MULTILINE | re.IGNORECASE)[0]
        self.calls[key] += 1
        if key == "cedar":
            await trio.sleep_forever()
        if key == "basil" and self.calls[key] % 3 == 2:
            return b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
        if key == "basil" and self.calls[key] % 3 == 0:
            return b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n"
        status = "404 Not Found" if path == "/missing" else "200 OK"
        return f"HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\npage".encode()


def test_a_key_that_hangs_and_pauses_of_unknown_length_cost_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    service, recipe = Service(), load("api_keys")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, service.answer, [listener])
            port = listener.socket.getsockname()[1]

            def connect(key: str) -> httpx.AsyncClient:
                url, headers = f"http://127.0.0.1:{port}", {"Authorization": key}
                return httpx.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False)

            vars(recipe)["connect"] = connect
            await recipe.main()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(rate=5))
    assert "40 of 41 pages arrived" in capsys.readouterr().out
    assert service.calls["cedar"] > 0
    assert service.calls["basil"] > 3


@pytest.mark.parametrize("name", ["cpu"])
def test_recipe_in_a_process_of_its_own_prints_what_is_shown(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(RECIPES / f"{name}.py")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == shown(name)


@sends_signals
def test_sigterm_ends_the_process_gracefully() -> None:
    with subprocess.Popen(
        [sys.executable, str(RECIPES / "shutdown.py"), "0"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert re.fullmatch(r"order \d is done\n", first)
    assert "SIGTERM: 0 seconds for what is there\n" in rest
    assert (process.returncode, errors) == (0, "")


async def shut_down_at(seconds: float, grace: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("shutdown").main, grace)
        await trio.sleep(seconds)
        signal.raise_signal(signal.SIGTERM)


def test_after_the_deadline_what_still_runs_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(shut_down_at, 2.1, 2.0, clock=clock)
    printed = capsys.readouterr().out.splitlines()
    # The first orders are done at the same instant, so in any order.
    assert sorted(printed[:5]) == sorted(shown("shutdown").splitlines()[:5])
    assert printed[5:] == shown("shutdown").splitlines()[5:]


def test_what_ends_before_the_deadline_is_not_waited_beyond(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> float:
        started_at = trio.current_time()
        await shut_down_at(0.2, 7200)
        return trio.current_time() - started_at

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) < 3700
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "4 of 4 done, 0 cancelled"
    assert "time is up" not in printed


def test_the_tests_that_are_a_recipe_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--no-header", "docs/recipes/test_download.py"],
        cwd=DOCS.parent,
        env={**environment(), "COLUMNS": "80", "PY_COLORS": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    names = re.compile(r"(?<=::)\w+ PASSED")
    assert names.findall(done.stdout) == names.findall(shown("test_download")) != []
    assert done.returncode == 0


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_recipe_is_shown_in_the_chapter_with_what_it_prints(path: Path) -> None:
    assert f"recipes/{path.name}" in PAGE
    if path.stem not in FAKES:
        assert f"recipes/{path.stem}.txt" in PAGE
