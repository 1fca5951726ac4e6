"""What the log of PgQueuer knows of the starts of a job: who has ended them, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pgqueuer.models import Job
from pgqueuer.queries import Queries

if TYPE_CHECKING:
    from datetime import timedelta

    from pgqueuer.ports.driver import Driver
    from pgqueuer.ports.repository import EntrypointExecutionParameter
    from pgqueuer.types import QueueEntrypoint, QueueManagerId

SUSPECT = "trio_pool: a suspect that waits"
"""The reason of a job that goes back without having been started."""

OVERSTAYED = "trio_pool: overstayed"
"""How the reason of a job begins that a process could not do."""

_LAST = "SELECT * FROM claimed ORDER BY priority DESC, id ASC"
"""The end of PgQueuer's statement that takes jobs."""


class History(NamedTuple):
    """How a job's starts so far have ended.

    Attributes:
      crashes: starts that nobody ended, since one has ended well.
      overstays: starts after which a process could not do the job.
    """

    crashes: int = 0
    overstays: int = 0


_NOTHING = History()


class HistoryQueries(Queries):
    """PgQueuer's queries, which read the histories of jobs along with the jobs.

    Each pick of a job is in the log, and each return with its reason. A pick that is followed by
    another has crashed. Suspects go back without having been started, so they count as neither.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._histories: dict[int, History] = {}

    def history_of(self, job: int) -> History:
        """Return the history of a job that has just been taken; it is forgotten then."""
        return self._histories.pop(job, _NOTHING)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Take jobs as the base class does. A statement of its own would cost as much as all else together."""
        query = self.qbq.build_dequeue_query(
            batch_size=batch_size,
            entrypoints=list(entrypoints),
            concurrency_limits=[0] * len(entrypoints),
            queue_manager_id=queue_manager_id,
            global_concurrency_limit=global_concurrency_limit,
            heartbeat_timeout=heartbeat_timeout,
        )
        rows: list[dict[str, Any]] = await self.driver.fetch(self._with_history(query.sql), *query.args)
        for row in rows:
            crashes, overstays = row.pop("crashes"), row.pop("overstays")
            if crashes or overstays:
                self._histories[row["id"]] = History(crashes, overstays)
        return [Job.model_validate(row) for row in rows]

    def _with_history(self, sql: str) -> str:
        """Have the statement return histories as well."""
        before, last, after = sql.rpartition(_LAST)
        if not last:
            raise RuntimeError("this version of PgQueuer is unknown to trio_pool.pgqueuer")
        log = self.qbq.qualified.queue_table_log
        reason = "traceback -> 'additional_context' ->> 'reason'"
        # What the statement itself puts into the log is not seen by it: this pick is not among the picks.
        return f"""{before}
            SELECT claimed.*, history.crashes, history.overstays
            FROM claimed
            CROSS JOIN LATERAL (
                SELECT COALESCE(MAX(id), 0) AS id
                FROM {log}
                WHERE job_id = claimed.id AND status = 'queued' AND {reason} IS DISTINCT FROM '{SUSPECT}'
            ) base
            CROSS JOIN LATERAL (
                SELECT
                    COUNT(*) FILTER (WHERE id > base.id AND status = 'picked')
                        - COUNT(*) FILTER (WHERE id > base.id AND status = 'queued') AS crashes,
                    COUNT(*) FILTER (WHERE status = 'queued' AND {reason} LIKE '{OVERSTAYED}%') AS overstays
                FROM {log}
                WHERE job_id = claimed.id
            ) history
            ORDER BY claimed.priority DESC, claimed.id ASC{after}"""
