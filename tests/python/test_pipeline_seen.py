"""What there is to see of a pipeline: statistics, descriptions, the live table, the picture."""

from __future__ import annotations

import asyncio
import html
import io
import itertools
import threading
import time

import pytest
from helpers import PATIENCE, wait_until

from sluicegate import Pipeline, Queue, produce
from sluicegate._pipeline import pictures, running
from sluicegate._pipeline.measuring import Marks
from sluicegate._pipeline.workers import bucket


def same(x):
    return x


def stages(run):
    return {stage.name: stage for stage in run.statistics().stages}


def test_counters():
    run = Pipeline(range(10), name="mill").map(str).filter(lambda s: s != "3").map(int, name="number").on_error("skip").run()
    seen = run.statistics()
    assert seen.name == "mill"
    assert seen.is_over
    assert (seen.in_flight, seen.discarded) == (0, 9)  # nobody has taken the results
    kinds = [(stage.name, stage.kind, stage.workers, stage.taken, stage.passed) for stage in seen.stages]
    assert kinds == [
        ("range", "source", 0, 10, 10),
        ("str + filter <lambda>", "map", 0, 10, 9),
        ("number", "map", 0, 9, 9),
    ]
    assert [stage.capacity for stage in seen.stages] == [None, 33, 33]
    failed = Pipeline(["1", "x"]).map(int).on_error("skip").run().statistics().stages[1]
    assert (failed.taken, failed.passed, failed.failed) == (2, 1, 1)
    assert 0 < failed.p50_seconds <= failed.p99_seconds


def test_the_time_of_a_call_that_raises_in_the_caller():
    def sink(x):
        return 1 // (x % 10)

    begun = time.monotonic()
    run = Pipeline(range(100)).for_each(sink, in_caller=True).on_error("skip").run()
    (stage,) = [stage for stage in run.statistics().stages if stage.kind == "for_each"]
    assert stage.failed == 10
    assert stage.p99_seconds <= 2 * (time.monotonic() - begun)


def test_blocked_and_starved_look_different():
    """While a stage in the middle hangs, those before it are blocked by it, and those behind it have nothing to do."""
    gate = threading.Event()

    def hang(x):
        gate.wait(PATIENCE)
        return x

    async def behind(x):
        return x

    pipeline = Pipeline(iter(range(1000))).map(same, buffer=2, name="first").map(same, buffer=2, name="second")
    pipeline = pipeline.map(hang, buffer=2).map(behind, buffer=2).for_each(same, name="last")
    with pipeline.start() as run:
        try:
            for name in ("range_iterator", "first", "second"):
                wait_until(lambda: stages(run)[name].blocked_seconds > 5 * stages(run)[name].starved_seconds + 0.001)  # noqa: B023
            for name in ("behind", "last"):
                wait_until(lambda: stages(run)[name].starved_seconds > 5 * stages(run)[name].blocked_seconds + 0.001)  # noqa: B023
            wait_until(lambda: run.statistics().bottleneck == "hang")
            wait_until(lambda: run.statistics().in_flight == 3 + 3 + 1)
            first = stages(run)["first"]
            assert first.capacity == first.in_flight == 3
            assert stages(run)["hang"].workers == 1
        finally:
            gate.set()
    assert run.statistics().in_flight == 0


def one(x):
    yield x


async def one_later(x):
    yield x


def mostly(stage):
    """Return what the workers of a stage do for more than two thirds of their time."""
    total = stage.busy_seconds + stage.starved_seconds + stage.blocked_seconds
    word = pictures.state(stage)
    return word if getattr(stage, f"{word}_seconds") > total * 2 / 3 else ""


WITH_SEVERAL_WORKERS = {
    "map": lambda p: p.map(same, workers=3, name="several"),
    "map, unordered": lambda p: p.map(same, workers=3, ordered=False, name="several"),
    "map of tasks": lambda p: p.map(fetch, workers=3, name="several"),
    "keyed_map": lambda p: p.keyed_map(same, key=lambda x: x % 7, workers=3, name="several"),
    "keyed_map of tasks": lambda p: p.keyed_map(fetch, key=lambda x: x % 7, workers=3, name="several"),
    "flat_map": lambda p: p.flat_map(one, workers=3, name="several"),
    "flat_map of tasks": lambda p: p.flat_map(one_later, workers=3, name="several"),
}


@pytest.mark.parametrize("source", ["one", "several"])
@pytest.mark.parametrize("kind", WITH_SEVERAL_WORKERS)
def test_all_workers_of_a_stage_look_blocked(kind, source):
    """Also right behind the source, which waits for room in their place, and where all but one wait for their turn."""
    gate = threading.Event()

    def hang(x):
        gate.wait(PATIENCE)
        return x

    numbers = itertools.count() if source == "one" else produce(itertools.count, threads=2)
    pipeline = WITH_SEVERAL_WORKERS[kind](Pipeline(numbers)).map(hang, name="hang")
    with WITH_SEVERAL_WORKERS[kind](pipeline.map(same, name="between")).start() as run:
        try:
            wait_until(lambda: run.statistics().stages[1].blocked_seconds > 0.1)
            wait_until(lambda: mostly(run.statistics().stages[1]) == "blocked")
            wait_until(lambda: mostly(run.statistics().stages[-1]) == "starved")
            wait_until(lambda: run.statistics().bottleneck == "hang")
        finally:
            gate.set()
            run.kill()


def test_workers_that_wait_for_their_turn_are_as_busy_as_the_one_that_has_it():
    def slowly(x):
        for _ in range(3):
            time.sleep(0.003)
            yield x

    run = Pipeline(range(50)).flat_map(slowly, workers=3).for_each(same).run()
    stage = stages(run)["slowly"]
    assert stage.busy > 0.6  # it would be a third, if those that wait looked blocked
    assert run.statistics().bottleneck == "slowly"


def test_a_slow_source_is_the_bottleneck():
    def slowly():
        for number in range(20):
            time.sleep(0.005)  # in all longer than the others are ever kept from running
            yield number

    run = Pipeline(slowly()).map(same).for_each(same).run()
    assert run.statistics().bottleneck == "slowly"


def test_a_source_that_ends_at_once_is_not_the_bottleneck():
    """Such a source was busy for all of its time, but its time was short."""

    def slow(x):
        time.sleep(0.01)
        return x

    for source in (range(20), iter(range(20))):
        run = Pipeline(source).map(slow).for_each(same).run()
        assert run.statistics().bottleneck == "slow"


def test_a_kill_is_counted():
    with Pipeline(iter(range(1000))).map(str, buffer=10).start() as run:
        next(run)
        wait_until(lambda: run.statistics().in_flight == 11)
    seen = run.statistics()
    assert seen.discarded in (10, 11)  # one may have been on its way from the source
    assert seen.in_flight == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("where", ["buffer", "broadcast", "on_drop", "conflate"])
def test_what_a_policy_drops_is_counted(where, overflow):
    gate, discarded, dropped, seen = threading.Event(), [], [], []

    def sink(x):
        gate.wait(PATIENCE)
        seen.append(x)

    pipeline = Pipeline(range(100)).map(same, name="first")
    if where == "broadcast":
        pipeline = pipeline.broadcast(lambda p: p.for_each(sink, buffer=0), overflow=overflow, buffer=5, name="first")
    elif where == "conflate":
        pipeline = pipeline.conflate(key=lambda x: x % 3).for_each(sink, buffer=0)
    else:
        on_drop = (lambda item, reason: dropped.append(item)) if where == "on_drop" else None
        pipeline = pipeline.buffer(5, overflow=overflow, on_drop=on_drop).for_each(sink, buffer=0)
    with pipeline.start(on_discard=lambda item, stage: discarded.append((item, stage))) as run:
        wait_until(lambda: run.statistics().stages[-2].taken == 100 and run.statistics().stages[-2].passed >= 100)
        gate.set()
    last = run.statistics().stages[-2]
    lost = 100 - len(seen)
    assert lost > 80
    assert last.dropped == lost
    assert run.statistics().discarded == len(discarded) == (0 if where == "on_drop" else lost)
    assert {stage for _, stage in discarded} <= {"first"}
    assert len(dropped) == (lost if where == "on_drop" else 0)
    if where != "on_drop":
        assert sorted([item for item, _ in discarded] + seen) == list(range(100))


def test_the_latency_is_that_of_late():
    marks = Marks(100.0, 2)
    assert marks.latency(110.0, [1000, 1000], [50, 0]) == pytest.approx(0.5)  # 100 items a second since the beginning
    assert marks.latency(112.0, [1010, 1010], [50, 0]) == pytest.approx(10.0)  # 5 a second since the snapshot before
    for tenth in range(1, 31):  # 1,000 a second in the first stage, 500 in the second
        latency = marks.latency(112.0 + tenth / 10, [1010 + 100 * tenth, 1010 + 50 * tenth], [50, 10])
    assert latency == pytest.approx(0.05 + 0.02)
    assert len(marks.marks) < 12
    assert marks.latency(125.0, [4010, 2510], [50, 10]) >= 10 * (50 + 10)  # nothing goes on
    assert marks.latency(125.0, [4010, 2510], [0, 0]) == 0.0


def test_the_latency_of_lists():
    """What `batch` holds is counted in items, and so is what it passes on."""
    gate = threading.Event()
    with Pipeline(range(1000)).map(same, buffer=0).batch(10, buffer=1).for_each(lambda _: gate.wait(PATIENCE), buffer=0).start() as run:
        wait_until(lambda: run.statistics().in_flight >= 30)
        run._run.marks = Marks(run._run.started, len(run._run.graph.nodes))
        seen = run.statistics()
        batch = stages(run)["batch(10)"]
        assert seen.latency_seconds <= seen.elapsed_seconds * (batch.in_flight / batch.taken + 3)
        gate.set()


def test_times_are_within_a_fifth():
    assert len({bucket(seconds) for seconds in (1.0, 1.3, 1.6, 1.9, 2.1)}) == 5
    assert bucket(1.0) == bucket(1.05)
    assert bucket(0.0) <= bucket(1e-9) < bucket(1e-6)


async def fetch(x):
    return x


DESCRIBED = (
    Pipeline([1], name="mill").filter(bool).map(fetch, workers=4, buffer=6).batch(10).sample(len).merge(Pipeline("ab")).for_each(print)
)


def test_describe():
    assert (
        Pipeline([1], name="mill").filter(bool).map(fetch, workers=4, buffer=6).batch(10).for_each(print, buffer=0).describe()
        == """\
pipeline 'mill'
  list: 1 thread; as the next stage has room to filter bool + fetch
  filter bool + fetch: 4 tasks, in order; at most 10 to batch(10)
  batch(10): 1 thread; at most 30 to print
  print: 1 thread
at most 40 items on the way"""
    )
    assert (
        Pipeline("ab").buffer(5, overflow="drop_oldest").describe().splitlines()[1] == "  str: 1 thread; at most 5 (drop_oldest) to results"
    )
    conflated = Pipeline("ab").map(str).conflate(key=str, buffer=5).map(len).describe()
    assert "  str: 1 thread; at most 5 (one of each key) to len\n" in conflated
    mermaid, dot = DESCRIBED.describe("mermaid"), DESCRIBED.describe("dot")
    assert mermaid.startswith("flowchart LR\n")
    assert '(["list<br>1 thread"])' in mermaid
    assert dot.startswith("digraph {\n")
    assert dot.endswith("}")
    assert dot.count("->") == mermaid.count("-->") >= 6
    with pytest.raises(ValueError, match="'format'"):
        DESCRIBED.describe("svg")


def test_names_in_graphs():
    """They are shown as they are: none is a tag, a string's end or an escape."""
    text = Pipeline([1]).map(str, name="c:\\new").describe("dot")
    assert 'label="c:\\\\new\\n1 thread"' in text
    described = Pipeline(x for x in [1]).map(lambda x: x).map(str, name='a "b" #1').map(str, name="`c`\nd")
    text = described.describe("mermaid")
    for label in ("#lt;genexpr#gt;", "#lt;lambda#gt;", "a #quot;b#quot; #35;1", "#96;c#96;<br>d"):
        assert f'["{label}<br>1 thread"]' in text
    text = described.describe("dot")
    for label in ("<genexpr>", "<lambda>", r"a \"b\" #1", r"`c`\nd"):
        assert rf'[label="{label}\n1 thread"];' in text


def test_records_of_a_run_that_is_slow_to_start(monkeypatch):
    start = running.Run.start
    monkeypatch.setattr(running.Run, "start", lambda run, loop: (time.sleep(0.02), start(run, loop)))
    with Pipeline(Queue()).map(str).start(record=0.004) as run:
        wait_until(lambda: len(run._run.records) >= 10)
        times = [each.elapsed_seconds for each in run._run.records]
    assert times == sorted(times)


def test_records_of_a_long_run_become_fewer(monkeypatch):
    monkeypatch.setattr(pictures, "_MOST", 8)
    with Pipeline(Queue()).map(str).start(record=0.001) as run:
        lengths = [0]

        def is_thinned_twice():
            if lengths[-1] != len(run._run.records):
                lengths.append(len(run._run.records))
            return sum(after < before for before, after in itertools.pairwise(lengths)) == 2

        wait_until(is_thinned_twice)
        assert max(lengths) <= 8
        times = [each.elapsed_seconds for each in run._run.records]
    assert times == sorted(times)
    assert times[-1] > times[0]


def test_progress(monkeypatch):
    rich = pytest.importorskip("rich.console")
    import rich as package

    console = rich.Console(file=io.StringIO(), force_terminal=True, width=200)
    monkeypatch.setattr(package, "_console", console)
    Pipeline(range(50), name="mill").map(str).for_each(len).run(progress=True)
    shown = console.file.getvalue()
    assert "pipeline mill" in shown
    assert "bottleneck" in shown
    assert "starved" in shown

    async def main():
        await Pipeline(range(50)).map(fetch, name="fetching").for_each(same).run_async(progress=True)

    asyncio.run(main())
    assert "fetching" in console.file.getvalue()


def test_progress_in_a_file_of_80_columns(monkeypatch):
    rich = pytest.importorskip("rich.console")
    import rich as package

    console = rich.Console(file=io.StringIO(), force_terminal=False, width=80)
    monkeypatch.setattr(package, "_console", console)
    Pipeline(range(50), name="mill").map(str, name="parse + filter new").for_each(len).run(progress=True)
    shown = console.file.getvalue()
    assert shown.count("pipeline mill") == 1
    assert "parse + filter new" in shown
    assert "starved" in shown
    assert "p99" not in shown
    assert shown.endswith("\n")


def test_progress_of_names_that_look_like_styles(monkeypatch):
    rich = pytest.importorskip("rich.console")
    import rich as package

    console = rich.Console(file=io.StringIO(), force_terminal=False, width=120)
    monkeypatch.setattr(package, "_console", console)
    Pipeline(range(50), name="orders[eu]").map(str, name="to [red]").for_each(len, name="of [/b]").run(progress=True)
    shown = console.file.getvalue()
    for name in ("pipeline orders[eu]", "to [red]", "of [/b]"):
        assert name in shown


def test_the_statistics_as_text():
    """`print` shows a line for each stage; `repr` is that of the other statistics."""
    with pytest.raises(ZeroDivisionError), Pipeline(range(6), name="mill").map(str).map(lambda x: 1 // (5 - int(x))).start() as run:
        list(run)
    seen = run.statistics()
    lines = str(seen).splitlines()
    assert lines[0].startswith("pipeline mill: 0.")
    assert lines[0].endswith(f"; the bottleneck is {seen.bottleneck}")
    assert [line.split()[0] for line in lines[1:]] == ["stage", "range", "str", "<lambda>"]
    assert lines[1].split()[1:6] == ["workers", "in", "out", "failed", "held"]
    assert lines[4].split()[1:5] == ["0", "6", "5", "1"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert repr(seen).startswith("PipelineStatistics(name='mill', ")
    with Pipeline(range(6)).map(str).buffer(1, overflow="drop_newest").start() as run:
        wait_until(lambda: run.statistics().stages[1].taken == 6)
        wait_until(lambda: run.statistics().stages[1].dropped == 5)
        assert "dropped" in str(run.statistics())


@pytest.mark.parametrize("name", ["_private", "5 $ or \\\\$", "$\\frac{$", "<lambda>"])
def test_plot_of_names_that_look_like_something_else(tmp_path, name):
    """A `$` begins a formula in matplotlib, and its legends leave out what begins with `_`."""
    pytest.importorskip("matplotlib")
    import matplotlib as mpl

    with Pipeline(Queue(), name=name).map(str, name=name).start(record=0.001) as run:
        wait_until(lambda: run._run.records)
    with mpl.rc_context({"svg.fonttype": "none"}):
        run.plot(tmp_path / "run.svg")
    shown = html.unescape((tmp_path / "run.svg").read_text())
    assert shown.count(f">{name}<") + shown.count(f"> {name}<") >= 2


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    q = Queue()
    with Pipeline(q, name="mill").map(str).for_each(len).start(record=0.001) as run:
        q.put_many(range(100))
        wait_until(lambda: len(run._run.records) > 3)
        q.shutdown()
    run.plot(tmp_path / "run.svg")
    assert "blocked" in (tmp_path / "run.svg").read_text()
    Pipeline([1]).run().plot(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "pipeline record"])
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="record"):
            Pipeline([1]).run(record=wrong)
