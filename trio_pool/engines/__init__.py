"""Decisions for an engine in front of a pool: about a job that has ended, and about one that is redelivered.

An engine is a queue outside of the process that delivers at least once: if the process that had a job
dies, the engine delivers the job again. ``trio_pool.dramatiq`` and ``trio_pool.pgqueuer`` are built on this
module, and a worker for any other engine can be built on it too. The module imports no engine.
"""

from .._basics.public_names import publish
from ._ending import Ending
from ._jobs import ActorOptions
from ._suspects import Suspects

__all__ = ["ActorOptions", "Ending", "Suspects"]

publish(__name__, __all__)
