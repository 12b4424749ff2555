"""The programs in `benches/`: goals name what their rows have, and runs stand side by side. Nothing here asserts a duration."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sluicegate._bench.environment import Environment
from sluicegate._bench.harness import BenchError
from sluicegate._bench.model import OURS, Figures, Sample
from sluicegate._bench.rows import find_rows

PROGRAMS = Path(__file__).parents[2] / "benches" / "python"

if not PROGRAMS.is_dir():
    pytest.skip("the benches are not part of a wheel", allow_module_level=True)


@pytest.fixture(scope="module")
def programs() -> Iterator[None]:
    sys.path.insert(0, str(PROGRAMS))
    yield
    sys.path.remove(str(PROGRAMS))


@pytest.fixture(scope="module")
def goals(programs: None) -> ModuleType:
    return importlib.import_module("goals")


@pytest.fixture(scope="module")
def keyed_memory(programs: None) -> ModuleType:
    return importlib.import_module("keyed_memory")


@pytest.fixture(scope="module")
def side_by_side(programs: None) -> ModuleType:
    return importlib.import_module("side_by_side")


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment.look()


def figures(name: str, *nanoseconds: float, voluntary: int | None = None, processors: float | None = None) -> Figures:
    seconds = [each / 1e9 * 100 for each in nanoseconds]
    return Figures(name, tuple(Sample(each, 100, voluntary, 0, processors and processors * each) for each in seconds))


def test_goals_name_rows_and_contenders_that_there_are(goals: ModuleType) -> None:
    rows = {row.name: {contender.name for contender in row.contenders} for row in find_rows()}
    for name, some in goals.GOALS.items():
        for goal in some:
            named = [getattr(goal, each) for each in ("than", "peer", "to") if hasattr(goal, each)]
            assert set(named) <= rows[name]


def test_kinds_of_goal(goals: ModuleType) -> None:
    field = {OURS: figures(OURS, 10, voluntary=200, processors=1.85), "peer": figures("peer", 200), "cheaper": figures("cheaper", 7)}

    def met(goal: Any) -> bool | None:
        verdict = goal.judge(field)
        return None if verdict is None else verdict.met

    assert met(goals.Faster("peer", 20)) is True
    assert met(goals.Faster("peer", 21)) is False
    assert met(goals.Faster("nobody", 1)) is None
    assert met(goals.ShareOf("peer", 0.05)) is True
    assert met(goals.ShareOf("peer", 0.04)) is False
    assert met(goals.Nanoseconds(10.1)) is True
    assert met(goals.Nanoseconds(9.9)) is False
    assert met(goals.Added("cheaper", 3)) is True
    assert met(goals.Added("cheaper", 2.9)) is False
    assert met(goals.Added("nobody", 1000)) is None
    assert met(goals.Switches(2)) is True
    assert met(goals.Switches(1.9)) is False
    assert met(goals.Processors(1.8)) is True
    assert met(goals.Processors(1.9)) is False
    field[OURS] = figures(OURS, 10)
    assert met(goals.Processors(1)) is None


def test_a_goal_for_another_machine_is_not_judged(goals: ModuleType, environment: Environment) -> None:
    (row,) = [row for row in find_rows() if row.name == "threads-1-1"]
    result = goals.Result(row, (figures(OURS, 10), figures("queue.Queue", 150)), {})
    for cores, met in ((1, True), (2, False)):
        (verdict,) = goals.judge(result, replace(environment, gil=True, cores=cores))
        assert verdict.met is met
    assert goals.judge(result, replace(environment, gil=False)) == []


def test_the_goals_of_a_row_as_json(goals: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "goals.json"
    assert goals.main(["--quick", "--only", "simple", "--json", str(file)]) == 0
    kept = json.loads(file.read_text())
    assert [row["name"] for row in kept["rows"]] == ["simple"]
    assert all(set(goal) == {"row", "goal", "measured", "met"} for goal in kept["goals"])
    assert f"of {len(kept['goals'])} goals met" in capsys.readouterr().out


def test_keys_are_all_asked_for_and_some_of_them_again(keyed_memory: ModuleType) -> None:
    asked: list[str] = []

    def make(keys: int) -> Any:
        assert keys == 5 * keyed_memory.KEYS

        def ask(key: str) -> bool:
            asked.append(key)
            return True

        return ask

    assert keyed_memory.measure(make, 5).nanoseconds > 0
    filled, again, last = asked[: 5 * keyed_memory.KEYS], asked[5 * keyed_memory.KEYS : -1], asked[-1]
    assert len(set(filled)) == len(filled)
    assert len(set(again)) == 5
    assert {*again, last} <= set(filled)


def test_what_a_child_says_is_what_went_wrong(keyed_memory: ModuleType) -> None:
    with pytest.raises(BenchError, match="KeyError: 'nobody'"):
        keyed_memory.in_a_child("nobody", 1)


def test_keys_are_weighed(keyed_memory: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(keyed_memory, "find_spec", lambda package: None)  # the packages take their time
    assert keyed_memory.main(["--asks", "100", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "1,000 keys" in printed
    assert "pyrate-limiter       not installed" in printed
    assert "bytes" in printed


def run_on(python: str, *, gil: bool, rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    environment = {"python": f"CPython {python}", "gil": gil, "sluicegate": "1.0", "system": "S", "machine": "m", "cores": 2, "load": 9.0}
    return {
        "environment": environment,
        "settings": {"rounds": 3, "seconds": 0.02},
        "machine": {"verdict": "busy", "spread": 0.5},
        "rows": [
            {
                "name": name,
                "contenders": [
                    {"name": who, "peer": who in {"queue.Queue", "x"}, "median_ns": ns, "range_ns": [ns / number, 2 * ns]}
                    for number, (who, ns) in enumerate(times.items(), 2)
                ],
            }
            for name, times in rows.items()
        ],
    }


def test_runs_stand_side_by_side_in_the_order_of_their_pythons(
    side_by_side: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {
        "c": run_on("3.14.7", gil=False, rows={"put-get": {OURS: 40.0, "queue.Queue": 1000.0}}),
        "b": run_on("3.14.7", gil=True, rows={"put-get": {OURS: 30.0}}),
        "a": run_on(
            "3.9.1",
            gil=True,
            rows={"put-get": {OURS: 25.0, "sluicegate without": 20.0, "queue.Queue": 1000.0, "x": 2.0}, "credit": {OURS: 1234.0}},
        ),
    }
    for name, run in runs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(run))
    files = [str(tmp_path / f"{name}.json") for name in runs]
    assert side_by_side.main(["--markdown", *files]) == 0
    caption, table = capsys.readouterr().out.split("\n\n")
    assert "3.9.1: busy (load 9.0, rounds within 50%)" in caption
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "---" not in line] == [
        ["row", "beside", "3.9.1", "3.14.7", "3.14.7t"],
        ["put-get", "queue.Queue", "25 (40x)", "30", "40 (25x)"],
        ["credit", "", "1,234", "-", "-"],
    ]
    assert side_by_side.main(["--lowest", *files]) == 0
    assert "12.5 (20x)" in capsys.readouterr().out


def test_the_slowest_calls_with_very_many_keys_are_told(programs: None, capsys: pytest.CaptureFixture[str]) -> None:
    pauses = importlib.import_module("keyed_pauses")
    assert pauses.main(["--keys", "3000", "--full", "1000", "--newcomers", "200", "--rounds", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 1 + 7
    for row in out[1:]:
        median, nearly_all, slowest = map(float, row[46:].replace("(goal: 1,000)", "").replace(",", "").split())
        assert 0 < median <= nearly_all <= slowest
