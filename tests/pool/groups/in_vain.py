"""What a group is told that waits for its workers in vain."""

from __future__ import annotations

IN_VAIN = r"^the pool ended before the group had its workers$"
