"""The files of a journal, copied as they are at a moment, and read as users read them."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import shutil
import struct
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from random import Random

HEADER = 32
"""The bytes in front of the frames of a write-ahead log."""


def export(journal: Path) -> dict[int, object]:
    """The results in a journal, by the numbers of the items, as the command line writes them.

    A copy is read. So nobody but the program under test ever opens the journal itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "export.jsonl")
        code, output = run_command_line(str(copy(journal, Path(folder, "copy"))), "--export", str(target))
        assert code == 0, output
        lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    kept = {int(line["item_id"].removeprefix("item ")): line["result"] for line in lines}
    assert len(kept) == len(lines)
    return kept


def run_command_line(*arguments: str) -> tuple[int, str]:
    """``python -m trio_pool.journal``, but without the time that a new interpreter takes.

    Returns:
        The exit code, and all that was printed.
    """
    output = io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["python -m trio_pool.journal", *arguments]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
        try:
            runpy.run_module("trio_pool.journal", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):
        return 1, f"{output.getvalue()}{code}\n"
    assert code is None or isinstance(code, int)
    return code or 0, output.getvalue()


def log_of(journal: Path) -> Path:
    """The write-ahead log of a journal, which may be missing."""
    return journal.with_name(f"{journal.name}-wal")


def copy(journal: Path, folder: Path) -> Path:
    """Copy the database and its logs, and nothing else: what would be there after the power has failed."""
    folder.mkdir(parents=True)
    for name in (journal.name, f"{journal.name}-wal", f"{journal.name}-journal"):
        if (file := journal.with_name(name)).exists():
            shutil.copyfile(file, folder / name)
    return folder / journal.name


@dataclass(frozen=True)
class Log:
    """How far a write-ahead log has come.

    See "WAL File Format" and "WAL-Index File Format" in the documentation of SQLite.

    Attributes:
        salt: Another one each time that the log starts from its beginning.
        moved: The bytes from which pages have been moved to the database. They are safe on the disk before that.
        written: The bytes that hold whole transactions.
    """

    salt: bytes = b""
    moved: int = 0
    written: int = 0

    @classmethod
    def of(cls, journal: Path) -> Log:
        """Read it from the files beside a journal that nobody writes to meanwhile."""
        index = journal.with_name(f"{journal.name}-shm")
        if not index.exists() or not log_of(journal).exists():
            return cls()
        header, numbers = log_of(journal).read_bytes()[:HEADER], index.read_bytes()[:136]
        if len(header) < HEADER or len(numbers) < 136:
            return cls()
        (page_size,) = struct.unpack(">I", header[8:12])
        written, moved, to_be_moved = (struct.unpack("=I", numbers[at : at + 4])[0] for at in (16, 96, 128))
        frame = 24 + page_size
        return cls(header[16:24], HEADER + max(moved, to_be_moved) * frame, HEADER + written * frame)


def cut(journal: Path, size: int, rng: Random) -> str:
    """Let the end of a log, from so many bytes on, be as if it had never been written.

    Returns:
        How: a file system may leave the file short, or long and full of zeros or of something else.
    """
    log = log_of(journal)
    whole = log.read_bytes()
    ends = {"short": b"", "zeros": bytes(len(whole) - size), "noise": rng.randbytes(len(whole) - size)}
    how = rng.choice(sorted(ends))
    log.write_bytes(whole[:size] + ends[how])
    return how
