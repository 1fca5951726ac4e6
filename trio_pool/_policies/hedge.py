"""When a slow attempt also starts on other workers."""

from __future__ import annotations

import attrs

from . import validate


@attrs.frozen
class Hedge:
    """When a slow attempt also starts on other workers; the first success counts.

    When an attempt has run for ``after`` seconds, it also starts on another free eligible worker,
    or on the first that becomes free. After every further ``after`` seconds it starts on one more
    worker, up to ``extra`` of them. Queued jobs go first. When the attempt returns a value on one
    worker, the pool cancels it on the others. The attempt ends once it has ended on all of them.
    All these runs together are one attempt, which fails only if every run fails. Use it for jobs
    whose function may safely run more than once.

    After the hedged requests in "The Tail at Scale" (Jeffrey Dean and Luiz André Barroso,
    Communications of the ACM 56/2, 2013). An immutable value: instances compare and print by their
    fields.

    Arguments:
      after: seconds that an attempt runs before it starts on another worker, finite, zero or more.
      extra: the maximum number of additional workers, at least 1.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    after: float = attrs.field(validator=validate.by(validate.seconds, finite=True))
    extra: int = attrs.field(default=1, validator=validate.by(validate.count, least=1))
