"""Pipelines that part and come together, keys, errors that do not stop, and what changes a run while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
import threading
import time
from collections import defaultdict

import pytest
from helpers import PATIENCE, collect, run_script, spawn, wait_until

from sluicegate import DeadLetter, Full, Killed, Pipeline, Queue, ShutDown

# --- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "tasks"])
@pytest.mark.parametrize("buffer", [0, 20])
def test_order_per_key(kind, buffer):
    chance = random.Random(2)
    times = [chance.choice([0, 0, 0.001, 0.002]) for _ in range(200)]
    running, most, lock = defaultdict(int), [0], threading.Lock()

    def enter(x):
        with lock:
            running[x % 7] += 1
            assert running[x % 7] == 1, "two of one key at once"
            most[0] = max(most[0], sum(running.values()))

    def leave(x):
        with lock:
            running[x % 7] -= 1
        return x

    def work(x):
        enter(x)
        time.sleep(times[x])
        return leave(x)

    async def work_async(x):
        enter(x)
        await asyncio.sleep(times[x])
        return leave(x)

    got = defaultdict(list)
    f = work if kind == "threads" else work_async
    for x in Pipeline(range(200)).keyed_map(f, key=lambda x: x % 7, workers=4, buffer=buffer):
        got[x % 7].append(x)
    assert got == {key: list(range(key, 200, 7)) for key in range(7)}
    assert 2 <= most[0] <= 4


def test_a_slow_key_does_not_hold_up_others():
    gate = threading.Event()

    def f(x):
        if x == 0:
            gate.wait(PATIENCE)
        return x

    with Pipeline(range(60)).keyed_map(f, key=lambda x: x % 2, workers=2, buffer=40).start() as run:
        assert [next(run) for _ in range(10)] == list(range(1, 20, 2))
        gate.set()
        assert sorted(run) == sorted([*range(0, 60, 2), *range(21, 60, 2)])


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("buffer", [0, 100])
def test_order_per_key_of_short_calls(workers, buffer):
    """A worker takes several items at once then, and each item whose key or call raises is accounted for."""

    def key(x):
        return 0 // (x % 101) or x % 13

    def f(x):
        return 0 // (x % 103) or x

    told, got = [], defaultdict(list)
    pipeline = Pipeline(range(5000)).keyed_map(f, key=key, workers=workers, buffer=buffer)
    for x in pipeline.on_error(lambda item, error: told.append(item)):
        got[x % 13].append(x)
    bad = {x for x in range(5000) if not x % 101 or not x % 103}
    assert sorted(told) == sorted(bad)
    assert got == {k: [x for x in range(k, 5000, 13) if x not in bad] for k in range(13)}


@pytest.mark.parametrize(("workers", "buffer"), [(1, 0), (1, 40), (3, 40)])
def test_a_key_that_raises_among_others(workers, buffer):
    """What has been taken before is worked on, and everything else is discarded with notice."""

    def key(x):
        return 0 // (x - 700) or x % 7

    got, discarded = [], []
    pipeline = Pipeline(iter(range(10000))).keyed_map(lambda x: x, key=key, workers=workers, buffer=buffer).for_each(got.append)
    with pytest.raises(ZeroDivisionError) as failed:
        pipeline.run(on_discard=lambda item, stage: discarded.append(item))
    assert failed.value.__notes__ == ["in pipeline, stage '<lambda>': item 700, 700"]
    taken = len(got) + len(discarded) + 1
    assert sorted([*got, *discarded, 700]) == list(range(taken))
    if workers == 1:
        assert sorted(got) == list(range(700))


def test_errors_of_keys():
    for pipeline in (
        Pipeline([1, 0, 2]).keyed_map(str, key=lambda x: 1 // x, workers=2),
        Pipeline([1, 0, 2]).keyed_map(lambda x: 1 // x, key=lambda x: x, workers=2),
        Pipeline([1, 0, 2]).map(str).keyed_map(int, key=lambda x: {}, workers=2),
    ):
        with pytest.raises((ZeroDivisionError, TypeError)) as failed:
            pipeline.run()
        assert "item" in failed.value.__notes__[0]
    assert sorted(Pipeline([1, 0, 2]).keyed_map(str, key=lambda x: 1 // x, workers=2, buffer=0).on_error("skip")) == ["1", "2"]
    assert (
        sorted(Pipeline(range(50)).keyed_map(lambda x: 1 // (x % 5), key=lambda x: x % 3, workers=2, buffer=0).on_error("skip"))
        == [0] * 30 + [1] * 10
    )


# --- broadcast, merge ----------------------------------------------------------------------------------------------


def test_broadcast():
    evens, all_of_them = [], []
    pipeline = Pipeline(range(100)).broadcast(
        lambda numbers: numbers.filter(lambda n: n % 2 == 0).for_each(evens.append),
        lambda numbers: numbers.map(str),
        lambda numbers: numbers.batch(10).map(sum),
    )
    assert sorted(map(str, pipeline)) == sorted([*map(str, range(100)), *(str(sum(range(n, n + 10))) for n in range(0, 100, 10))])
    assert evens == list(range(0, 100, 2))
    Pipeline(range(10)).broadcast(lambda p: p.for_each(all_of_them.append)).run()
    assert all_of_them == list(range(10))


def test_the_slowest_branch_holds_up_the_others():
    gate, fast = threading.Event(), []
    with (
        Pipeline(range(1000))
        .broadcast(lambda p: p.for_each(lambda _: gate.wait(PATIENCE), buffer=0), lambda p: p.for_each(fast.append), buffer=5)
        .start() as run
    ):
        wait_until(lambda: len(fast) >= 5)
        time.sleep(0.02)
        assert len(fast) <= 5 + 3
        gate.set()
        run.wait()
    assert fast == list(range(1000))


def test_a_branch_that_is_too_slow_loses_items():
    gate, fast, slow = threading.Event(), [], []

    def wait(x):
        gate.wait(PATIENCE)
        slow.append(x)

    with (
        Pipeline(range(1000))
        .broadcast(lambda p: p.for_each(wait), lambda p: p.for_each(fast.append), buffer=1000, overflow="drop_oldest")
        .start() as run
    ):
        wait_until(lambda: len(fast) == 1000)
        gate.set()
        run.wait()
    assert slow == list(range(1000))
    gate.clear()
    fast.clear()
    slow.clear()
    with Pipeline(range(1000)).broadcast(lambda p: p.for_each(wait), lambda p: p, buffer=5, overflow="drop_oldest").start() as run:
        edge = next(edge for edge in run._run.graph.edges if edge.is_bounded)
        wait_until(lambda: edge.queue.statistics().dropped_oldest > 900)
        gate.set()
        list(run)
    assert 0 < len(slow) < 100


def test_an_error_in_a_branch_ends_all():
    seen = []
    with pytest.raises(ZeroDivisionError) as failed:
        Pipeline(range(10**9)).broadcast(lambda p: p.map(lambda x: 1 // (x - 30)), lambda p: p.for_each(seen.append)).run()
    assert "item 30, 30" in failed.value.__notes__[0]
    assert seen == list(range(len(seen)))


def test_merge():
    pipeline = Pipeline(range(10)).map(str).merge(Pipeline("abc")).merge(Pipeline(iter("xyz")).map(str.upper)).map(str.strip)
    assert sorted(pipeline) == sorted([*map(str, range(10)), *"abcXYZ"])
    assert sorted(Pipeline([1]).merge(Pipeline([2])).filter(bool).batch(5).unbatch()) == [1, 2]


def test_lists_among_other_items():
    """A list counts as its items, and other items that come together with it count as one each."""
    pairs = Pipeline(range(100)).batch(2)
    assert sorted(map(str, pairs.merge(Pipeline(range(3))))) == sorted(map(str, [*pairs, 0, 1, 2]))
    assert sum(len(each) for each in pairs.merge(Pipeline("abc")).merge(Pipeline(range(9)).batch(4))) == 100 + 3 + 9
    both = list(pairs.broadcast(lambda lists: lists, lambda lists: lists.batch(5), lambda lists: lists.map(sum), buffer=1))
    assert (len(both), sum(each for each in both if isinstance(each, int))) == (50 + 10 + 50, sum(range(100)))


@pytest.mark.parametrize("next_stage", [lambda p: p.conflate(key=id), lambda p: p.buffer(100, overflow="reject"), lambda p: p])
def test_what_a_batch_collects_has_places(next_stage):
    """There is room for a whole list, also if the queue behind the stage is bounded itself, or buffers are smaller than a list."""
    for items in (Pipeline(range(100)), Pipeline(range(100)).map(int, buffer=0), Pipeline(range(200)).batch(2, buffer=0).map(len)):
        assert [len(each) for each in next_stage(items.batch(40, buffer=0))] == [40, 40, 20]


def grow(numbers):
    numbers.extend(range(50))


@pytest.mark.parametrize("change", [list.clear, grow])
def test_lists_may_be_changed_by_who_gets_them(change):
    """A list holds as many permits as it had items when it was passed on."""
    lists = Pipeline(range(1000)).batch(10)
    for workers in (1, 3):
        lists.for_each(change, workers=workers).run()
        assert len(list(lists.keyed_map(change, key=len, workers=workers, buffer=0))) == 100
    run = lists.broadcast(lambda p: p.for_each(change), lambda p: p.for_each(change), buffer=1).run()
    assert run.statistics().stages[0].passed == 1000


def test_wrong_routes():
    p = Pipeline([1])
    with pytest.raises(ValueError, match=r"merge\(\): 'other' must have results, and <sluicegate.Pipeline: .* ends in for_each"):
        p.merge(p.for_each(print))
    with pytest.raises(TypeError, match=r"merge\(\): 'other' must be a Pipeline, not \[1\]"):
        p.merge([1])
    with pytest.raises(ValueError, match=r"broadcast\(\): 'branches' must be at least one function"):
        p.broadcast()
    with pytest.raises(TypeError, match=r"broadcast\(\): 'branches' must be a callable, not 3"):
        p.broadcast(3)
    with pytest.raises(TypeError, match="must return the pipeline that it got"):
        p.broadcast(lambda _: p)
    with pytest.raises(TypeError, match="must return the pipeline that it got"):
        p.broadcast(lambda branch: None)
    with pytest.raises(ValueError, match="there is one caller"):
        p.broadcast(lambda b: b.for_each(print, in_caller=True), lambda b: b.for_each(print, in_caller=True)).run()
    with pytest.raises(ValueError, match="overflow"):
        p.broadcast(lambda b: b, overflow="spill")


# --- the bound at bounded queues ------------------------------------------------------------------------------------


def test_results_that_are_early_are_bounded():
    """Early results are bounded, also before a queue that drops: there the other workers wait for their turn."""
    gate, taken = threading.Event(), []

    def slow_first(x):
        if x == 0:
            gate.wait(PATIENCE)
        return x

    source = (taken.append(x) or x for x in range(500))
    pipeline = Pipeline(source).map(slow_first, workers=3, buffer=0).buffer(5, overflow="drop_oldest")
    with pipeline.start() as run:
        wait_until(lambda: len(taken) >= 3)
        time.sleep(0.02)
        assert len(taken) <= 3 + 1
        gate.set()
        got = list(run)
        assert got == sorted(got)


@pytest.mark.parametrize("kind", ["sink", "keyed", "keyed tasks"])
def test_items_in_hand_behind_a_bounded_queue_are_bounded(kind):
    """Beside those in the queue there are at most as many items as the stage has workers and buffer."""
    gate, taken = threading.Event(), []

    def wait(x):
        gate.wait(PATIENCE)
        return x

    async def wait_async(x):
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return x

    source = (taken.append(x) or x for x in range(500))
    pipeline = Pipeline(source).flat_map(lambda x: [x], buffer=2)
    f = wait_async if kind == "keyed tasks" else wait
    if kind == "sink":
        pipeline = pipeline.for_each(wait, buffer=3)
        stated = 1 + 2 + (1 + 3)
    else:
        pipeline = pipeline.keyed_map(f, key=lambda _: 0, workers=2, buffer=3).buffer(500, overflow="drop_oldest")
        stated = 1 + 2 + (2 + 3)
    with pipeline.start() as run:
        least = 3 if kind == "sink" else stated - 1
        wait_until(lambda: len(taken) >= least)
        time.sleep(0.02)
        assert len(taken) <= stated
        if kind == "sink":
            gate.set()
            run.wait()
        else:
            run.resize("wait" if kind == "keyed" else "wait_async", 4)
            wait_until(lambda: len(taken) == least + 2)
            gate.set()
            assert list(run) == list(range(500))


def test_a_kill_while_one_key_fills_its_stage():
    """After the kill no worker waits for a permit."""
    gate = threading.Event()
    pipeline = Pipeline(range(500)).flat_map(lambda x: [x]).keyed_map(lambda _: gate.wait(PATIENCE), key=lambda _: 0, workers=3, buffer=3)
    with pipeline.buffer(5, overflow="drop_oldest").start() as run:
        node = next(node for node in run._run.graph.nodes if node.limits_itself)
        wait_until(lambda: node.admission.statistics().waiters)
        run.kill()
        gate.set()


# --- conflate, sample ----------------------------------------------------------------------------------------------


def test_conflate():
    gate, seen = threading.Event(), []

    def slow(pair):
        gate.wait(PATIENCE)
        seen.append(pair)

    ticks = [(symbol, n) for n in range(50) for symbol in "abc"]
    pipeline = Pipeline(ticks).conflate(key=lambda t: t[0], merge=lambda old, new: (new[0], old[1] + new[1])).for_each(slow, buffer=0)
    with pipeline.start() as run:
        wait_until(lambda: run._run.graph.edges[0].queue.statistics().merged > 130)
        gate.set()
        run.wait()
    assert len(seen) < 20
    for symbol in "abc":
        assert sum(n for each, n in seen if each == symbol) == sum(range(50))


def test_sample_drops_rather_than_delays():
    gate, looked = threading.Event(), []

    def look(x):
        gate.wait(PATIENCE)
        looked.append(x)

    with Pipeline(range(500)).map(str).sample(look, buffer=3).start() as run:
        assert list(zip(run, range(400), strict=False))[-1] == ("399", 399)
        assert looked == []
        gate.set()
        list(run)
    assert 0 < len(looked) < 200


# --- errors that do not stop ---------------------------------------------------------------------------------------


async def parse_async(text):
    await asyncio.sleep(0)
    return int(text)


@pytest.mark.parametrize("f", [int, parse_async])
@pytest.mark.parametrize("options", [{}, {"workers": 3}, {"workers": 2, "ordered": False}])
def test_skip(f, options):
    items = [str(n) if n % 3 else "x" for n in range(60)]
    good = [n for n in range(60) if n % 3]
    assert sorted(Pipeline(items).map(f, **options, buffer=0).on_error("skip")) == good
    told = []
    pipeline = Pipeline(items).map(str.strip).filter(bool).map(f, **options).on_error(lambda item, error: told.append((item, str(error))))
    assert sorted(pipeline) == good
    assert len(told) == 20
    assert told[0][0] == "x"
    assert "invalid literal" in told[0][1]


def test_skip_in_other_stages():
    def some(x):
        yield x
        if x % 2:
            raise ValueError
        yield x

    assert list(Pipeline(range(4)).flat_map(some).on_error("skip")) == [0, 0, 1, 2, 2, 3]
    assert list(Pipeline([1, 0, 2]).filter(lambda x: 1 // x or True).map(str).on_error("skip")) == ["1", "2"]
    seen = []
    Pipeline([1, 0, 2]).for_each(lambda x: seen.append(1 // x)).on_error("skip").run()
    assert seen == [1, 0]


async def fail_async(x):
    return 1 // x


@pytest.mark.parametrize("f", [lambda x: 1 // x, fail_async])
def test_errors_of_a_sink_in_the_caller_in_a_task(f):
    """They are told as those of any stage, and `on_error` decides about them."""
    pipeline = Pipeline([1, 0, 2], name="mill").for_each(f, in_caller=True, name="store")
    letters, told, discarded = Queue(), [], []
    asyncio.run(pipeline.on_error(dead_letter=letters).run_async())
    assert [(letter.item, letter.stage) for letter in letters.get_many(9)] == [(0, "store")]
    asyncio.run(pipeline.on_error(lambda item, error: told.append(item)).run_async())
    assert told == [0]
    with pytest.raises(ZeroDivisionError) as failed:
        asyncio.run(pipeline.run_async(on_discard=lambda item, stage: discarded.append(item)))
    assert failed.value.__notes__ == ["in pipeline 'mill', stage 'store': item 1, 0"]
    assert discarded == [2]


def test_on_error_is_for_the_stages_above():
    pipeline = Pipeline(["1", "x", "0"]).map(int).on_error("skip").map(lambda n: 1 // n)
    with pytest.raises(ZeroDivisionError):
        list(pipeline)
    assert list(pipeline.on_error("skip")) == [1]


async def nonzero(x):
    return 1 // x or True


@pytest.mark.parametrize(
    "below",
    [
        lambda p: p.filter(lambda x: 1 // x or True),
        lambda p: p.tap(lambda x: 1 // x),
        lambda p: p.map(lambda x: 1 // x, workers=0),
        lambda p: p.filter(nonzero),
        lambda p: p.sample(str).filter(lambda x: 1 // x or True),
        lambda p: p.filter(lambda x: 1 // x or True).map(str),
        lambda p: p.tap(lambda x: 1 // x).batch(2),
    ],
)
@pytest.mark.parametrize("above", [int, "async"])
def test_on_error_is_not_for_functions_without_workers_below(above, below):
    async def number(text):
        return int(text)

    higher, lower = [], []
    pipeline = Pipeline(["0", "x", "0"]).map(int if above is int else number, workers=2).on_error(lambda item, error: higher.append(item))
    with pytest.raises(ZeroDivisionError):
        list(below(pipeline))
    higher.clear()
    assert list(below(pipeline).on_error(lambda item, error: lower.append(item))) == []
    assert (higher, lower) == (["x"], [0, 0])


def test_functions_without_workers_have_no_buffer():
    """No buffer was stated for them, and they have a worker of their own only where no stage can call them."""

    def stages(pipeline):
        return pipeline.describe().splitlines()[2:-1]

    def held(pipeline):
        return int(re.search(r"at most (\d+) items? on the way", pipeline.describe()).group(1))

    for behind in (
        lambda p: p.batch(2, buffer=1),
        lambda p: p.buffer(3),
        lambda p: p.buffer(3, overflow="drop_oldest").for_each(len),
        lambda p: p.conflate(key=len, buffer=3).for_each(len),
        lambda p: p.broadcast(lambda branch: branch.map(len), buffer=3),
        lambda p: p.merge(Pipeline([1])),
    ):
        bare, with_filter = behind(Pipeline([1])), behind(Pipeline([1]).filter(bool))
        assert held(with_filter) <= held(bare) + 2  # its worker, and its items that the next one works on
    assert stages(Pipeline([1]).map(str, buffer=1).filter(nonzero).for_each(len, buffer=0)) == [
        "  str: 1 thread; at most 2 to filter nonzero",
        "  filter nonzero: 1 task; at most 2 to len",
        "  len: 1 thread",
    ]


def rows(page):
    yield from page


async def rows_async(page):
    for row in page:
        yield row


async def rows_at_once(page):
    return page


@pytest.mark.parametrize("f", [rows, list, rows_async, rows_at_once])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("below", [lambda p: p.filter(lambda x: 1 // x or True), lambda p: p.map(lambda x: 1 // x and x, workers=0)])
def test_an_element_of_flat_map_that_fails_behind_it(f, workers, below):
    """The other elements of its item go on. The error names the element, as if the function behind were a stage of its own."""
    pages = [[1, 0, 1], [], [0], [1, 1]]
    told = []
    pipeline = below(Pipeline(pages).flat_map(f, workers=workers).tap(lambda x: x))
    assert list(pipeline.on_error(lambda item, error: told.append((item, type(error))))) == [1, 1, 1, 1]
    assert told == [(0, ZeroDivisionError)] * 2
    dead = Queue(5)
    assert list(pipeline.on_error(dead_letter=dead)) == [1, 1, 1, 1]
    assert [letter.item for letter in dead.get_many(5)] == [0, 0]
    discarded = []
    with (
        pytest.raises(ZeroDivisionError) as failed,
        pipeline.for_each(told.append).start(on_discard=lambda *item: discarded.append(item)) as run,
    ):
        run.wait()
    assert any("item 0, 0" in note or "item 2, 0" in note for note in failed.value.__notes__)


@pytest.mark.parametrize("f", [rows, rows_async])
def test_an_iterable_of_flat_map_that_fails(f):
    """The error names the item, also if the iterable has yielded something before."""

    def some(page):
        yield page[0]
        raise KeyError

    async def some_async(page):
        yield page[0]
        raise KeyError

    told = []
    pipeline = Pipeline([[1], [2]]).flat_map(some if f is rows else some_async).filter(bool).on_error(lambda item, error: told.append(item))
    assert list(pipeline) == [1, 2]
    assert told == [[1], [2]]


async def async_same(x):
    return x


def same(x):
    return x


async def single_row(x):
    yield x


#: Every kind of stage that may put into the queue of `conflate` or `buffer`.
BEFORE = {
    "source": lambda p: p,
    "ready source": None,
    "map": lambda p: p.map(int, workers=3),
    "async map": lambda p: p.map(async_same, workers=3),
    "async map, unordered": lambda p: p.map(async_same, workers=3, ordered=False),
    "flat_map": lambda p: p.flat_map(lambda x: [x], workers=3),
    "async flat_map": lambda p: p.flat_map(single_row, workers=3),
    "keyed_map": lambda p: p.keyed_map(int, key=lambda x: x % 4, workers=3),
    "async keyed_map": lambda p: p.keyed_map(async_same, key=lambda x: x % 4, workers=3),
    "batch": lambda p: p.batch(2),
    "broadcast": lambda p: p.broadcast(lambda branch: branch),
    "async source": None,
}


def before(kind, items):
    if kind == "ready source":
        return Pipeline(items)
    if kind == "async source":
        return Pipeline(rows_async(items))
    return BEFORE[kind](Pipeline(iter(items)))


def numbers_in(item):
    return item if isinstance(item, list) else [item]


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("error", [KeyError, StopIteration, StopAsyncIteration, ShutDown, Full])
@pytest.mark.parametrize("function", ["key", "merge"])
def test_an_error_of_conflate(kind, error, function):
    taken, finished, discarded, told = [], [], [], []

    def items():
        for number in range(40):
            taken.append(number)
            yield number

    def fail(*args):
        if function == "merge" or 20 in numbers_in(args[0]):
            raise error("the own one")
        return numbers_in(args[0])[0]

    options = {"key": fail} if function == "key" else {"key": lambda _: 1, "merge": fail}
    given = list(items()) if kind == "ready source" else items()
    gate = threading.Event()

    def sink(item):
        gate.wait(0.01)
        finished.extend(numbers_in(item))

    pipeline = (
        before(kind, given).on_error(lambda item, error: told.append(item)).conflate(**options, name="newest").for_each(sink, buffer=0)
    )
    with pytest.raises(RuntimeError if "Stop" in error.__name__ else error) as failed:
        pipeline.run(on_discard=lambda item, stage: discarded.extend(numbers_in(item)))
    assert any("stage 'newest', behind" in note for note in failed.value.__notes__)
    assert not told
    if function == "key":
        assert sorted(finished + discarded) == taken[: len(finished) + len(discarded)]
        assert 20 in discarded


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("is_killed", [False, True], ids=["", "killed in on_discard"])
def test_what_conflate_replaces_is_discarded_with_notice(kind, is_killed):
    """`on_discard` is called when the new item is in the queue, and without a lock of the queue: it may take its time, or kill the run."""
    taken, finished, discarded, stages = [], [], [], set()
    is_started = threading.Event()

    def items():
        for number in range(400):
            taken.append(number)
            yield number

    def sink(item):
        time.sleep(0.002)
        finished.extend(numbers_in(item))

    def discard(item, stage):
        discarded.extend(numbers_in(item))
        stages.add(stage)
        if is_killed and len(discarded) > 100 and is_started.wait(PATIENCE):
            run.kill("enough")

    given = list(items()) if kind == "ready source" else items()
    pipeline = before(kind, given).conflate(key=lambda item: numbers_in(item)[0] % 3, buffer=3, name="newest").for_each(sink, buffer=0)
    run = pipeline.start(on_discard=discard)
    is_started.set()
    with pytest.raises(Killed) if is_killed else contextlib.nullcontext():
        run.wait(PATIENCE)
    run.close()
    assert len(discarded) > 100
    assert "newest" not in stages
    ends = sorted(finished + discarded)
    assert ends == sorted(taken) if kind != "ready source" else ends == list(range(len(ends)))
    assert run.statistics().discarded == len(discarded) // (2 if kind == "batch" else 1)


@pytest.mark.parametrize(
    ("pipeline", "text"),
    [
        (
            Pipeline([["an item"]]).conflate(key=same, name="newest"),
            r"^'key' must be a str, .* or a tuple of those, not \['an item'\] \(list\)",
        ),
        (Pipeline([["an item"]]).keyed_map(len, key=same, workers=2), r"^keyed_map\(\): 'key' must return something hashable, not \['an"),
        (Pipeline([["an item"]]).keyed_map(async_same, key=same, workers=2), r"^keyed_map\(\): 'key' must return something hashable, not"),
    ],
)
def test_a_key_that_cannot_be_one(pipeline, text):
    with pytest.raises(TypeError, match=text) as failed:
        pipeline.run()
    assert re.search(r"stage '(newest', behind 'list': |len': item 0, |async_same': item 0, )\['an item'\]", failed.value.__notes__[0])


@pytest.mark.parametrize("kind", BEFORE)
def test_a_buffer_that_rejects(kind):
    n = 8 if kind == "batch" else 4
    gate, finished, discarded, taken = threading.Event(), [], [], []

    def sink(item):
        gate.wait(PATIENCE)
        finished.extend(numbers_in(item))

    with before(kind, list(range(n))).buffer(4, overflow="reject").for_each(sink, buffer=0).start() as run:
        wait_until(lambda: run.statistics().stages[-2].passed >= 4 or run._run.errors)
        gate.set()
    assert sorted(finished) == list(range(n))
    gate.clear()
    finished.clear()

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    source = list(items()) if kind == "ready source" else items()
    pipeline = before(kind, source).on_error("skip").buffer(4, overflow="reject", name="few").for_each(sink, buffer=0)
    with pytest.raises(Full) as failed, pipeline.start(on_discard=lambda item, stage: discarded.extend(numbers_in(item))) as run:
        wait_until(lambda: run._run.errors)
        gate.set()
    assert any("stage 'few', behind" in note for note in failed.value.__notes__)
    if kind != "ready source":  # whose items are in a list
        wait_until(lambda: sorted(finished + discarded) == taken)


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("kind", ["threads", "tasks", "sink"])
def test_an_error_of_the_handler_that_is_an_end(error, kind):
    def handle(item, cause):
        raise error

    async def fails(x):
        return 1 // x

    pipeline = Pipeline([1, 0, 1])
    pipeline = pipeline.map(fails if kind == "tasks" else lambda x: 1 // x) if kind != "sink" else pipeline.for_each(lambda x: 1 // x)
    with pytest.raises(RuntimeError, match=f"on_error of stage .* raised {error.__name__}"):
        pipeline.on_error(handle).run()


def test_dead_letters():
    dead = Queue(2)
    assert list(Pipeline(["1", "x", "y"]).map(int).on_error(dead_letter=dead)) == [1]
    first, second = dead.get_many(5)
    assert isinstance(first, DeadLetter)
    assert (first.item, first.stage, second.item) == ("x", "int", "y")
    assert isinstance(first.error, ValueError)


def test_a_full_dead_letter_queue_is_an_error():
    with pytest.raises(Full) as failed:
        Pipeline(["1", "x", "y"]).map(int).on_error(dead_letter=Queue(1)).run()
    assert any("dead_letter, for an item whose call raised ValueError" in note for note in failed.value.__notes__)
    assert any("item 2, 'y'" in note for note in failed.value.__notes__)


def test_an_error_of_the_handler():
    def handle(item, error):
        raise KeyError(item)

    with pytest.raises(KeyError):
        Pipeline(["x"]).map(int).on_error(handle).run()
    for wrong in (("later",), ()):
        with pytest.raises((ValueError, TypeError), match="on_error"):
            Pipeline([]).on_error(*wrong)
    with pytest.raises(TypeError, match="must be a queue"):
        Pipeline([]).on_error(dead_letter=[])


# --- while it runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "tasks"])
@pytest.mark.parametrize("ordered", [True, False])
def test_resize(kind, ordered):
    lock, running, most = threading.Lock(), [0], [0]

    def enter(x):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])

    def work(x):
        enter(x)
        time.sleep(0.001)
        with lock:
            running[0] -= 1
        return x

    async def work_async(x):
        enter(x)
        await asyncio.sleep(0.001)
        running[0] -= 1
        return x

    q, got = Queue(), []
    f = work if kind == "threads" else work_async
    with Pipeline(q, name="mill").map(f, ordered=ordered, buffer=2, name="work").for_each(got.append).start() as run:
        q.put_many(range(30))
        wait_until(lambda: len(got) == 30)
        assert most[0] == 1
        run.resize("work", 5)
        for wanted in range(60, 600, 30):
            q.put_many(range(wanted - 30, wanted))
            wait_until(lambda: len(got) == wanted)  # noqa: B023
            if most[0] == 5:
                break
        assert most[0] == 5
        run.resize("work", 2)
        n = len(got)
        q.put_many(range(n, n + 20))
        wait_until(lambda: len(got) == n + 20)
        most[0] = 0
        q.put_many(range(n + 20, n + 60))
        wait_until(lambda: len(got) == n + 60)
        assert most[0] <= 2
        for wrong in ("other", "SimpleQueue"):
            with pytest.raises(ValueError, match="no stage is called"):
                run.resize(wrong, 2)
        with pytest.raises(ValueError, match="cannot be resized"):
            run.resize("Queue", 2)
        with pytest.raises(ValueError, match="at least 1"):
            run.resize("work", 0)
        q.shutdown()
        run.wait()
    run.resize("work", 3)  # too late, and no harm
    assert (got if ordered else sorted(got)) == list(range(n + 60))


@pytest.mark.thread_unsafe(reason="it replaces the start of threads")
@pytest.mark.parametrize("started", [0, 2])
def test_a_resize_that_starts_no_thread(monkeypatch, started):
    seen = []
    run = Pipeline(range(300)).map(lambda x: (time.sleep(0.0005), x)[1], name="work").for_each(seen.append).start()
    start, left, capacity = threading.Thread.start, [started], run.statistics().stages[1].capacity

    def fail(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            run.resize("work", 5)
    (node,) = (node for node in run._run.graph.nodes if node.name == "work")
    assert node.workers == 1
    assert run.statistics().stages[1].capacity == capacity
    run.resize("work", 2)
    run.wait(PATIENCE)
    assert sorted(seen) == list(range(300))


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_what_a_run_keeps_does_not_grow_with_resizes(kind):
    def work(x):
        return x

    async def work_async(x):
        return x

    rounds, put, got = 40, 0, []
    q = Queue()
    with Pipeline(q).map(work if kind == "threads" else work_async, name="work").for_each(got.append).start() as run:
        for _ in range(rounds):
            run.resize("work", 5)
            run.resize("work", 1)
            while run.statistics().stages[1].workers > 1:  # the others leave after their next item
                put += q.put_many(range(10))
                wait_until(lambda: len(got) == put)  # noqa: B023
            assert len(run._run.workers) <= 3 + 2 * 4
        q.shutdown()
    stage = run.statistics().stages[1]
    assert (stage.taken, stage.passed, stage.failed) == (put, put, 0)
    assert stage.busy_seconds + stage.starved_seconds + stage.blocked_seconds > 0
    assert stage.p99_seconds > 0


def test_a_storm_of_resizes():
    """No item is lost or comes twice, and the order stays. Afterwards there is as much room as the workers and buffers state."""
    chance = random.Random(3)
    pause = [chance.choice([0, 0, 0, 0.0002]) for _ in range(2000)]

    def work(x):
        if pause[x]:
            time.sleep(pause[x])
        return x

    async def work_async(x):
        if pause[x]:
            await asyncio.sleep(pause[x])
        return x

    options = {"workers": 2, "buffer": 3}
    pipeline = Pipeline(range(2000)).map(work, name="first", **options).map(work_async, name="second", **options)
    pipeline = pipeline.flat_map(lambda x: [x], name="third", **options)
    by_key = pipeline.keyed_map(work, key=lambda x: x % 7, name="fourth", **options)
    for described in (pipeline, by_key):
        names = ["first", "second", "third", "fourth"][: 3 + (described is by_key)]
        with described.start() as run:
            storm = spawn(resize_until_over, run, names, chance)
            got = [next(run) for _ in range(1900)]
            if described is by_key:
                for key in range(7):
                    of_key = [x for x in got if x % 7 == key]
                    assert of_key == list(range(key, key + 7 * len(of_key), 7))
            else:
                assert got == list(range(1900))
            got += run
            assert sorted(got) == list(range(2000))
        storm.result()

    q = Queue()
    with Pipeline(q).map(work, name="first", **options).map(work_async, name="second", **options).start() as run:
        for _ in range(200):
            run.resize(chance.choice(["first", "second"]), chance.randint(1, 9))
        run.resize("first", 3)
        run.resize("second", 4)
        assert [stage.capacity for stage in run.statistics().stages] == [None, 3 + 3, 4 + 3]
        q.put_many(range(100))
        wait_until(lambda: run.statistics().in_flight == 13)
        assert [next(run) for _ in range(100)] == list(range(100))


def resize_until_over(run, names, chance):
    while not run.is_over:
        run.resize(chance.choice(names), chance.randint(1, 6))
        time.sleep(0.0002)


@pytest.mark.thread_unsafe(reason="starts an interpreter")
def test_sigterm_drains():
    text = run_script(
        """
        import itertools, os, signal, threading
        from sluicegate import Killed, Pipeline
        taken, seen, ready = [], [], threading.Event()
        def sink(x):
            seen.append(x)
            if len(seen) == 20:
                ready.wait()
                os.kill(os.getpid(), signal.SIGTERM)
        before = signal.getsignal(signal.SIGTERM)
        source = (taken.append(n) or n for n in itertools.count())
        with Pipeline(source).map(lambda x: x).for_each(sink).start() as run, run.stop_on(signal.SIGTERM):
            ready.set()
            run.wait()
        assert seen == taken, (len(seen), len(taken))
        assert signal.getsignal(signal.SIGTERM) == before
        seen.clear()
        ready.clear()
        try:
            with Pipeline(itertools.count()).for_each(sink).start() as run, run.stop_on(signal.SIGTERM, kill=True):
                ready.set()
                run.wait()
        except Killed as killed:
            print(killed)
        """
    )
    assert text == "signal 15\n"


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_stop_on_without_a_block_says_so():
    """Nothing would be stopped by the signal, which ends the program instead."""
    before = signal.getsignal(signal.SIGTERM)
    with Pipeline(range(3)).map(str).start() as run:

        def forget():
            run.stop_on(signal.SIGTERM)
            collect()

        with pytest.warns(RuntimeWarning, match=r"stop_on\(\) has had no effect: write `with run.stop_on\(...\):`"):
            forget()
        for signum in ("SIGTERM", None):
            with pytest.raises(TypeError, match=f"'signum' must be a signal, such as signal.SIGTERM, not {signum!r}"):
                run.stop_on(signum)
        with pytest.raises(ValueError, match="out of range"), run.stop_on(1000):
            raise AssertionError
    assert signal.getsignal(signal.SIGTERM) == before
