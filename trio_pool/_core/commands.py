"""The commands of the core, which the runtime carries out in order.

A command is a pair of a kind and a subject. The subjects are typed as Any, since workers and jobs are the runtime's
handles.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeAlias

Command: TypeAlias = tuple[str, Any]
Commands: TypeAlias = deque[Command]

# The subject is a run. START: send the run to its worker, which has a free loop for it. INTERRUPT: cancel the run.
# REGAIN: the run has got back the place that its job had lent.
START: Final = "start"
INTERRUPT: Final = "interrupt"
REGAIN: Final = "regain"

# RECALL: the worker is about to leave or to reopen its resource, and its loops must end when they are idle.
# HIRE, without a subject: open another worker.
# CHECK: the worker is due for a health check. UNCHECK: cancel the health check of the worker.
RECALL: Final = "recall"
CHECK: Final = "check"
UNCHECK: Final = "uncheck"
HIRE: Final = "hire"

# The subject is a job. CHANGED: notify the watchers of the job's first start or of its end. ADMITTED: release the
# submitter, since the job has got a place in the queue or has ended. REFUSED: release the submitter with an error,
# since no worker may run the job. DIED: the job is dead.
CHANGED: Final = "changed"
ADMITTED: Final = "admitted"
REFUSED: Final = "refused"
DIED: Final = "died"

# The subject is a group. GROUP_QUIET: no live job is left. RESERVED: the group has all its reserved workers.
# TURNED_AWAY: the group will never get them.
GROUP_QUIET: Final = "group quiet"
RESERVED: Final = "reserved"
TURNED_AWAY: Final = "turned away"

# WAITS_IN_VAIN: the wait would never end. MOVED: the window of a stream may have room for more jobs.
WAITS_IN_VAIN: Final = "waits in vain"
MOVED: Final = "moved"

# QUIET, without a subject: no live job is left. TELL: notify the instruments of the event, with its arguments.
# TELL_OF_POOL: the same, with the pool before the arguments.
QUIET: Final = "quiet"
TELL: Final = "tell"
TELL_OF_POOL: Final = "tell of pool"
