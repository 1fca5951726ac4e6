"""Counting the starts of messages that have not ended: each stands for a process that died."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .._policies import validate

if TYPE_CHECKING:
    from redis import Redis

# In one round trip, delete the keys of messages that have ended, and count the start of another message.
_BEGIN = """
for i = 2, #KEYS do redis.call('unlink', KEYS[i]) end
local starts = redis.call('incr', KEYS[1])
redis.call('pexpire', KEYS[1], ARGV[1])
return starts
"""

_KEEP = 7 * 24 * 3_600_000
"""Milliseconds after which a message that has not ended is forgotten."""

_MOST_AT_ONCE = 64
"""How many keys of ended messages are deleted with one start."""


class Starts(Protocol):
    """Counts starts of messages, in a store that outlives the process. Called from many threads."""

    def begin(self, message_id: str) -> int:
        """Record that a message starts.

        Returns:
          int: how many starts before this one have not ended: the crashes.
        """
        ...

    def withdraw(self, message_id: str) -> None:
        """Undo the last ``begin``: the message has not been started after all."""
        ...

    def end(self, message_id: str, *, at_once: bool) -> None:
        """Forget a message that has ended, ``at_once`` or any time later."""
        ...

    def flush(self) -> None:
        """Forget all messages that have ended, before the process ends."""
        ...


class RedisStarts:
    """Counts starts with one key per message in Redis or Valkey. A `PoolQueue` with a ``RedisBroker`` makes its own.

    RabbitMQ doesn't count how often it delivers a message, so a queue on RabbitMQ needs a Redis or
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
            # Redis has been restarted, and has lost the script. The class belongs to redis, which is not imported here.
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
            # An acknowledged message is never redelivered, so this only frees memory.
            self._ended.append(self._prefix + message_id)

    def flush(self) -> None:
        """Forget all messages that have ended; see `Starts`."""
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
