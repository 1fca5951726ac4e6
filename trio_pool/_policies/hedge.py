"""When a slow attempt is started on further workers too."""

from __future__ import annotations

import attrs

from . import validate


@attrs.frozen
class Hedge:
    """When a slow attempt is started on further workers too; the first success counts.

    An attempt that has run for ``after`` seconds is started on another worker that may take
    it and is idle, or on the first that becomes so; after as long again on one more, if
    ``extra`` allows it. Jobs that are queued go first. When it has ended with a value on one
    of them, it is cancelled on the others, and has ended when it has ended there. All
    together are one attempt, which has failed when it has failed on all of them. For jobs
    whose function may run more than once.

    After the hedged requests in "The Tail at Scale" (Jeffrey Dean and Luiz André Barroso,
    Communications of the ACM 56/2, 2013). A value: compare it, print it.

    Arguments:
      after: seconds that an attempt runs before it is started on another worker, finite,
          zero or more.
      extra: on how many further workers at most, at least 1.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    after: float = attrs.field(validator=validate.by(validate.seconds, finite=True))
    extra: int = attrs.field(default=1, validator=validate.by(validate.count, least=1))
