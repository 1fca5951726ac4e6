"""A program that goes on from its journal however often it is killed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.effort import part_of
from tests.journal_proof.killing import Killer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL, and no waiting for pipes")


def test_a_program_that_is_killed_at_random_moments_loses_no_result_and_computes_none_again(tmp_path: Path) -> None:
    kills = part_of(8)
    story = Killer(items=25 * kills, kills=kills, seed=kills, folder=tmp_path).run()

    assert story.record.faults == []
    assert story.killed == kills
