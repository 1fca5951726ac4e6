"""What the disk has of a journal when the power fails is whole up to some commit, and has all that was given out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.effort import part_of
from tests.journal_proof.power import PowerLoss

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP, and no waiting for pipes")


def test_a_copy_of_the_files_at_any_moment_has_all_that_was_given_out_whatever_is_missing_from_its_end(
    tmp_path: Path,
) -> None:
    outcome = PowerLoss(items=150, moments=2 + part_of(4), cuts=3, seed=1, folder=tmp_path).run()

    assert outcome.faults == []
    assert outcome.restarts > 0
