"""Batches that survive the process: results in a file, not computed again. Nothing else in the package imports it."""

from .._basics.public_names import publish
from ._book import JournalStatistics
from ._errors import JournalError
from ._journal import Journal, open_journal
from ._stream import Entry

__all__ = ["Entry", "Journal", "JournalError", "JournalStatistics", "open_journal"]

publish(__name__, __all__)
