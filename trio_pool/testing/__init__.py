"""Helpers for testing programs that use a pool. Nothing else in the package imports this folder.

``_trouble`` disturbs one pool by a seed, for ``_chaos``, a block, and ``_explore``, a test that is run again and again.
"""

from .._basics.public_names import publish
from ._chaos import chaos
from ._explore import explore
from ._flaky import Flaky
from ._sequential import one_at_a_time
from ._settled import assert_settled
from ._trouble import Disturbance, Trouble

__all__ = ["Disturbance", "Flaky", "Trouble", "assert_settled", "chaos", "explore", "one_at_a_time"]

publish(__name__, __all__)
