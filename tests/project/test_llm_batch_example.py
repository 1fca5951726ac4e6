"""The example that answers prompts with a language model keeps to all quotas, and so do its server and its client."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from tests.platforms import sends_signals
from tests.project.test_examples import EXAMPLES, PATIENCE, bearer, first_line, running

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator
    from pathlib import Path
    from types import ModuleType

KEYS = ("key-a", "key-b", "key-c", "key-d")


@pytest.fixture
def llm_server(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module("llm_server")


@pytest.fixture
def llm_client(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module("llm_client")


@pytest.fixture
def llm_report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module("llm_report")


def keys(table: str) -> dict[str, list[int]]:
    """The calls, tokens, refused and failed calls of each key, and of all."""
    rows = re.findall(r"^(key-[abcd]|all)((?: +\d+){4}) +[\d.]+ s$", table, re.MULTILINE)
    return {name: [int(number) for number in numbers.split()] for name, numbers in rows}


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The program.


def check_answers(folder: Path, llm_server: ModuleType) -> list[dict[str, Any]]:
    """Whether there is a whole answer to each prompt, in the order of the prompts."""
    prompts, answers = (read_lines(folder / name) for name in ("prompts.jsonl", "answers.jsonl"))
    assert [answer["id"] for answer in answers] == [prompt["id"] for prompt in prompts]
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer["tokens"] == llm_server.count_tokens(prompt["text"]) + len(answer["answer"].split())
    return answers


def test_every_prompt_is_answered_whole_and_in_order_and_the_table_adds_up(
    tmp_path: Path, llm_server: ModuleType
) -> None:
    with running("llm_batch.py", "--prompts", "40", "--folder", str(tmp_path)) as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    answers = check_answers(tmp_path, llm_server)
    assert len(answers) == 40
    rows = keys(table)
    assert rows.keys() == {*KEYS, "all"}
    assert rows["all"] == [sum(column) for column in zip(*(rows[name] for name in KEYS), strict=True)]
    calls, tokens, refused, failed = rows["all"]
    assert (calls, tokens, refused) == (40 + failed, sum(answer["tokens"] for answer in answers), 0)
    assert f"for {calls} requests and {tokens} tokens: 192 and 39750 at once" in table
    assert "/40 prompts" in progress


def test_no_call_is_refused_where_the_quotas_are_declared(tmp_path: Path, llm_server: ModuleType) -> None:
    with running("llm_batch.py", "--prompts", "250", "--folder", str(tmp_path)) as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    assert len(check_answers(tmp_path, llm_server)) == 250
    assert [row[2] for row in keys(table).values()] == [0, 0, 0, 0, 0]


def test_calls_are_refused_and_none_is_lost_where_the_quotas_are_not_declared(
    tmp_path: Path, llm_server: ModuleType
) -> None:
    with running("llm_batch.py", "--prompts", "250", "--folder", str(tmp_path), "--without-limits") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    answers = check_answers(tmp_path, llm_server)
    calls, tokens, refused, failed = keys(table)["all"]
    assert calls == 250 + refused + failed
    assert refused > 0
    assert tokens == sum(answer["tokens"] for answer in answers)


@sends_signals
def test_ctrl_c_leaves_in_good_order_with_a_table_and_with_the_answers_so_far(tmp_path: Path) -> None:
    with running("llm_batch.py", "--folder", str(tmp_path)) as process:
        progress = [first_line(process.stderr) for _ in range(3)]  # by the third some are answered
        process.send_signal(signal.SIGINT)
        table, rest = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "Traceback" not in "".join([*progress, rest])
    assert 0 < len(read_lines(tmp_path / "answers.jsonl")) < 2000
    assert keys(table).keys() == {*KEYS, "all"}


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize(("end", "code"), [("SIGINT", 130), ("SIGKILL", -9)])
def test_with_a_journal_it_goes_on_where_it_was_stopped_and_calls_for_nothing_that_is_answered(
    tmp_path: Path, end: str, code: int, llm_server: ModuleType
) -> None:
    arguments = ("--prompts", "300", "--folder", str(tmp_path), "--journal", str(tmp_path / "run.sqlite"))
    with running("llm_batch.py", *arguments) as process:
        progress = first_line(process.stderr)
        while re.match(r" *\d/", progress):  # fewer than ten are answered
            progress = first_line(process.stderr)
        process.send_signal(getattr(signal, end))
        process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    *whole, _ = (tmp_path / "answers.jsonl").read_text().split("\n")  # a kill may leave half a line
    before = [json.loads(line) for line in whole]

    with running("llm_batch.py", *arguments) as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    answers = check_answers(tmp_path, llm_server)
    assert answers[: len(before)] == before
    known = int(re.findall(r"^known +(\d+) ", table, re.MULTILINE)[0])
    calls, _, refused, failed = keys(table)["all"]
    assert len(before) <= known < 300
    assert (calls, refused) == (300 - known + failed, 0)


def test_lines_of_the_live_view_are_printed_if_asked_for_where_there_is_no_terminal(tmp_path: Path) -> None:
    with running("llm_batch.py", "--prompts", "10", "--folder", str(tmp_path), "--live") as process:
        _, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    assert progress.startswith("llm batch 0:0")
    assert " 10 of 10 ended (100 %)" in progress


def test_rich_is_needed_for_the_live_view_alone(tmp_path: Path) -> None:
    # As if it were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    arguments = ("--prompts", "1", "--folder", str(tmp_path))
    with running("llm_batch.py", *arguments, PYTHONPATH=path) as process:
        _, progress = process.communicate(timeout=PATIENCE)
    with running("llm_batch.py", *arguments, "--live", PYTHONPATH=path) as refused:
        _, errors = refused.communicate(timeout=PATIENCE)

    assert (process.returncode, refused.returncode) == (0, 2), progress + errors
    assert "pip install rich" in errors


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_prompts_that_makes_no_sense_is_refused(number: str) -> None:
    with running("llm_batch.py", "--prompts", number) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert "--prompts" in errors


def test_the_least_time_is_that_of_the_quota_that_is_used_up_last(llm_report: ModuleType) -> None:
    def theory(requests: int, tokens: int) -> str:
        report = llm_report.Report(wanted=1)
        report.accounts = {"key-a": {"calls": requests + 5, "refused": 5, "tokens": tokens}}
        return str(re.findall(r"in theory +([\d.]+) s", "\n".join(report._lines_on_theory()))[0])

    assert theory(192 * 3, 39_750) == "6.20"
    assert theory(192, 39_750 * 2) == "3.20"
    assert theory(1, 100) == "0.20"


# Its server.


@pytest.fixture
def server() -> Generator[subprocess.Popen[str]]:
    with running("llm_server.py", "--failing", "0", "--minute", "1000") as process:
        yield process


@pytest.fixture
def api(server: subprocess.Popen[str]) -> Generator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{int(first_line(server.stdout))}", trust_env=False) as client:
        yield client


def complete(api: httpx.Client, key: str, max_tokens: int = 10, **more: object) -> httpx.Response:
    body = {"model": "words", "messages": [{"role": "user", "content": "Hello, world"}], "max_tokens": max_tokens}
    return api.post("/v1/chat/completions", json={**body, **more}, headers=bearer(key))


def test_server_tells_the_usage_and_what_is_left(api: httpx.Client) -> None:
    response = complete(api, "key-a")

    usage = response.json()["usage"]
    assert usage["completion_tokens"] == len(response.json()["choices"][0]["message"]["content"].split()) <= 10
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert response.headers["x-ratelimit-limit-requests"] == "72"
    assert response.headers["x-ratelimit-remaining-requests"] == "71"
    assert int(response.headers["x-ratelimit-remaining-tokens"]) >= 15_000 - usage["total_tokens"]


def test_server_streams_the_same_answer_with_the_usage_at_its_end(api: httpx.Client) -> None:
    whole = complete(api, "key-a", 300).json()
    events = [line.removeprefix("data: ") for line in complete(api, "key-a", 300, stream=True).text.split("\n\n")]

    assert events[-2:] == ["[DONE]", ""]
    chunks = [json.loads(event) for event in events[:-2]]
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk["usage"] for chunk in chunks if "usage" in chunk] == [whole["usage"]]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert len(chunks) > 4


def test_server_refuses_what_it_does_not_understand(api: httpx.Client) -> None:
    post = partial(api.post, "/v1/chat/completions")

    assert complete(api, "key-x").status_code == 401
    assert api.post("/v1/models", headers=bearer("key-a")).status_code == 404
    for content in ("", "[]", "{}", '{"messages": [1]}'):
        assert post(content=content, headers=bearer("key-a")).status_code == 400


def test_server_fails_as_often_as_it_is_told() -> None:
    with running("llm_server.py", "--failing", "1") as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{int(first_line(process.stdout))}", trust_env=False) as client:
            assert complete(client, "key-a").status_code == 500
        output, _ = process.communicate(timeout=PATIENCE)

    assert json.loads(output)["key-a"] == {"calls": 1, "refused": 0, "failed": 1, "tokens": 0}


def test_keys_of_an_organization_share_its_quota_and_are_told_when_to_come_back(api: httpx.Client) -> None:
    body = {"messages": [{"content": "Hello"}], "max_tokens": 8_900, "stream": True}
    with api.stream("POST", "/v1/chat/completions", json=body, headers=bearer("key-c")) as under_way:
        assert 99 <= int(under_way.headers["x-ratelimit-remaining-tokens"]) < 200  # of its own 9,000
        refused = complete(api, "key-d", 8_900)

    assert refused.status_code == 429
    assert 1 < int(refused.headers["retry-after"]) <= 320
    assert 4_599 <= int(refused.headers["x-ratelimit-remaining-tokens"]) < 4_700  # of the organization's 13,500
    assert complete(api, "key-d", 1).status_code == 200
    assert complete(api, "key-a", 8_900).status_code == 200


def test_server_says_at_its_end_what_each_key_has_done(server: subprocess.Popen[str], api: httpx.Client) -> None:
    usage = complete(api, "key-b").json()["usage"]["total_tokens"]
    output, errors = server.communicate(timeout=PATIENCE)

    accounts = json.loads(output)
    assert (accounts.keys(), errors) == ({*KEYS}, "")
    assert accounts["key-b"] == {"calls": 1, "refused": 0, "failed": 0, "tokens": usage}


def test_server_says_nothing_about_a_client_that_hangs_up(server: subprocess.Popen[str], api: httpx.Client) -> None:
    body = {"messages": [{"content": "Hello"}], "max_tokens": 400, "stream": True}
    for _ in range(4):
        with api.stream("POST", "/v1/chat/completions", json=body, headers=bearer("key-a")):
            pass  # the answer is still on its way

    _, errors = server.communicate(timeout=PATIENCE)
    assert errors == ""


def test_bucket_is_full_at_first_and_refills_evenly_and_no_further(llm_server: ModuleType) -> None:
    bucket = llm_server.Bucket(10, minute=5.0)

    bucket.draw(8, now=1.0)
    assert [bucket.wait(amount, now=1.0) for amount in (2, 4, 10, 99)] == [0.0, 1.0, 4.0, 4.0]
    assert bucket.level(now=2.0) == 4
    bucket.draw(-20, now=2.0)
    assert bucket.level(now=9.0) == 10
    bucket.draw(12, now=9.0)
    assert bucket.level(now=10.0) == 0


def test_account_draws_from_both_meters_or_from_none(llm_server: ModuleType) -> None:
    accounts = llm_server.open_accounts(minute=100.0)
    c, d = (accounts[f"Bearer key-{name}"] for name in "cd")

    assert c.admit(9_000, now=0.0) == 0.0
    assert d.admit(9_000, now=0.0) == pytest.approx(4_500 / 135)  # of the organization's 13,500
    assert d.admit(4_500, now=0.0) == 0.0
    c.settle(9_000, 3_000, now=0.0)
    assert d.admit(4_500, now=0.0) == 0.0
    assert [account.counts.refused for account in (c, d)] == [0, 1]
    assert d.headers(now=0.0)["x-ratelimit-remaining-tokens"] == "0"


# Its client.


async def serve(replies: list[bytes], requests: list[bytes], connections: list[int], stream: trio.SocketStream) -> None:
    """Answer each request of a connection with the next reply, and hang up after the last."""
    connections.append(len(requests))
    async for received in stream:
        requests.append(bytes(received))
        await stream.send_all(replies.pop(0))
        if not replies:
            break


class FakeServer:
    """What a server has been asked over which connections."""

    def __init__(self, nursery: trio.Nursery, *replies: bytes) -> None:
        self.requests: list[bytes] = []
        self.connections: list[int] = []
        self._nursery = nursery
        self._handler = partial(serve, list(replies), self.requests, self.connections)

    async def start(self) -> int:
        listeners = await self._nursery.start(partial(trio.serve_tcp, self._handler, 0, host="127.0.0.1"))
        return int(listeners[0].socket.getsockname()[1])


async def test_client_uses_a_connection_again_once_a_body_has_come_whole(llm_client: ModuleType) -> None:
    whole = b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery, whole, whole, whole)
        client = llm_client.HttpClient(await server.start(), "key-a")
        for read in (True, False, True):
            async with client.post("/path", {"a": 1}) as response:
                assert (response.status, response.headers["retry-after"]) == (429, "3")
                if read:
                    assert await response.read() == b"busy"
        await client.aclose()
        nursery.cancel_scope.cancel()

    assert server.connections == [0, 2]  # the second body was not read
    assert server.requests[0].startswith(b"POST /path HTTP/1.1\r\nHost: 127.0.0.1:")
    assert server.requests[0].endswith(b'Content-Length: 8\r\n\r\n{"a": 1}')
    assert b"\r\nAuthorization: Bearer key-a\r\n" in server.requests[0]


async def test_client_gives_out_events_however_they_are_cut(llm_client: ModuleType) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"9\r\ndata: one\r\n" + b"5\r\n\n\ndat\r\n" + b"f\r\na: 2\n\ndata: 3\n\n\r\n" + b"0\r\n\r\n"
    async with trio.open_nursery() as nursery:
        client = llm_client.HttpClient(await FakeServer(nursery, head + body).start(), "key-a")
        async with client.post("/", {}) as response:
            assert [event async for event in response.events()] == ["one", "2", "3"]
            assert response.is_complete
        await client.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
async def test_client_says_that_the_server_has_hung_up(llm_client: ModuleType, reply: bytes) -> None:
    async with trio.open_nursery() as nursery:
        client = llm_client.HttpClient(await FakeServer(nursery, reply).start(), "key-a")
        with pytest.raises(llm_client.BrokenConnectionError, match="hung up"):
            async with client.post("/", {}) as response:
                await response.read()
        nursery.cancel_scope.cancel()
