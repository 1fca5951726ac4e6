"""The benchmarks calculate, judge and report as they say; what they measure is another matter."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import attrs
import pytest

# Behind everything else, so that what is tested is the library that is installed.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from typing import TYPE_CHECKING, Any

from benchmarks import ending, instructions, joined, programs
from benchmarks.catalogue import CATALOGUE, against
from benchmarks.command import main
from benchmarks.features import FEATURES
from benchmarks.growth import Counted
from benchmarks.measure import CallCounter, Figure, NotMeasured, Stopwatch, in_turn, ratio
from benchmarks.rows import FULL, QUICK, Measured, Row, Scale, Unit, failures, table
from benchmarks.waiting import HELD, KINDS, subsets
from tests.platforms import runs_shell_scripts

if TYPE_CHECKING:
    from collections.abc import Callable


def row(
    figure: float, bound: float | None, *, aim: float | None = None, counts: bool = False, unit: Unit = "times"
) -> Row:
    return Row(
        name=f"row-{figure:g}",
        what="a figure of {rounds} rounds",
        measure=lambda scale: Figure((figure,) * scale.rounds),
        bound=bound,
        aim=aim,
        counts=counts,
        unit=unit,
    )


def measured(figure: float, bound: float | None, *, aim: float | None = None, counts: bool = False) -> Measured:
    return Measured(row(figure, bound, aim=aim, counts=counts), Figure((figure,)), FULL)


# The arithmetic


def test_a_figure_is_the_median_of_its_rounds_and_its_spread_their_quartiles() -> None:
    figure = Figure((5.0, 1.0, 2.0, 4.0, 3.0))
    assert figure.median == 3.0
    assert figure.spread == (2.0, 4.0)


def test_a_figure_of_one_round_has_no_spread() -> None:
    assert Figure((1.5,)).spread == (1.5, 1.5)


def test_a_ratio_pairs_what_was_measured_in_the_same_round() -> None:
    # The second round was slow for both; the medians of each alone would give 2.5.
    figure = ratio([(2.0, 1.0), (30.0, 10.0), (5.0, 2.0)])
    assert figure.values == (2.0, 3.0, 2.5)
    assert figure.median == 2.5
    assert figure.pairs == ((2.0, 1.0), (30.0, 10.0), (5.0, 2.0))


def test_a_ratio_to_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to compare with"):
        ratio([(1.0, 0.0)])


def test_two_programs_run_in_turn_and_who_is_first_alternates() -> None:
    order: list[str] = []

    def program(name: str, cost: float) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            return cost

        return run

    figure = in_turn(program("pool", 3.0), program("peer", 2.0), 3)
    assert order == ["pool", "peer", "peer", "pool", "pool", "peer"]
    assert figure.values == (1.5, 1.5, 1.5)


def test_garbage_is_collected_before_each_program_and_the_collector_stays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[None] = []
    monkeypatch.setattr("benchmarks.measure.gc.collect", lambda: collections.append(None))

    def cost() -> float:
        assert gc.isenabled()
        return 1.0

    in_turn(cost, cost, 2)
    assert len(collections) == 4


def test_a_stopwatch_measures_its_block_alone() -> None:
    times = iter([10.0, 12.5])
    with Stopwatch(lambda: next(times)) as watch:
        pass
    assert watch.cost == 2.5


def test_a_call_counter_counts_calls_of_python_and_of_c() -> None:
    def call(times: int) -> float:
        with CallCounter() as counter:
            for _ in range(times):
                max(0, int_of())
        return counter.cost

    def int_of() -> int:
        return 1

    # Leaving the block is a call too.
    assert call(30) - call(10) == 20 * 2


def test_a_counted_priority_counts_each_comparison_and_compares_as_a_number() -> None:
    before = Counted.comparisons
    one, two = Counted(1), Counted(2)
    assert [one < two, one <= two, one > two, one >= two, one == two] == [True, True, False, False, False]
    assert Counted.comparisons == before + 5
    assert hash(one) == hash(1.0)


def test_there_are_enough_different_sets_to_bounce_off() -> None:
    sets = list(subsets(range(HELD)))
    assert len(set(sets)) == len(sets) >= KINDS
    assert () not in sets
    assert tuple(range(HELD)) not in sets


def test_a_program_that_loses_results_is_not_measured() -> None:
    async def lose(fn: object, items: range, workers: int) -> list[int]:
        return list(items)[1:]

    with pytest.raises(RuntimeError, match="lose has lost or made up results"):
        programs.whole(lose, 3)()


# The verdicts


@pytest.mark.parametrize(
    ("figure", "bound", "aim", "verdict"),
    [
        (2.0, 2.0, None, "met"),
        (2.001, 2.0, None, "NOT MET"),
        (1.5, 2.0, 1.4, "met"),
        (1.4, 2.0, 1.4, "met, and the aim"),
        (2.1, 2.0, 1.4, "NOT MET"),
        (0.0, 0, None, "met"),
        (9.0, None, None, "-"),
    ],
)
def test_a_row_is_met_up_to_its_bound(figure: float, bound: float | None, aim: float | None, verdict: str) -> None:
    each = measured(figure, bound, aim=aim)
    assert each.verdict == verdict
    assert each.met == (verdict != "NOT MET")


def test_a_full_run_fails_on_all_rows_that_are_not_met_and_a_quick_one_on_counts_alone() -> None:
    rows = [
        measured(2, 1),
        measured(3, 1, counts=True),
        measured(0.5, 1),
        measured(0.25, 1, counts=True),
        measured(9, None),
    ]
    assert failures(rows, quick=False) == ["row-2", "row-3"]
    assert failures(rows, quick=True) == ["row-3"]


def test_the_table_says_what_the_figure_what_to_reach_and_whether_it_is_met() -> None:
    rows = [
        Measured(row(1.234, 2.0, aim=1.4), Figure((1.0, 1.234, 1.5)), FULL),
        Measured(row(6_054, 600, unit="bytes"), Figure((6_054,)), FULL),
    ]
    assert table(rows).splitlines() == [
        "what                             figure  spread          to reach     met or not",
        "-------------------------------  ------  --------------  -----------  ----------------",
        "row-1.234: a figure of 7 rounds  1.24    1.12 to 1.37    2 (aim 1.4)  met, and the aim",
        "row-6054: a figure of 7 rounds   6,054   6,054 to 6,054  600 bytes    NOT MET",
    ]


def test_a_figure_just_beyond_its_bound_is_not_printed_as_the_bound() -> None:
    assert "  2.01  " in table([measured(2.001, 2.0)])
    assert "  2.00  " in table([measured(2.0, 2.0)])


# The command


def run(folder: Path, *arguments: str, rows: list[Row]) -> int:
    return main([*arguments, "--output", str(folder)], rows)


@pytest.fixture(autouse=True)
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in all environments: that of the tests has no matplotlib, others may."""
    monkeypatch.delitem(sys.modules, "benchmarks.chart", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize(
    ("rows", "full", "quick"),
    [
        ([row(1, 2), row(3, 4, counts=True)], 0, 0),
        ([row(2, 1), row(3, 4, counts=True)], 1, 0),
        ([row(1, 2), row(4, 3, counts=True)], 1, 1),
        ([row(9, None)], 0, 0),
    ],
)
def test_it_exits_with_1_where_something_is_not_met(tmp_path: Path, rows: list[Row], full: int, quick: int) -> None:
    assert run(tmp_path, rows=rows) == full
    assert run(tmp_path, "--quick", rows=rows) == quick


def test_it_prints_the_table_and_writes_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "new" / "folder", "--rounds", "2", rows=[row(3, 1)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2:] == [
        "row-3: a figure of 2 rounds  3.00    3.00 to 3.00  1         NOT MET",
        "Not met: row-3",
    ]
    assert "[1/1] row-3" in printed.err
    assert "There is no chart" in printed.err
    data = json.loads((tmp_path / "new" / "folder" / "benchmarks.json").read_text(encoding="utf-8"))
    assert data["rounds"] == 2
    assert data["quick"] is False
    assert data["surroundings"]["packages"]["trio"]
    assert data["left_out"] == {}
    assert data["rows"] == [
        {
            "name": "row-3",
            "what": "a figure of 2 rounds",
            "unit": "times",
            "figure": 3,
            "spread": [3, 3],
            "to_reach": 1,
            "aim": None,
            "met": False,
            "counts": False,
            "values": [3, 3],
            "pairs": [],
        }
    ]


def test_a_row_that_cannot_be_measured_is_left_out_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(scale: Scale) -> Figure:
        raise NotMeasured("there is no scale")

    left_out = Row(name="weight", what="the weight", measure=refuse, bound=1, counts=True)
    assert run(tmp_path, "--rounds", "1", rows=[left_out, row(1, 2)]) == 0
    printed = capsys.readouterr()
    assert "[1/2] weight ... left out: there is no scale\n" in printed.err
    assert "weight" not in printed.out
    assert "row-1" in printed.out
    data = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert data["left_out"] == {"weight": "there is no scale"}
    assert [each["name"] for each in data["rows"]] == ["row-1"]


def test_only_measures_what_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--only", "row-1", "row-2", rows=[row(1, 2), row(2, 2), row(3, 2)]) == 0
    out = capsys.readouterr().out
    assert "row-1" in out
    assert "row-2" in out
    assert "row-3" not in out


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--rounds", "0"], ["--rounds", "few"]])
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as info:
        run(tmp_path, *arguments, rows=[row(1, 2)])
    assert info.value.code == 2


# Several Pythons


def results(folder: Path, python: str, *rows: Row, arguments: tuple[str, ...] = ()) -> Path:
    """Where the results of a Python are."""
    run(folder, "--rounds", "1", *arguments, rows=list(rows))
    file = folder / "benchmarks.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["surroundings"] = {
        "processor": "Abacus",
        "processors": 2,
        "system": "Linux wood",
        "python": f"CPython {python}",
        "packages": {"trio": "0.35.0", "tenacity": None},
    }
    file.write_text(json.dumps(data), encoding="utf-8")
    return folder


def named(name: str, figure: float, bound: float | None, **options: Any) -> Row:
    return attrs.evolve(row(figure, bound, **options), name=name)


def test_the_results_of_several_pythons_are_joined_into_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(scale: Scale) -> Figure:
        raise NotMeasured("there is no scale")

    def rows(submit: float, memory: float) -> list[Row]:
        return [
            named("submit", submit, 2.0, aim=1.4),
            named("memory", memory, 600, unit="bytes"),
            named("limiter", 9.0, None),
        ]

    old = results(tmp_path / "old", "3.9.20", *rows(1.39, 6_000))
    weight = attrs.evolve(named("weight", 1, 1), measure=refuse)
    new = results(tmp_path / "new", "3.10.1", *rows(1.4, 600), weight)
    newest = results(tmp_path / "newest", "3.11.0rc1", *rows(1.3, 500), named("weight", 1, 1))
    capsys.readouterr()
    assert main(["--join", *map(str, [old, new, newest]), "--output", str(tmp_path / "docs" / "here")]) == 1
    table = [
        "what                           3.9    3.10  3.11  to reach     met or not",
        "-----------------------------  -----  ----  ----  -----------  ----------------",
        "submit: a figure of 1 rounds   1.39   1.40  1.30  2 (aim 1.4)  met, and the aim",
        "memory: a figure of 1 rounds   6,000  600   500   600 bytes    NOT MET on 3.9",
        "limiter: a figure of 1 rounds  9.00   9.00  9.00  -            -",
        "weight: a figure of 1 rounds   -      -     1.00  1            met",
        "",
        "Abacus, 2 processors, Linux wood; rounds: 1",
        "CPython 3.9.20: trio 0.35.0",
        "CPython 3.10.1: trio 0.35.0",
        "Left out with 3.10: weight, as there is no scale",
        "CPython 3.11.0rc1: trio 0.35.0",
    ]
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [*table, "Not met: memory"]
    assert "There is no chart" in printed.err
    assert (tmp_path / "docs" / "here" / "table.txt").read_text(encoding="utf-8").splitlines() == table


@pytest.mark.parametrize(
    ("figures", "bound", "aim", "verdict"),
    [
        ([1.0, 2.0], 2.0, None, "met"),
        ([1.0, 1.5], 2.0, 1.0, "met"),
        ([1.0, 0.9], 2.0, 1.0, "met, and the aim"),
        ([1.0, 2.1], 2.0, 1.0, "NOT MET on 3.11"),
        ([2.1, 2.2], 2.0, 1.0, "NOT MET"),
        ([9.0, 9.0], None, None, "-"),
    ],
)
def test_a_joined_row_is_met_if_it_is_met_on_each_python(
    tmp_path: Path, figures: list[float], bound: float | None, aim: float | None, verdict: str
) -> None:
    folders = [
        results(tmp_path / python, f"{python}.0", named("it", figure, bound, aim=aim))
        for python, figure in zip(("3.10", "3.11"), figures, strict=True)
    ]
    runs = joined.load(folders)
    assert joined.verdict(joined.by_row(runs)["it"]) == verdict
    assert joined.failures(runs) == (["it"] if "NOT" in verdict else [])


def test_joined_quick_runs_fail_on_counts_alone(tmp_path: Path) -> None:
    rows = [named("time", 2, 1), named("count", 2, 1, counts=True)]
    folder = results(tmp_path, "3.13.0", *rows, arguments=("--quick",))
    assert joined.failures(joined.load([folder])) == ["count"]
    assert "a quick run; rounds: 1" in joined.surroundings(joined.load([folder]))


@pytest.mark.parametrize("arguments", [("--quick",), ("--rounds", "2")])
def test_runs_that_were_not_measured_alike_are_not_joined(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folders = [
        results(tmp_path / "one", "3.12.0", row(1, 2)),
        results(tmp_path / "other", "3.13.0", row(1, 2), arguments=arguments),
    ]
    with pytest.raises(ValueError, match="not measured alike"):
        joined.load(folders)


# What is measured


def test_a_full_run_has_at_least_seven_rounds_and_each_row_a_name_of_its_own() -> None:
    assert FULL.rounds >= 7
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE)


def test_all_counts_can_be_measured_without_the_peers() -> None:
    # Those of instructions start processes under valgrind.
    counts = [each for each in CATALOGUE if each.counts and each.name != "instructions"]
    assert {each.name for each in counts} >= {"memory", "memory-history", "backoff-tasks", "comparisons"}
    tiny = Scale(
        rounds=1,
        few_queued=10,
        some_queued=20,
        few_compared=50,
        many_compared=2500,
        remembered=50,
        counted=20,
        delayed=20,
    )
    for each in counts:
        assert len(each.measure(tiny).values) == 1


def test_calls_from_many_tasks_can_be_measured() -> None:
    # A program that loses results raises.
    measure = against("limited_callers", programs.run_from_tasks)
    assert len(measure(Scale(rounds=1, jobs=programs.CALLERS + 1)).values) == 1


def test_each_dead_job_is_measured_against_one_that_succeeds() -> None:
    assert len(ending.dead_jobs(Scale(rounds=1, jobs=ending.BLOCK)).pairs) == 1
    with pytest.raises(RuntimeError, match=f"{ending.BLOCK} jobs are dead, and not 0"):
        ending.leave(ending.fail, 0, 1)()


@pytest.fixture
def valgrind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a valgrind, which is still to be written; the processes that it counts do nothing."""

    def process(peer: str, few: int, many: int) -> list[str]:
        return ["true", peer, str(few), str(many)]

    monkeypatch.setattr("benchmarks.instructions.CALLGRIND", (str(tmp_path / "valgrind"), "--count"))
    monkeypatch.setattr("benchmarks.instructions.process", process)
    return tmp_path / "valgrind"


def write_program(file: Path, *lines: str) -> None:
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    file.chmod(0o755)


@runs_shell_scripts
def test_instructions_are_those_of_more_jobs_alone(valgrind: Path) -> None:
    # Each process has 1,000 behind it. A job of the pool takes 30, one of the peer 20.
    counts = "$((1000 + 30 * $4)) $((1000 + 30 * $5)) $((1000 + 20 * $4)) $((1000 + 20 * $5)) 1000"
    write_program(valgrind, f'for each in {counts}; do echo "==1== Collected : $each" >&2; done')
    assert instructions.against("bare", Scale(rounds=1, counted=50)).pairs == ((30.0, 20.0),)


@runs_shell_scripts
def test_instructions_that_were_not_counted_are_an_error(valgrind: Path) -> None:
    write_program(valgrind, "echo nothing >&2")
    with pytest.raises(RuntimeError, match="has not counted five processes: nothing"):
        instructions.against("bare", Scale(rounds=1, counted=50))


def test_instructions_are_left_out_where_there_is_no_valgrind(valgrind: Path) -> None:
    with pytest.raises(NotMeasured, match="valgrind is not installed"):
        instructions.against("bare", Scale(rounds=1, counted=50))


@pytest.mark.parametrize("row", FEATURES, ids=lambda row: row.name)
def test_each_feature_can_be_measured(row: Row) -> None:
    # A program that loses results raises, and so does a ratio to nothing.
    assert len(row.measure(Scale(rounds=1, jobs=50)).values) == 1


def test_the_features_are_measured_instead_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--features", "--quick", "--rounds", "1", "--only", "itself", "--output", str(tmp_path)]
    assert main(arguments, [row(1, 2)]) == 0
    assert "itself: submit, join and result against itself" in capsys.readouterr().out


def test_no_task_is_used_for_jobs_that_back_off() -> None:
    (backing_off,) = (each for each in CATALOGUE if each.name == "backoff-tasks")
    assert backing_off.measure(QUICK).values == (0,)
