"""Helpers for testing programs that use a pool. Nothing else in the package imports this folder.

``_faults`` injects faults into one pool by a seed: for ``_chaos``, a block, and for ``_explore``, a whole test.
"""

from .._basics.public_names import publish
from ._chaos import chaos
from ._explore import explore
from ._faults import Faults, InjectedError
from ._flaky import Flaky
from ._sequential import one_at_a_time
from ._settled import assert_settled

__all__ = ["Faults", "Flaky", "InjectedError", "assert_settled", "chaos", "explore", "one_at_a_time"]

publish(__name__, __all__)
