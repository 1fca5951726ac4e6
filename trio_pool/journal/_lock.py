"""The lock that gives a single process access to a journal."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from ._errors import JournalError

if sys.platform == "win32":
    import msvcrt

    # Behind the text in the file, since a locked byte can't be read on this system.
    _LOCKED_BYTE = 1 << 20

    def _try_to_lock(file: int) -> None:
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _try_to_lock(file: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """A lock beside a file, which ends with the process that holds it, however the process ends.

    This is a lock of the operating system on a separate file, which contains the process's number.
    SQLite's locks are not suitable, since other processes may read the journal meanwhile.

    Arguments:
      path: the file, without symbolic links.
    """

    # The locked files. A process could lock a file twice, and would lose both locks with the release of the first.
    _held: set[str] = set()  # noqa: RUF012
    _guard = threading.Lock()

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Lock the file.

        Raises:
          JournalError: if it is locked by this process or another one.
          OSError: if the lock's file can't be written.
        """
        with self._guard:
            if self._path in self._held:
                raise JournalError(f"{self._path!r} is open already, in this process (pid {os.getpid()})")
            while self._file is None:
                self._file = self._try()
            self._held.add(self._path)

    def _try(self) -> int | None:
        """Return the locked file; None if the process that held it before has removed it meanwhile."""
        name = f"{self._path}.lock"
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                _try_to_lock(file)
            except OSError:
                pid = os.read(file, 32).decode(errors="replace").strip() or "unknown"
                raise JournalError(f"{self._path!r} is in use by another process, with the pid {pid}") from None
            if not _is_at(name, file):
                os.close(file)
                return None
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(file)
            raise
        return file

    def release(self) -> None:
        """Unlock the file, if this object holds the lock."""
        with self._guard:
            if self._file is not None:
                with suppress(OSError):  # where open files can't be removed
                    os.remove(f"{self._path}.lock")
                os.close(self._file)  # which unlocks it
                self._file = None
                self._held.discard(self._path)


def _is_at(name: str, file: int) -> bool:
    """Whether an open file is the one with this name."""
    try:
        return os.path.samestat(os.stat(name), os.fstat(file))
    except FileNotFoundError:
        return False
