"""Jobs that no worker may take any more, where a worker has left."""

from __future__ import annotations

from tests.core.makers import make_core, make_job
from trio_pool._core.admission import Door


def test_a_graph_in_line_whose_first_job_is_refused_goes_as_a_whole() -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    special = core.add_worker("special")
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    jobs = [make_job(requires=["special"]), make_job(requires=["special"], priority=1)]
    core.scheduler.submit_graph(jobs[0], jobs, Door.QUEUE_UP, 0.0)
    assert core.scheduler.waiting == 1
    core.scheduler.depart(special, 1.0, cut=True)
    core.cut_short(special, ValueError(), 1.0)
    core.scheduler.left(special, 1.0)
    assert core.scheduler.waiting == 0
    assert [job._state for job in jobs] == [None, None]
