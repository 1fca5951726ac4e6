"""A pool behind dramatiq: jobs from Redis, Valkey or RabbitMQ, for more machines than one.

Needs the extra ``trio-pool[dramatiq]``, and dramatiq's own extra for the broker.
"""

from importlib import import_module

try:
    import_module("dramatiq")
except ImportError as _error:
    raise ImportError('trio_pool.dramatiq needs dramatiq: pip install "trio-pool[dramatiq]"') from _error

from .._basics.public_names import publish
from ._actor import PoolActor
from ._queue import PoolQueue
from ._starts import RedisStarts, Starts

__all__ = ["PoolActor", "PoolQueue", "RedisStarts", "Starts"]

publish(__name__, __all__)
