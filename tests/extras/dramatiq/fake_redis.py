"""As much of Redis as the pools' queues use themselves, in memory; and a broker that is taken for one on Redis."""

from __future__ import annotations

from typing import Any

from tests.extras.dramatiq.stub import Stub


class NoScriptError(Exception):
    """Named as that of the client."""


class FakeRedis:
    """Takes the script of `RedisStarts` for what it is."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.sets: dict[str, set[str]] = {}
        self.hashes: dict[str, dict[str, bytes]] = {}
        self.scripts = 0
        self.is_away = False

    def _check(self) -> None:
        if self.is_away:
            raise ConnectionError("away")

    def client(self) -> FakeRedis:
        return self

    def script_load(self, script: str) -> str:
        self._check()
        self.scripts += 1
        return f"script {self.scripts}"

    def execute_command(self, name: str, script: str, number: int, first: str, *others: Any) -> int:
        self._check()
        if script != f"script {self.scripts}":
            raise NoScriptError
        self.unlink(*others[: number - 1])
        self.counts[first] = self.counts.get(first, 0) + 1
        return self.counts[first]

    def decr(self, key: str) -> None:
        self._check()
        self.counts[key] -= 1

    def unlink(self, *keys: str) -> None:
        self._check()
        for key in keys:
            self.counts.pop(key, None)

    def smembers(self, key: str) -> set[bytes]:
        self._check()
        return {member.encode() for member in self.sets.get(key, ())}

    def hget(self, key: str, field: str) -> bytes | None:
        return self.hashes.get(key, {}).get(field)


class RedisBroker(Stub):
    """Known by its name. Its consumers have a bound that can be changed, as those on Redis have."""

    def __init__(self, **settings: int) -> None:
        super().__init__()
        self.client = FakeRedis()
        self.namespace = "dramatiq"
        self.broker_id = "me"
        self.maintenance_chance = 1_000
        self.heartbeat_timeout = 60_000
        vars(self).update(settings)
        self.done: list[tuple[str, str, str]] = []

    def do_nack(self, queue: str, identifier: str) -> None:
        self.done.append(("nack", queue, identifier))

    def do_requeue(self, queue: str, identifier: str) -> None:
        self.done.append(("requeue", queue, identifier))
