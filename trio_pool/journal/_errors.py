"""The error of a journal."""

from __future__ import annotations

from .._model.errors import PoolError


class JournalError(PoolError):
    """A journal can't be opened, written or read.

    Raised when the journal is opened, if its file is not a journal, is of a newer version, is in use by
    another process, or can't be written; the message names the file. Raised by a stream, if a result
    could not be committed or loaded. The ``__cause__`` is the error of the file or of the function.
    """
