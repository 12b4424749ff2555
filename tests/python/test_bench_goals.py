"""Our own goals, in `benches/`: each names what its row has, and is judged where it is meant for. Nothing here asserts a duration."""

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
def environment() -> Environment:
    return Environment.look()


def figures(name: str, *nanoseconds: float, voluntary: int | None = None) -> Figures:
    return Figures(name, tuple(Sample(each / 1e9 * 100, 100, voluntary, 0) for each in nanoseconds))


def test_goals_name_rows_and_contenders_that_there_are(goals: ModuleType) -> None:
    rows = {row.name: {contender.name for contender in row.contenders} for row in find_rows()}
    for name, some in goals.GOALS.items():
        for goal in some:
            assert getattr(goal, "than", getattr(goal, "peer", OURS)) in rows[name]


def test_kinds_of_goal(goals: ModuleType) -> None:
    field = {OURS: figures(OURS, 10, voluntary=200), "peer": figures("peer", 200)}

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
    assert met(goals.Switches(2)) is True
    assert met(goals.Switches(1.9)) is False


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
