"""The bench: fair rounds, honest counts, and a table that says what is missing. Nothing here asserts a duration."""

import asyncio
import gc
import io
import json
import queue
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluicegate import _cli
from sluicegate._bench import harness, measure, select
from sluicegate._bench import summary as closing
from sluicegate._bench.environment import PEERS, Environment, find_peers
from sluicegate._bench.harness import BenchError, Face, Stopwatch
from sluicegate._bench.loops import crowds
from sluicegate._bench.loops import limiters as limiter_loops
from sluicegate._bench.loops import queues as queue_loops
from sluicegate._bench.loops.limiters import LimiterFace
from sluicegate._bench.measure import Settings, round_up, run_row
from sluicegate._bench.model import OURS, Contender, Figures, Result, Row, Sample
from sluicegate._bench.peers.queues import named
from sluicegate._bench.report import compare
from sluicegate._bench.rows import find_rows
from sluicegate._screen import Column, RichScreen, Screen, open_screen

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


def test_contenders_take_turns() -> None:
    log: list[str] = []
    row = Row("r", "a row", (fake(OURS, log), fake("a", log), fake("b", log)))
    result = run_row(row, SETTINGS)
    assert log == [OURS, "a", "b"] + 3 * [OURS, "a", "b"]  # calibration, then the rounds
    assert [len(each.samples) for each in result.figures] == [3, 3, 3]


def test_a_peer_that_is_missing_or_fails_is_left_out_and_told() -> None:
    log: list[str] = []
    contenders = (
        fake(OURS, log),
        fake("absent", log, needs="sluicegate_no_such_package"),
        fake("broken", log, error=OSError("no luck")),
    )
    result = run_row(Row("r", "a row", contenders), SETTINGS)
    assert result.left_out == {"absent": "not installed", "broken": "failed: OSError: no luck"}
    assert [each.name for each in result.figures] == [OURS]
    assert "absent" not in log


def test_when_ours_fails_the_bench_fails() -> None:
    row = Row("r", "a row", (fake(OURS, [], error=OSError("no luck")), fake("a", [])))
    with pytest.raises(OSError, match="no luck"):
        run_row(row, SETTINGS)


def test_calibration_takes_as_many_items_as_fit_the_time() -> None:
    asked: list[int] = []

    def run(n: int) -> Sample:
        asked.append(n)
        return Sample(n * 1e-6, n, None, None)

    row = Row("r", "a row", (Contender(OURS, run),), step=7, least=10)
    run_row(row, Settings(rounds=2, seconds=1.0))
    assert asked[0] == 14
    assert asked[-2:] == [round_up(1_000_000, 7)] * 2
    assert all(n % 7 == 0 for n in asked)


# The limiters' loops.


@pytest.mark.parametrize("work", [limiter_loops.one_thread, lambda make, admits: limiter_loops.threads(make, 2, admits=admits)])
def test_a_limiter_that_answers_what_its_row_is_not_about_is_an_error(work: Any) -> None:
    with pytest.raises(BenchError, match="it refuses where it should not"):
        work(lambda: LimiterFace(lambda: False), admits=True)(10)
    with pytest.raises(BenchError, match="it admits where it should not"):
        work(lambda: LimiterFace(lambda: 1, lambda answer: answer == 1), admits=False)(10)


def test_a_limiter_that_runs_out_while_it_is_measured_is_an_error() -> None:
    left = iter([True] * 10 + [False] * 10)
    with pytest.raises(BenchError, match="it refuses where it should not"):
        limiter_loops.one_thread(lambda: LimiterFace(lambda: next(left)), admits=True)(12)


def test_threads_share_the_items() -> None:
    asked: list[None] = []

    def ask() -> bool:
        asked.append(None)
        return True

    assert limiter_loops.threads(lambda: LimiterFace(ask), 4, admits=True)(100).items == 100
    assert len(asked) == 102


def test_an_answer_that_nobody_awaited_is_an_error() -> None:
    async def acquire() -> bool:
        return True

    forgotten = acquire()
    with pytest.raises(BenchError, match="not awaited"):
        limiter_loops.check(LimiterFace(acquire), forgotten, True)
    forgotten.close()


def test_keys_are_all_asked_for_before_the_clock_runs() -> None:
    asked: list[str] = []

    def make(keys: int) -> Any:
        assert keys == 5

        def ask(key: str) -> bool:
            asked.append(key)
            return True

        return ask

    assert limiter_loops.by_key(make, 5)(7).items == 7
    assert len(set(asked[:5])) == 5
    assert asked[5:] == [*asked[:5], *asked[:2], asked[0]]


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


def test_a_loop_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LIMIT", 0.2)

    async def hang() -> Sample:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(BenchError, match="the loop still runs"):
        harness.run_loop(hang())


def test_what_is_not_refused_where_it_should_be_is_an_error() -> None:
    generous = Face(lambda item: None, lambda: 1, lambda: 0)
    for statement in (queue_loops.PUT_REFUSED, queue_loops.GET_REFUSED):
        with pytest.raises(BenchError, match="it was not refused"):
            queue_loops.turns(lambda: generous, statement, error=queue.Full)(4)
    with pytest.raises(BenchError, match="it was not refused"):
        limiter_loops.refused(lambda: LimiterFace(lambda timeout: True), TimeoutError)(4)


def test_a_statement_is_run_as_often_as_there_are_items() -> None:
    held: list[int] = []
    face = Face(held.append, held.pop, lambda: len(held), item=7)
    assert queue_loops.turns(lambda: face)(5).items == 5
    taken: list[int] = []
    queue_loops.turns(lambda: face, "put(item); put(item); taken.append(get()); get()", items=2, taken=taken)(10)
    assert taken == [7] * 5
    with pytest.raises(BenchError, match="3 items left over"):
        queue_loops.turns(lambda: face, "put(item)")(3)


def test_what_a_queue_holds_beforehand_is_left_to_it() -> None:
    held = queue.SimpleQueue[int]()
    queue_loops.turns(queue_loops.holding(named(lambda: held), [1, 2, 3]))(2)
    assert [held.get_nowait() for _ in range(3)] == [3, 1, 1]


def test_those_who_were_served_come_again_at_the_end_of_the_line() -> None:
    order: list[int] = []
    line: list[asyncio.Future[None]] = []
    of: dict[asyncio.Task[Any], int] = {}

    async def wait() -> None:
        me = asyncio.current_task()
        assert me is not None
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        await turn
        order.append(of.setdefault(me, len(of)))

    sample = crowds.tasks(lambda: crowds.Crowded(wait, lambda: line.pop(0).set_result(None)), 10)(25)
    assert sample.items == 25
    assert order == [*range(10), *range(10), *range(5)]


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


# What it comes to.


def result(name: str, gain: str = "", **nanoseconds: float) -> Result:
    contenders = tuple(Contender(each, lambda n: Sample(1.0, n, None, None), peer=each != "variant") for each in nanoseconds)
    return Result(Row(name, f"the row {name}", contenders, gain=gain), tuple(figures(each, ns) for each, ns in nanoseconds.items()), {})


def test_a_gain_names_the_first_peer_and_the_fastest() -> None:
    said = "It moved {rate} items a second"
    assert closing.gain(result("r", said, sluicegate=200.0, stdlib=5400.0, other=800.0, variant=1.0)) == (
        "It moved 5 million items a second, 27 times as many as stdlib and 4 times as many as other, the fastest other here."
    )
    assert closing.gain(result("r", said, sluicegate=20_000.0, stdlib=10_000.0)) == (
        "It moved 50,000 items a second, 0.5 times as many as stdlib."
    )
    assert closing.gain(result("r", said, sluicegate=1.0, variant=1.0)) == ""
    assert closing.gain(result("r", "", sluicegate=1.0, stdlib=1.0)) == ""


def test_where_others_are_faster_is_said_by_name() -> None:
    rows = [result("a", sluicegate=100.0, p=300.0, q=101.0, variant=1.0), result("b", sluicegate=100.0, p=50.0)]
    assert list(closing.comparisons(rows)) == [
        "sluicegate was faster in 1 of 3 comparisons with others.",
        "Equally fast: a q.",
        "Faster than sluicegate: b p (takes 0.5 of our time).",
    ]
    assert list(closing.comparisons([])) == []


@pytest.mark.parametrize(
    "load, rounds, verdict",
    [
        (0.1, (100, 101, 102), "quiet"),
        (1.9, (100, 101, 102), "not quite quiet"),
        (0.1, (100, 120, 150), "not quite quiet"),
        (3.5, (100, 101, 102), "busy"),
        (0.1, (100, 200, 400), "busy"),
        (None, (100, 101, 102), "quiet"),
    ],
)
def test_the_machine_is_judged_by_its_load_and_by_the_spread(
    environment: Environment, load: float | None, rounds: tuple[int, ...], verdict: str
) -> None:
    four_cores = replace(environment, load=load, cores_of_machine=4)
    row = Row("r", "a row", (Contender(OURS, lambda n: Sample(1.0, n, None, None)),))
    results = [Result(row, (figures(OURS, *rounds),), {})]
    assert closing.Machine.judge(four_cores, results).verdict == verdict
    assert closing.machine_in_words(four_cores, results).startswith(f"The machine was {verdict}: ")
    assert (closing.warning(four_cores) == "") is (load is None or load < 1)


def test_a_comparison_says_which_is_faster() -> None:
    assert [compare(ratio) for ratio in (27.04, 1.0, 0.25, 1234.5)] == ["27x slower", "1x slower", "4x faster", "1,234x slower"]


# The command.


def run_command(file: Path, *rows: str) -> dict[str, Any]:
    chosen = [argument for row in rows for argument in ("--only", row)]
    assert _cli.main(["bench", "--quick", "--json", str(file), *chosen]) == 0
    return json.loads(file.read_text())


def test_quick_rows_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_command(tmp_path / "bench.json", "simple", "hand-off")
    assert set(figures) == {"environment", "settings", "machine", "rows"}
    assert figures["machine"]["verdict"] in {"quiet", "not quite quiet", "busy"}
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
    printed = capsys.readouterr().out
    assert "simple: put + get, one thread, SimpleQueue" in printed
    assert re.search(r"sluicegate was faster in \d of 2 comparisons with others\.", printed)
    assert "The machine was " in printed


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


def test_the_list_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["bench", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(row.name in printed for row in ROWS)


def test_the_number_of_rounds(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    assert _cli.main(["bench", "--quick", "--rounds", "5", "--only", "simple", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert [len(contender["samples"]) for contender in row["contenders"]] == [5, 5]


def test_details_say_what_a_switch_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["bench", "--quick", "--only", "hand-off"]) == 0
    assert "switches" not in capsys.readouterr().out
    assert _cli.main(["bench", "--quick", "--only", "hand-off", "--details"]) == 0
    printed = capsys.readouterr().out
    assert "switches/1000: how often a thread went to sleep" in printed
    assert "items a round" in printed


def test_the_picture_says_what_when_and_where(tmp_path: Path, environment: Environment) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "ratios.svg"
    assert _cli.main(["bench", "--quick", "--only", "simple", "--plot", str(file)]) == 0
    text = file.read_text()
    for each in ("queue.SimpleQueue", environment.sluicegate, environment.python, "the machine was", "log scale"):
        assert f"<!-- {each}" in text or each in text


@pytest.mark.parametrize("name", ["x.bmp", "picture", "no/such/folder/x.png"])
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_measuring(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(_cli.COMMANDS["bench"], "main")  # it must not come to that
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["bench", "--plot", name])
    assert exit_.value.code == 2
    assert "--plot: " in capsys.readouterr().err


# The screen.


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType]

    def isatty(self) -> bool:
        return True


COLUMNS = (Column("who"), Column("ns", right=True, width=5))
LONG = "word " * 60


def test_a_pipe_gets_plain_text_with_a_sentence_a_line() -> None:
    file = io.StringIO()
    screen = open_screen(file)
    assert type(screen) is Screen
    screen.say(LONG)
    screen.flash("soon gone")
    screen.table(COLUMNS, [("a", "1"), ("long name", "1,234")], title="row: title")
    assert file.getvalue() == (f"{LONG}\nrow: title\n  who           ns\n  ---------  -----\n  a              1\n  long name  1,234\n")


def test_a_terminal_gets_rich_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "60")
    file = Terminal()
    screen = open_screen(file)
    assert isinstance(screen, RichScreen)
    screen.say("[b]no markup[/b] " + LONG)
    screen.table(COLUMNS, [("[a]", "1")], title="row: [title]")
    assert "[b]no markup[/b]" in file.getvalue()
    assert "row: [title]" in file.getvalue()
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines())) <= 60


def test_a_terminal_without_rich_gets_plain_text_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate._screen.find_spec", lambda package: None)
    monkeypatch.setenv("COLUMNS", "60")
    file = Terminal()
    screen = open_screen(file)
    screen.say("  " + LONG)
    lines = file.getvalue().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("  word") and len(line) <= 60 for line in lines)


def test_what_the_encoding_lacks_is_replaced() -> None:
    raw = io.BytesIO()
    screen = open_screen(io.TextIOWrapper(raw, encoding="ascii"))
    screen.say("größe")
    assert not screen.draws
    assert raw.getvalue() == b"gr??e\n"
