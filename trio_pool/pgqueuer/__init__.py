"""A pool behind PgQueuer: jobs from PostgreSQL, for more machines than one.

Needs the extra ``trio-pool[pgqueuer]``.
"""

from importlib import import_module

try:
    import_module("pgqueuer")
    import_module("psycopg")
except ImportError as _error:
    raise ImportError('trio_pool.pgqueuer needs PgQueuer and psycopg: pip install "trio-pool[pgqueuer]"') from _error

from .._basics.public_names import publish
from ._actor import PoolActor
from ._queue import PoolQueue

__all__ = ["PoolActor", "PoolQueue"]

publish(__name__, __all__)
