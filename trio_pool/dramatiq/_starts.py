"""Counting the starts of messages that nobody has ended: each is a process that died."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .._policies import validate

if TYPE_CHECKING:
    from redis import Redis

# One round trip: deletes the keys of messages that have ended, and counts the start of another.
_BEGIN = """
for i = 2, #KEYS do redis.call('unlink', KEYS[i]) end
local starts = redis.call('incr', KEYS[1])
redis.call('pexpire', KEYS[1], ARGV[1])
return starts
"""

_KEEP = 7 * 24 * 3_600_000
"""Milliseconds after which a message that nobody ends is forgotten."""

_MOST_AT_ONCE = 64
"""How many keys of ended messages go with one start."""


class Starts(Protocol):
    """Counts starts of messages, in a place that outlives the process. Called in many threads."""

    def begin(self, message_id: str) -> int:
        """Note that a message starts.

        Returns:
          int: how many starts before this one have not ended: the crashes.
        """
        ...

    def withdraw(self, message_id: str) -> None:
        """Undo the last ``begin``: the message has not been started after all."""
        ...

    def end(self, message_id: str, *, at_once: bool) -> None:
        """Forget a message, which has ended; unless ``at_once``, any time later."""
        ...

    def flush(self) -> None:
        """Forget all that have ended, before the process goes."""
        ...


class RedisStarts:
    """One key a message in Redis or Valkey. A `PoolQueue` with a ``RedisBroker`` has one by itself.

    RabbitMQ doesn't count how often it brings a message, so a queue on RabbitMQ needs a Redis or
    Valkey for this.

    Arguments:
      client: a client of Redis or Valkey.
      namespace: the beginning of the names of the keys.

    Raises:
      TypeError: if ``namespace`` is not a str.
    """

    def __init__(self, client: Redis, *, namespace: str = "trio_pool") -> None:
        self._client: Any = client
        self._prefix = validate.instance("namespace", namespace, str) + ":starts:"
        # The script's identifier, once Redis has it.
        self._script: str | None = None
        self._ended: deque[str] = deque()
        # A connection for each thread, since taking one from the pool for each message costs as much as using it.
        self._local = threading.local()

    def begin(self, message_id: str) -> int:
        """Count a start; see `Starts`."""
        keys = [self._prefix + message_id, *self._take()]
        try:
            return self._run_script(keys) - 1
        except Exception:
            self._ended.extend(keys[1:])
            raise

    def _run_script(self, keys: list[str]) -> int:
        client: Any = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._client.client()
        if self._script is None:
            self._script = client.script_load(_BEGIN)
        try:
            return int(client.execute_command("EVALSHA", self._script, len(keys), *keys, _KEEP))
        except Exception as error:
            # Redis has been started again, and forgets scripts then. The class is redis's, which is not imported here.
            if type(error).__name__ == "NoScriptError":
                self._script = None
            raise

    def withdraw(self, message_id: str) -> None:
        """Undo a start; see `Starts`."""
        self._client.decr(self._prefix + message_id)

    def end(self, message_id: str, *, at_once: bool) -> None:
        """Forget a message; see `Starts`."""
        if at_once:
            self._client.unlink(self._prefix + message_id)
        else:
            # An acknowledged message never comes again, so this is only for the sake of memory.
            self._ended.append(self._prefix + message_id)

    def flush(self) -> None:
        """Forget all that have ended; see `Starts`."""
        while keys := self._take():
            self._client.unlink(*keys)

    def _take(self) -> list[str]:
        """Take some keys of messages that have ended."""
        keys: list[str] = []
        try:
            while len(keys) < _MOST_AT_ONCE:
                keys.append(self._ended.popleft())
        except IndexError:
            pass
        return keys
