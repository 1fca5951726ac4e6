"""Helpers for testing programs that use a pool. Nothing else in the package imports this folder."""

from .._basics.public_names import publish
from ._flaky import Flaky
from ._sequential import one_at_a_time
from ._settled import assert_settled

__all__ = ["Flaky", "assert_settled", "one_at_a_time"]

publish(__name__, __all__)
