"""What the core decides, for the runtime to carry out in this order.

A command is a pair: its kind, and what it is about. The workers and the jobs are known to the runtime as its
handles, hence Any.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeAlias

Command: TypeAlias = tuple[str, Any]
Commands: TypeAlias = deque[Command]

# About a run: hand it over to its worker, which has a free loop for it; cancel it; its job has the place back that
# it had lent.
START: Final = "start"
INTERRUPT: Final = "interrupt"
REGAIN: Final = "regain"

# About a worker, which is to leave or to reopen its resource: its loops have to end when they have nothing to do.
# About none: open another one.
RECALL: Final = "recall"
HIRE: Final = "hire"

# About a job: its state has changed, which some watch; its submitter goes on, since it has got a place in the queue
# or has ended, or without it, since no worker may take it; it is dead.
CHANGED: Final = "changed"
ADMITTED: Final = "admitted"
REFUSED: Final = "refused"
DIED: Final = "died"

# About a group: none of its jobs is left that has not ended; it has the workers that it wants for itself, or will
# never have them.
GROUP_QUIET: Final = "group quiet"
RESERVED: Final = "reserved"
TURNED_AWAY: Final = "turned away"

# About a wait that would be for ever; about the window of a stream, where there may be room for more jobs.
WAITS_IN_VAIN: Final = "waits in vain"
MOVED: Final = "moved"

# About nothing: no job is left that has not ended. About an event and its arguments, for the instruments.
QUIET: Final = "quiet"
TELL: Final = "tell"
