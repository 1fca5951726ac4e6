"""The history of a job from PgQueuer's log: which of its starts have ended, and how."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pgqueuer.models import Job
from pgqueuer.queries import Queries

if TYPE_CHECKING:
    from datetime import timedelta

    from pgqueuer.models import TracebackRecord
    from pgqueuer.ports.driver import Driver
    from pgqueuer.ports.repository import EntrypointExecutionParameter
    from pgqueuer.types import JOB_STATUS, QueueEntrypoint, QueueManagerId

SUSPECT = "trio_pool: a suspect that waits"
"""The reason in the log for a job that goes back without having been started."""

OVERSTAYED = "trio_pool: overstayed"
"""The beginning of the reason in the log for a job that a process could not do."""

_MOMENT = 0.1
"""Seconds that a worker waits for more of its jobs to end before it takes the next ones, together."""

_LAST = "SELECT * FROM claimed ORDER BY priority DESC, id ASC"
"""The end of PgQueuer's statement that takes jobs."""


class History(NamedTuple):
    """How a job's starts so far have ended.

    Attributes:
      crashes: how many starts have not ended, since the last one that ended well.
      overstays: how many starts ended because the process could not do the job.
    """

    crashes: int = 0
    overstays: int = 0


_NOTHING = History()


class HistoryQueries(Queries):
    """PgQueuer's queries, which read the histories of jobs along with the jobs.

    The log contains each pick of a job, and each return with its reason. A pick that is directly
    followed by another one has crashed. Suspects go back without having been started: such a pick
    counts neither as a crash nor as an overstay.

    These queries also bound how many jobs a worker has at once. PgQueuer's own bound would cost a statement whenever
    there is no room. It would also count ended jobs until they are marked as ended, several at a time.

    Arguments:
      driver: the connections.
      jobs: how many jobs this worker may have at once.
    """

    def __init__(self, driver: Driver, jobs: int) -> None:
        super().__init__(driver)
        self._jobs = jobs
        self._histories: dict[int, History] = {}
        # The jobs that this worker has taken and that have not ended.
        self._taken: set[int] = set()
        self._has_changed = asyncio.Event()
        self._is_stopped = False
        # The extended statements that take jobs, by PgQueuer's own statements.
        self._statements: dict[str, str] = {}

    def stop(self) -> None:
        """Take no more jobs. Called in the event loop."""
        self._is_stopped = True
        self._has_changed.set()

    def history_of(self, job: int) -> History:
        """Return the history of a job that has just been taken, and forget it."""
        return self._histories.pop(job, _NOTHING)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Take jobs like the base class. A separate statement for the history would cost as much as everything else."""
        await self._wait_for_room()
        if self._is_stopped:
            return []
        query = self.qbq.build_dequeue_query(
            batch_size=min(batch_size, self._jobs - len(self._taken)),
            entrypoints=list(entrypoints),
            concurrency_limits=[0] * len(entrypoints),
            queue_manager_id=queue_manager_id,
            global_concurrency_limit=global_concurrency_limit,
            heartbeat_timeout=heartbeat_timeout,
        )
        if (sql := self._statements.get(query.sql)) is None:
            sql = self._statements[query.sql] = self._with_history(query.sql)
        rows: list[dict[str, Any]] = await self.driver.fetch(sql, *query.args)
        for row in rows:
            self._taken.add(row["id"])
            crashes, overstays = row.pop("crashes"), row.pop("overstays")
            if crashes or overstays:
                self._histories[row["id"]] = History(crashes, overstays)
        return [Job.model_validate(row) for row in rows]

    async def _wait_for_room(self) -> None:  # noqa: ASYNC910  # asyncio's
        """Wait until this worker can take a job, and then at most a moment until it can take half of its maximum."""
        while len(self._taken) >= self._jobs and not self._is_stopped:
            self._has_changed.clear()
            await self._has_changed.wait()
        if 2 * len(self._taken) > self._jobs:
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._half_done(), _MOMENT)

    async def _half_done(self) -> None:  # noqa: ASYNC910  # asyncio's
        while 2 * len(self._taken) > self._jobs and not self._is_stopped:
            self._has_changed.clear()
            await self._has_changed.wait()

    def let_go(self, job: int) -> None:
        """Record that a job has ended here."""
        self._taken.discard(job)
        self._has_changed.set()

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Mark jobs as ended, like the base class; some of them may never have been started by PgQueuer."""
        await super().log_jobs(job_status)
        for job, _, _ in job_status:
            self.let_go(job.id)

    def _with_history(self, sql: str) -> str:
        """Extend the statement, so that it also returns histories."""
        before, last, after = sql.rpartition(_LAST)
        if not last:
            raise RuntimeError("this version of PgQueuer is unknown to trio_pool.pgqueuer")
        log = self.qbq.qualified.queue_table_log
        reason = "traceback -> 'additional_context' ->> 'reason'"
        # The statement doesn't see its own insertions into the log: the current pick is not among the picks.
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
