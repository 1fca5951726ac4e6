"""What the log of PgQueuer knows of the starts of a job: who has ended them, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pgqueuer.domain.settings import db_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._driver import Driver

SUSPECT = "trio_pool: a suspect that waits"
"""The reason of a job that goes back without having been started."""

OVERSTAYED = "trio_pool: overstayed"
"""How the reason of a job begins that a process could not do."""


class History(NamedTuple):
    """How a job's starts so far have ended.

    Attributes:
      crashes: starts that nobody ended, since one has ended well.
      overstays: starts after which a process could not do the job.
    """

    crashes: int = 0
    overstays: int = 0


NOTHING = History()


def _query() -> str:
    settings = db_settings()
    log = settings.qualified.queue_table_log
    reason = "traceback -> 'additional_context' ->> 'reason'"
    return f"""
        SELECT
            entry.job_id,
            COUNT(*) FILTER (WHERE entry.id > base.id AND entry.status = 'picked')
                - COUNT(*) FILTER (WHERE entry.id > base.id AND entry.status = 'queued') - 1 AS crashes,
            COUNT(*) FILTER (WHERE entry.status = 'queued' AND entry.{reason} LIKE $3) AS overstays
        FROM {log} entry
        CROSS JOIN LATERAL (
            SELECT COALESCE(MAX(id), 0) AS id
            FROM {log}
            WHERE job_id = entry.job_id AND status = 'queued' AND {reason} IS DISTINCT FROM $2
        ) base
        WHERE entry.job_id = ANY($1::bigint[])
        GROUP BY entry.job_id
    """


class LoggedHistory:
    """Reads the log in the database.

    Each pick of a job is in the log, and each return with its reason. A pick that is followed by
    another has crashed. Suspects go back without having been started, so they count as neither.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._sql = _query()

    async def of(self, ids: Iterable[int]) -> Mapping[int, History]:
        """Return the histories of jobs that have just been picked, by their identifiers."""
        rows: list[dict[str, Any]] = await self._driver.fetch(self._sql, list(ids), SUSPECT, f"{OVERSTAYED}%")
        return {row["job_id"]: History(row["crashes"], row["overstays"]) for row in rows}
