"""What an engine in front of a pool needs to know: what becomes of a job that has ended, and of one that comes again.

An engine is a queue outside of the process that delivers at least once: it brings a job again if the
process dies that had it. ``trio_pool.dramatiq`` and ``trio_pool.pgqueuer`` are made of this module; a worker
for any other engine can be made of it too. The module imports no engine.
"""

from .._basics.public_names import publish
from ._ending import Ending
from ._jobs import ActorOptions
from ._suspects import Suspects

__all__ = ["ActorOptions", "Ending", "Suspects"]

publish(__name__, __all__)
