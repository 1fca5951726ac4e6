"""A program that is started again keeps to the quotas that it had used up before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.effort import part_of
from tests.journal_proof.quotas import AT_ONCE, run_batch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL, and no waiting for pipes")


def test_a_batch_that_is_killed_again_and_again_gets_no_429_and_pays_for_no_answer_twice(tmp_path: Path) -> None:
    kills = part_of(10)
    prompts = AT_ONCE + 25 * kills
    bill = run_batch(prompts, kills, 1, tmp_path)

    assert bill.faults(prompts) == []
