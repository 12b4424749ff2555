"""The bench: fair rounds, honest counts, and a table that says what is missing. Nothing here asserts a duration."""

import gc
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sluicegate import _cli
from sluicegate._bench import gates, harness, keyed, measure, select
from sluicegate._bench.environment import PEERS, Environment, find_peers
from sluicegate._bench.gates import Gate
from sluicegate._bench.harness import BenchError, Face, Stopwatch
from sluicegate._bench.measure import Settings, round_up, run_row
from sluicegate._bench.model import (
    OURS,
    Contender,
    Faster,
    Figures,
    KeyBytes,
    Nanoseconds,
    Row,
    Sample,
    ShareOf,
    Switches,
    many_cores,
    one_core,
)
from sluicegate._bench.rows import find_rows

ROWS = find_rows()


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment.look()


def figures(name: str, *nanoseconds: float, voluntary: int | None = None) -> Figures:
    return Figures(name, tuple(Sample(each / 1e9 * 100, 100, voluntary, 0) for each in nanoseconds))


# The rows.


def test_rows_have_names_of_their_own_and_begin_with_ours() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert {row.contenders[0].name for row in ROWS} == {OURS}
    for row in ROWS:
        assert len({contender.name for contender in row.contenders}) == len(row.contenders)


@pytest.mark.parametrize(
    "row, contender",
    [pytest.param(row, each, id=f"{row.name}-{each.name}") for row in ROWS for each in row.contenders],
)
def test_every_contender_does_its_work(row: Row, contender: Contender) -> None:
    if not measure.is_installed(contender):
        pytest.skip(f"{contender.needs} is not installed")
    items = 8 * row.step
    sample = contender.run(items)
    assert sample.items == items
    assert sample.seconds > 0
    assert sample.nanoseconds == pytest.approx(sample.seconds * 1e9 / items)


def test_goals_name_contenders_of_their_row(environment: Environment) -> None:
    for row in ROWS:
        all_present = {contender.name: figures(contender.name, 1.0) for contender in row.contenders}
        for goal in row.goals:
            peer = getattr(goal, "than", getattr(goal, "peer", OURS))
            assert peer in all_present


def test_rows_are_chosen_by_name_and_by_pattern() -> None:
    assert select(ROWS, None) == ROWS
    assert [row.name for row in select(ROWS, ["lifo"])] == ["lifo"]
    assert [row.name for row in select(ROWS, ["lifo", "threads-?-?"])] == ["lifo", "threads-1-1", "threads-4-4"]
    with pytest.raises(SystemExit, match="no row is called nothing"):
        select(ROWS, ["nothing"])


# How a row is run.


def fake(name: str, log: list[str], *, needs: str | None = None, error: Exception | None = None) -> Contender:
    def run(n: int) -> Sample:
        log.append(name)
        if error is not None:
            raise error
        return Sample(1.0, n, 5, 0)

    return Contender(name, run, needs)


SETTINGS = Settings(rounds=3, seconds=1.0)


def test_contenders_take_turns(environment: Environment) -> None:
    log: list[str] = []
    row = Row("r", "a row", (fake(OURS, log), fake("a", log), fake("b", log)))
    result = run_row(row, SETTINGS, environment)
    assert log == [OURS, "a", "b"] + 3 * [OURS, "a", "b"]  # calibration, then the rounds
    assert [len(each.samples) for each in result.figures] == [3, 3, 3]


def test_a_peer_that_is_missing_or_fails_is_left_out_and_told(environment: Environment) -> None:
    log: list[str] = []
    contenders = (
        fake(OURS, log),
        fake("absent", log, needs="sluicegate_no_such_package"),
        fake("broken", log, error=OSError("no luck")),
    )
    goals = (Faster("absent", 2), Nanoseconds(1e12))
    result = run_row(Row("r", "a row", contenders, goals), SETTINGS, environment)
    assert result.left_out == {"absent": "not installed", "broken": "failed: OSError: no luck"}
    assert [each.name for each in result.figures] == [OURS]
    assert [verdict.met for verdict in result.verdicts] == [True]
    assert "absent" not in log


def test_when_ours_fails_the_bench_fails(environment: Environment) -> None:
    row = Row("r", "a row", (fake(OURS, [], error=OSError("no luck")), fake("a", [])))
    with pytest.raises(OSError, match="no luck"):
        run_row(row, SETTINGS, environment)


def test_calibration_takes_as_many_items_as_fit_the_time(environment: Environment) -> None:
    asked: list[int] = []

    def run(n: int) -> Sample:
        asked.append(n)
        return Sample(n * 1e-6, n, None, None)

    row = Row("r", "a row", (Contender(OURS, run),), step=7, least=10)
    run_row(row, Settings(rounds=2, seconds=1.0), environment)
    assert asked[0] == 14
    assert asked[-2:] == [round_up(1_000_000, 7)] * 2
    assert all(n % 7 == 0 for n in asked)


def test_a_row_of_fixed_size_is_run_with_that_and_no_more_often_than_it_says(environment: Environment) -> None:
    asked: list[int] = []

    def run(n: int) -> Sample:
        asked.append(n)
        return Sample(1e-6, n, None, None)

    row = Row("r", "a row", (Contender(OURS, run),), least=100, fixed=True, rounds=2)
    result = run_row(row, Settings(rounds=5, seconds=1.0, least=0.1), environment)
    assert asked == [10, 10]
    assert len(result.figures[0].samples) == 2


# The limiters' loops.


@pytest.mark.parametrize("work", [gates.one_thread, lambda make, admits: gates.threads(make, 2, admits=admits)])
def test_a_limiter_that_answers_what_its_row_is_not_about_is_an_error(work: Any) -> None:
    with pytest.raises(BenchError, match="it refuses where it should not"):
        work(lambda: Gate(lambda: False), admits=True)(10)
    with pytest.raises(BenchError, match="it admits where it should not"):
        work(lambda: Gate(lambda: 1, lambda answer: answer == 1), admits=False)(10)


def test_a_limiter_that_runs_out_while_it_is_measured_is_an_error() -> None:
    left = iter([True] * 10 + [False] * 10)
    with pytest.raises(BenchError, match="it refuses where it should not"):
        gates.one_thread(lambda: Gate(lambda: next(left)), admits=True)(12)


def test_threads_share_the_items() -> None:
    asked: list[None] = []

    def ask() -> bool:
        asked.append(None)
        return True

    assert gates.threads(lambda: Gate(ask), 4, admits=True)(100).items == 100
    assert len(asked) == 102


def test_an_answer_that_nobody_awaited_is_an_error() -> None:
    async def acquire() -> bool:
        return True

    forgotten = acquire()
    with pytest.raises(BenchError, match="not awaited"):
        gates.check(Gate(acquire), forgotten, True)
    forgotten.close()


# The row of the many keys.


def test_keys_are_all_asked_for_and_some_of_them_again() -> None:
    asked: list[str] = []

    def make(keys: int) -> Any:
        assert keys == 5 * keyed.KEYS

        def ask(key: str) -> bool:
            asked.append(key)
            return True

        return ask

    sample = keyed.measure(make, 5)
    assert sample.items == 5
    filled, again, last = asked[: 5 * keyed.KEYS], asked[5 * keyed.KEYS : -1], asked[-1]
    assert len(set(filled)) == len(filled)
    assert len(set(again)) == 5
    assert {*again, last} <= set(filled)


def test_what_a_child_says_is_what_went_wrong() -> None:
    with pytest.raises(BenchError, match="KeyError: 'nobody'"):
        keyed.in_a_child("nobody")(1)


# The harness.


def test_an_error_in_a_thread_is_the_benchs_error() -> None:
    def broken() -> None:
        raise ValueError("no luck")

    with pytest.raises(BenchError) as raised:
        harness.run_threads([broken, lambda: None], 10)
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_hang_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LIMIT", 0.2)
    release = threading.Event()

    def wait() -> None:
        release.wait()

    try:
        with pytest.raises(BenchError, match="still running"):
            harness.run_threads([wait, lambda: None], 10)
    finally:
        release.set()
        assert gc.isenabled()


def test_items_left_over_are_an_error() -> None:
    with pytest.raises(BenchError, match="3 items left over"):
        harness.finish(Face(print, print, lambda: 3))


def test_the_collector_rests_while_the_clock_runs_and_only_then() -> None:
    with Stopwatch() as watch:
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with Stopwatch():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert watch.sample(4).items == 4


# Figures and goals.


def test_figures() -> None:
    some = figures("x", 10, 40, 20, 30, 50, voluntary=25)
    assert some.median == pytest.approx(30)
    assert some.quartiles == (pytest.approx(20), pytest.approx(40))
    assert some.voluntary_per_item == 0.25
    assert figures("x", 10).quartiles == (pytest.approx(10), pytest.approx(10))
    assert figures("x", 10).voluntary_per_item is None


def test_goals(environment: Environment) -> None:
    field = {OURS: figures(OURS, 10, voluntary=200), "peer": figures("peer", 200)}

    def met(goal: Any) -> bool | None:
        verdict = goal.judge(field, environment)
        return None if verdict is None else verdict.met

    assert met(Faster("peer", 20)) is True
    assert met(Faster("peer", 21)) is False
    assert met(Faster("nobody", 1)) is None
    assert met(ShareOf("peer", 0.05)) is True
    assert met(ShareOf("peer", 0.04)) is False
    assert met(Nanoseconds(10.1)) is True
    assert met(Nanoseconds(9.9)) is False
    assert met(Switches(2)) is True
    assert met(Switches(1.9)) is False
    assert met(KeyBytes(1)) is None
    assert {met(Faster("peer", 20, (one_core,))), met(Faster("peer", 20, (many_cores,)))} == {True, None}
    assert met(Nanoseconds(10.1, (one_core, many_cores))) is None


def test_bytes_a_key(environment: Environment) -> None:
    weighed = Figures(OURS, tuple(Sample(1.0, 10, None, None, each) for each in (90.0, 120.0, 80.0)))
    assert weighed.key_bytes == 90
    for goal, met in ((KeyBytes(90), True), (KeyBytes(89), False)):
        verdict = goal.judge({OURS: weighed}, environment)
        assert verdict is not None
        assert verdict.met is met


# The command.


@pytest.fixture
def _rich() -> None:
    pytest.importorskip("rich")


def run_command(file: Path, *rows: str) -> dict[str, Any]:
    chosen = [argument for row in rows for argument in ("--only", row)]
    assert _cli.main(["bench", "--quick", "--json", str(file), *chosen]) == 0
    return json.loads(file.read_text())


@pytest.mark.usefixtures("_rich")
def test_quick_rows_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_command(tmp_path / "bench.json", "simple", "hand-off")
    assert set(figures) == {"environment", "settings", "rows"}
    assert figures["environment"]["peers"] == find_peers()
    assert figures["environment"]["cores"] >= 1
    assert [row["name"] for row in figures["rows"]] == ["simple", "hand-off"]
    for row in figures["rows"]:
        first, peer = row["contenders"]
        assert first["name"] == OURS
        assert first["ratio"] == 1
        assert peer["ratio"] == pytest.approx(peer["median_ns"] / first["median_ns"])
        assert peer["ratio_range"][0] <= peer["ratio_range"][1]
        for contender in row["contenders"]:
            low, high = contender["range_ns"]
            assert 0 < low <= contender["quartiles_ns"][0] <= contender["median_ns"]
            assert contender["median_ns"] <= contender["quartiles_ns"][1] <= high
            assert len(contender["samples"]) == figures["settings"]["rounds"]
            assert len({sample["items"] for sample in contender["samples"]}) == 1
        assert all(set(goal) == {"goal", "measured", "met"} for goal in row["goals"])
    printed = capsys.readouterr().out
    assert "simple: put + get, one thread, SimpleQueue" in printed
    assert "goals met" in printed


@pytest.mark.usefixtures("_rich")
def test_missing_peers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(package: str) -> None:
        """Nothing is installed."""

    monkeypatch.setattr("sluicegate._bench.measure.find_spec", absent)
    monkeypatch.setattr("sluicegate._bench.environment.version_of", absent)
    figures = run_command(tmp_path / "bench.json", "loop-to-thread", "acquire-async")
    assert figures["environment"]["peers"] == {"queue": "stdlib", "asyncio": "stdlib"} | dict.fromkeys(PEERS)
    assert [row["left_out"] for row in figures["rows"]] == [
        dict.fromkeys(peers, "not installed")
        for peers in (("janus", "culsans", "aiologic"), ("aiolimiter", "pyrate-limiter", "throttled-py"))
    ]
    printed = capsys.readouterr().out
    assert f"not installed: {', '.join(PEERS)} (pip install 'sluicegate[bench]')" in " ".join(printed.split())
    assert all(f"  {peer}: not installed" in printed for row in figures["rows"] for peer in row["left_out"])


@pytest.mark.usefixtures("_rich")
def test_many_keys_are_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sluicegate._bench.measure.find_spec", lambda package: None)  # the packages take their time
    (row,) = run_command(tmp_path / "bench.json", "keyed")["rows"]
    printed = capsys.readouterr().out
    assert [contender["name"] for contender in row["contenders"]] == [OURS, "hand-written bucket"]
    for contender in row["contenders"]:
        assert len({sample["items"] for sample in contender["samples"]}) == 1
        if contender["bytes_per_key"] is not None:  # not every system tells
            assert "bytes" in printed
            assert "/key" in printed
            assert contender["bytes_per_key"] > 0


@pytest.mark.usefixtures("_rich")
def test_the_list_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["bench", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(row.name in printed for row in ROWS)


@pytest.mark.usefixtures("_rich")
def test_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "ratios.svg"
    assert _cli.main(["bench", "--quick", "--only", "simple", "--plot", str(file)]) == 0
    assert "queue.SimpleQueue" in file.read_text() or file.stat().st_size > 0
