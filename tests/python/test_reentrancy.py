"""The queues may be called from anywhere: `__del__`, weakref callbacks, comparisons, hooks, conversions, iterables.

No Python code runs under an internal lock, so none of these may deadlock, and the state they see is a true one.
"""

from __future__ import annotations

import gc
import itertools
import queue as stdlib_queue
import random
import sys
import threading
import weakref

import pytest
from helpers import PATIENCE, OneKey, collect, on_loops, spawn, wait_until

from sluicegate import Empty, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock

ALL = [Queue, LifoQueue, PriorityQueue, OneKey, SimpleQueue]
BOUNDED = ALL[:4]


class Item:
    """Calls back when it is finalised; never unordered."""

    def __init__(self, number, when_deleted=None):
        self.number = number
        self.when_deleted = when_deleted

    def __lt__(self, other):
        return self.number < other.number

    def __del__(self):
        if self.when_deleted is not None:
            self.when_deleted(self)


# -------------------------------------------------------------------------------------------------------- __del__


@pytest.mark.parametrize("kind", ALL)
def test_del_puts_while_clear_drops(kind):
    """Items which put on the same queue as `clear` drops them: their puts arrive in the emptied queue."""
    queue = kind()
    for number in range(50):
        queue.put(Item(number, lambda item: queue.put_nowait(Item(item.number + 100))))
    assert queue.clear() == 50
    assert queue.qsize() == 50
    assert sorted(item.number for item in queue.get_many(99)) == list(range(100, 150))


@pytest.mark.parametrize("kind", ALL)
def test_del_gets_and_looks_while_clear_drops(kind):
    """Items which read the same queue as they die see it empty: the drop comes after the change."""
    queue = kind()
    seen = []

    def look(item):
        seen.append((queue.qsize(), queue.empty(), queue.statistics().size))
        with pytest.raises(Empty):
            queue.get_nowait()

    for number in range(10):
        queue.put(Item(number, look))
    assert queue.clear() == 10
    assert seen == [(0, True, 0)] * 10


@pytest.mark.parametrize("kind", BOUNDED)
def test_del_uses_the_queue_while_shutdown_drops(kind):
    """Items dropped by `shutdown(immediate=True)` find the queue shut down already."""
    queue = kind()
    told = []

    def use(item):
        for call in (lambda: queue.put_nowait(item), queue.get_nowait):
            try:
                call()
            except ShutDown:
                told.append(item.number)
        queue.shutdown(immediate=True)

    for number in range(10):
        queue.put(Item(number, use))
    queue.shutdown(immediate=True)
    assert sorted(told) == sorted([*range(10), *range(10)])
    assert queue.qsize() == 0


@pytest.mark.parametrize("kind", ALL)
def test_del_while_the_queue_dies(kind):
    """Items of a queue that dies find it gone, and nothing crashes."""
    queue = kind()
    seen = []
    reference = weakref.ref(queue)
    for number in range(10):
        queue.put(Item(number, lambda item: seen.append(reference())))
    del queue
    collect()
    assert seen == [None] * 10


@pytest.mark.parametrize("kind", ALL)
def test_del_puts_on_a_queue_in_a_cycle(kind):
    """Items in a cycle with their queue, which put on it as the GC finalises them: no crash, all collected."""
    died = []

    class Noisy(Item):
        def __del__(self):
            died.append(self.number)
            if self.number < 100:
                self.queue.put_nowait(Item(self.number + 100))

    queue = kind()
    for number in range(10):
        item = Noisy(number)
        item.queue = queue
        queue.put(item)
    reference = weakref.ref(queue)
    del queue, item
    collect()
    assert sorted(died) == list(range(10))
    assert reference() is None


def test_del_of_a_refused_item():
    """The item of a refused put is the caller's; its `__del__` may use the queue."""
    queue = Queue(1)
    queue.put("there")
    seen = []
    for call in (lambda item: queue.put_nowait(item), lambda item: queue.put(item, timeout=0)):
        with pytest.raises(stdlib_queue.Full):
            call(Item(0, lambda item: seen.append(queue.get_nowait())))
        gc.collect()
        queue.put_nowait("again")
    assert seen == ["there", "again"]


def test_del_from_get_many_that_fails_to_be_kept():
    """Items of a batch nobody keeps put on the queue they came from."""
    queue = Queue()
    for number in range(5):
        queue.put(Item(number, lambda item: queue.put_nowait(item.number)))
    queue.get_many(5)
    assert sorted(queue.get_many(9)) == [0, 1, 2, 3, 4]


def test_del_wakes_a_waiting_getter():
    """A put in a `__del__` inside `clear` wakes a getter of another thread."""
    clock = ManualClock()
    queue, other = Queue(), Queue(clock=clock)
    getter = spawn(other.get)
    clock.wait_for_waiters(1)
    queue.put(Item(0, lambda item: other.put("from __del__")))
    queue.clear()
    assert getter.result() == "from __del__"


def test_deep_chains_of_items_do_not_overflow():
    """A `__del__` that clears the next queue, two hundred deep."""
    queues = [Queue() for _ in range(200)]
    for here, there in itertools.pairwise(queues):
        here.put(Item(0, lambda item, there=there: there.clear()))
    queues[-1].put("end")
    queues[0].clear()
    assert queues[-1].empty()


# ----------------------------------------------------------------------------------------------- weakref callbacks


@pytest.mark.parametrize("kind", ALL)
def test_weakref_callbacks_use_the_queue(kind):
    """Callbacks of dying items put on the same queue."""
    queue = kind()
    references = []
    for number in range(20):
        item = Item(number)
        references.append(weakref.ref(item, lambda _, number=number: queue.put_nowait(Item(number))))
        queue.put(item)
    del item
    assert queue.clear() == 20
    assert queue.qsize() == 20


# --------------------------------------------------------------------------------------- comparisons, under the baton


class Compared:
    """An item whose `<` does something first."""

    def __init__(self, number, when_compared=None):
        self.number = number
        self.when_compared = when_compared

    def __lt__(self, other):
        for side in (self, other):
            if side.when_compared is not None:
                side.when_compared()
        return self.number < other.number


def numbers_of(queue):
    return [item.number for item in queue.get_many(1000)]


def test_a_comparison_that_puts():
    """A put inside `__lt__` goes to the inbox and is merged in order."""
    queue = PriorityQueue()
    extra = iter(range(100, 103))

    def put_one():
        number = next(extra, None)
        if number is not None:
            queue.put(Compared(number))

    for number in (5, 3, 4):
        queue.put(Compared(number, put_one))
    assert queue.qsize() == 6
    assert queue.unfinished_tasks == 6
    assert numbers_of(queue) == [3, 4, 5, 100, 101, 102]
    assert queue.statistics().puts == 6


def test_a_comparison_that_puts_while_getting():
    """The same during `get`, which compares too."""
    queue = PriorityQueue()
    armed = []

    def put_one():
        if armed:
            queue.put(Compared(armed.pop()))

    for number in (1, 2, 3, 4, 5):
        queue.put(Compared(number, put_one))
    armed.extend([0, 7])
    received = [queue.get().number for _ in range(7)]
    assert received[0] == 1
    assert sorted(received) == [0, 1, 2, 3, 4, 5, 7]
    assert queue.empty()


@pytest.mark.parametrize("call", ["get", "get_nowait", "get_many"])
def test_a_comparison_that_gets_is_told(call):
    """A get inside `__lt__` cannot be served: `RuntimeError` naming the cause, and nothing broken."""
    queue = PriorityQueue()
    told = []

    def get_one():
        try:
            queue.get_many(1) if call == "get_many" else getattr(queue, call)()
        except RuntimeError as error:
            told.append(str(error))

    queue.put(Compared(2))
    queue.put(Compared(1, get_one))
    assert told
    assert "<" in told[0] or "__lt__" in told[0] or "compar" in told[0]
    assert numbers_of(queue) == [1, 2]


def test_a_comparison_whose_error_is_not_caught():
    """The `RuntimeError` of a re-entrant get passes through `put` as any error of a comparison does."""
    queue = PriorityQueue()
    queue.put(Compared(2))
    with pytest.raises(RuntimeError):
        queue.put(Compared(1, queue.get_nowait))
    queue.clear()
    queue.put(Compared(3))
    assert numbers_of(queue) == [3]


def test_a_comparison_that_looks():
    """`qsize`, `empty`, `full`, `statistics`, `repr`, `maxsize` inside `__lt__` answer without a deadlock."""
    queue = PriorityQueue(10)
    seen = []

    def look():
        seen.append((queue.qsize(), queue.empty(), queue.full(), queue.statistics().maxsize, queue.maxsize, repr(queue)))

    queue.put(Compared(2, look))
    queue.put(Compared(1))
    assert seen
    for size, empty, full, *_ in seen:
        assert 1 <= size <= 2
        assert not empty
        assert not full


class Fragile:
    """An item whose comparisons raise by a script."""

    def __init__(self, number, script):
        self.number = number
        self.script = script

    def __lt__(self, other):
        if next(self.script, False):
            raise ZeroDivisionError
        return self.number < other.number


@pytest.mark.parametrize("seed", range(30))
def test_a_comparison_that_raises_leaves_what_the_stdlib_leaves(seed):
    """Random operations with comparisons that fail at random: our heap, sizes and counts equal `queue`'s after each."""
    dice = random.Random(seed)
    plan = [dice.random() < 0.15 for _ in range(4000)]
    ours, theirs = PriorityQueue(), stdlib_queue.PriorityQueue()
    scripts = iter(plan), iter(plan)

    def both(call):
        outcomes = []
        for queue, script in zip((ours, theirs), scripts, strict=True):
            try:
                outcome = call(queue, script)
            except (ZeroDivisionError, stdlib_queue.Empty) as error:
                outcome = stdlib_queue.Empty if isinstance(error, stdlib_queue.Empty) else ZeroDivisionError
            outcomes.append(outcome)
        assert outcomes[0] == outcomes[1]

    for _ in range(300):
        if dice.random() < 0.6:
            number = dice.randrange(50)
            both(lambda queue, script, number=number: queue.put_nowait(Fragile(number, script)))
        else:
            both(lambda queue, script: queue.get_nowait().number)
        assert ours.qsize() == theirs.qsize()
        assert ours.unfinished_tasks == theirs.unfinished_tasks
        assert [item.number for item in ours.queue] == [item.number for item in theirs.queue]


@pytest.mark.parametrize("seed", range(10))
def test_the_heap_is_heapqs(seed):
    """Without errors, too: the very order of `heapq`, with equal and mixed keys."""
    dice = random.Random(seed)
    ours, theirs = PriorityQueue(), stdlib_queue.PriorityQueue()
    for _ in range(400):
        if dice.random() < 0.6 or not theirs.qsize():
            item = dice.choice([dice.randrange(20), float(dice.randrange(20)), True, 2**80])
            ours.put(item)
            theirs.put(item)
        else:
            assert repr(ours.get()) == repr(theirs.get())
        assert list(map(repr, ours.queue)) == list(map(repr, theirs.queue))


def test_a_comparison_that_lets_other_threads_run():
    """Threads that come while a comparison is running wait in the wait queue, and nothing is lost."""
    queue = PriorityQueue()
    started, others = threading.Event(), []

    def meddle():
        queue.put(Compared(10))
        return queue.get().number

    def pause():
        if not started.is_set():
            started.set()
            others.extend(spawn(meddle) for _ in range(4))
            # The comparison goes on while the others try to get in.
            for _ in range(50):
                threading.Event().wait(0.001)

    queue.put(Compared(2, pause))
    queue.put(Compared(1))
    results = [other.result() for other in others]
    assert len(results) == 4
    left = numbers_of(queue)
    assert sorted(results + left) == [1, 2, 10, 10, 10, 10]
    assert results.count(1) == 1


def test_comparing_threads_all_at_once():
    """Eight threads put and get items with a slow `<` that switches threads: every item once."""
    queue = PriorityQueue(16)
    total = 1600
    dice = random.Random(5)
    numbers = list(range(total))
    dice.shuffle(numbers)

    def switch():
        if dice.random() < 0.05:
            threading.Event().wait(0.00005)

    def produce(part):
        for number in part:
            queue.put(Compared(number, switch), timeout=PATIENCE)

    def consume():
        return [queue.get(timeout=PATIENCE).number for _ in range(total // 4)]

    consumers = [spawn(consume) for _ in range(4)]
    producers = [spawn(produce, numbers[number::4]) for number in range(4)]
    for producer in producers:
        producer.result(PATIENCE * 2)
    assert sorted(itertools.chain(*(consumer.result(PATIENCE * 2) for consumer in consumers))) == list(range(total))
    assert queue.empty()


def test_shutdown_and_clear_inside_a_comparison():
    """A shutdown inside `__lt__` takes effect; nothing hangs."""
    queue = PriorityQueue()
    queue.put(Compared(2))
    queue.put(Compared(1, queue.shutdown))
    assert queue.is_shutdown
    with pytest.raises(ShutDown):
        queue.put(Compared(0))
    assert sorted(numbers_of(queue)) == [1, 2]


def test_an_async_get_with_comparisons():
    """`get_async` compares, too, and its comparisons may put."""
    import asyncio

    async def main():
        queue = PriorityQueue()
        armed = [9]

        def put_one():
            if armed:
                queue.put_nowait(Compared(armed.pop()))

        for number in (3, 1, 2):
            await queue.put_async(Compared(number, put_one))
        return [(await queue.get_async()).number for _ in range(4)]

    assert asyncio.run(main()) == [1, 2, 3, 9]


# ------------------------------------------------------------------------------------------------------------- hooks


class Reentrant(Queue):
    """Hooks that call the queue they are hooks of."""

    def _init(self, maxsize):
        self.held = []
        self.in_put = self.in_get = None

    def _qsize(self):
        return len(self.held)

    def _put(self, item):
        if self.in_put is not None:
            self.in_put(item)
        self.held.append(item)

    def _get(self):
        if self.in_get is not None:
            self.in_get()
        return self.held.pop(0)


def test_a_hook_that_puts():
    """`_put` that puts again: the second item goes to the inbox and arrives."""
    queue = Reentrant()
    queue.in_put = lambda item: queue.put_nowait(item - 1) if item > 0 else None
    queue.put(3)
    assert sorted(queue.get_many(9)) == [0, 1, 2, 3]
    assert queue.unfinished_tasks == 4


def test_a_get_hook_that_puts():
    """`_get` that puts: the item arrives, and the get returns."""
    queue = Reentrant()
    queue.put("first")
    queue.in_get = lambda: queue.put_nowait("second") if len(queue.held) == 1 else None
    assert queue.get() == "first"
    queue.in_get = None
    assert queue.get() == "second"


@pytest.mark.parametrize("side", ["in_put", "in_get"])
def test_a_hook_that_gets_is_told(side):
    """A get inside a hook is a `RuntimeError` naming the cause; the queue works on."""
    queue = Reentrant()
    queue.put("first")

    def get_one(*_):
        setattr(queue, side, None)
        queue.get_nowait()

    setattr(queue, side, get_one)
    with pytest.raises(RuntimeError, match="(?i)hook|_put|_get|inside|while"):
        queue.put("second") if side == "in_put" else queue.get()
    assert queue.get_many(9) == ["first"]


def test_hooks_that_raise():
    """A hook's error passes through: nothing counted, nothing lost, nobody locked out."""
    queue = Reentrant(2)
    queue.put(1)

    def fail(*_):
        raise ArithmeticError

    queue.in_put = fail
    with pytest.raises(ArithmeticError):
        queue.put(2)
    assert (queue.qsize(), queue.unfinished_tasks) == (1, 1)
    queue.in_put, queue.in_get = None, fail
    with pytest.raises(ArithmeticError):
        queue.get()
    assert queue.qsize() == 1
    queue.in_get = None
    assert spawn(queue.get).result() == 1


def test_a_hook_that_raises_passes_the_wake_up_on():
    """A getter whose hook raises leaves the item to the getter behind it."""
    clock = ManualClock()
    queue = Reentrant(clock=clock)
    failing = []

    def fail():
        if not failing:
            failing.append(True)
            raise ArithmeticError

    queue.in_get = fail
    first = spawn(queue.get)
    clock.wait_for_waiters(1)
    second = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.put("item")
    assert isinstance(first.exception(), ArithmeticError)
    assert second.result() == "item"


def test_hooks_run_one_at_a_time():
    """Hooks of eight threads never run at the same time, as under the stdlib's lock."""
    inside, worst = [], []

    class Watched(Reentrant):
        def _enter(self):
            inside.append(1)
            worst.append(len(inside))
            threading.Event().wait(0.00002)
            inside.pop()

        def _put(self, item):
            self._enter()
            super()._put(item)

        def _get(self):
            self._enter()
            return super()._get()

    queue = Watched(3)
    each = 100
    consumers = [spawn(lambda: [queue.get(timeout=PATIENCE) for _ in range(each)]) for _ in range(4)]
    producers = [spawn(lambda: [queue.put(i, timeout=PATIENCE) for i in range(each)]) for _ in range(4)]
    for worker in producers + consumers:
        worker.result()
    assert max(worst) == 1
    assert len(worst) == 8 * each


# --------------------------------------------------------------------------------------------- iterables, conversions


def test_an_iterable_that_uses_the_queue():
    """A generator given to `put_many` may get from the very queue it feeds."""
    queue = Queue(3)
    taken = []

    def source():
        for number in range(20):
            if queue.qsize() == 2:  # it is not asked for more while the queue is full
                taken.append(queue.get_nowait())
            queue.statistics()
            yield number

    assert queue.put_many(source(), timeout=PATIENCE) == 20
    assert taken + queue.get_many(9) == list(range(20))


def test_an_iterable_that_puts():
    """A generator given to `put_many` may put on the same queue."""
    queue = Queue()

    def source():
        for number in range(5):
            queue.put(number + 100)
            yield number

    assert queue.put_many(source()) == 5
    assert sorted(queue.get_many(99)) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]


def test_an_iterable_that_shuts_down():
    """A generator which shuts the queue down under its own `put_many`: `ShutDown`, and all is accounted for."""
    queue = Queue()

    def source():
        yield 1
        queue.shutdown()
        yield 2
        yield 3

    iterator = source()
    with pytest.raises(ShutDown) as info:
        queue.put_many(iterator)
    there = queue.get_many(9) if queue.qsize() else []
    assert there == [1, 2, 3][: info.value.accepted]


class Meddling(float):
    """A number whose conversions use the queue."""

    queue: Queue

    def _meddle(self):
        self.queue.put_nowait("meddled")

    def __float__(self):
        self._meddle()
        return 0.0

    def __lt__(self, other):
        self._meddle()
        return float.__lt__(self, other)

    def __gt__(self, other):
        self._meddle()
        return float.__gt__(self, other)

    def __le__(self, other):
        self._meddle()
        return float.__le__(self, other)

    def __ge__(self, other):
        self._meddle()
        return float.__ge__(self, other)


def test_arguments_that_use_the_queue():
    """Conversions of arguments run before the section: they may use the queue."""
    queue = Queue()
    timeout = Meddling(0.0)
    timeout.queue = queue
    for call in (lambda: queue.get(timeout=timeout), lambda: queue.get_many(1, timeout=timeout)):
        try:
            assert call() in ("meddled", ["meddled"])
        except Empty:
            pass
    queue.clear()
    queue.put("usable")
    assert queue.get() == "usable"


def test_a_maxsize_that_uses_the_queue():
    """`maxsize` may be any comparable object; its comparisons run outside the section."""
    bound = Meddling(3.0)
    bound.queue = other = Queue()
    queue = Queue(bound)
    for number in range(3):
        queue.put(number)
    with pytest.raises(stdlib_queue.Full):
        queue.put_nowait(3)
    assert queue.get_many(9) == [0, 1, 2]
    other.clear()

    # And the very queue it bounds.
    bound.queue = queue
    try:
        queue.put_nowait("outer")
    except (RecursionError, RuntimeError, stdlib_queue.Full):
        pass
    bound.queue = other
    queue.clear()
    queue.put("usable")
    assert queue.get() == "usable"


def test_items_are_neither_compared_nor_hashed():
    """A FIFO never looks at its items: no `==`, no `hash`, no `bool`."""

    class Untouchable:
        def _refuse(self, *_):
            raise AssertionError("touched")

        __eq__ = __hash__ = __bool__ = __lt__ = __len__ = __repr__ = _refuse

    for kind in (Queue, LifoQueue, SimpleQueue):
        queue = kind()
        items = [Untouchable() for _ in range(3)]
        queue.put_many(items)
        queue.put(items[0])
        queue.peek()
        repr(queue)
        assert len(queue.get_many(9)) == 4
        queue.put(items[1])
        queue.clear()


# --------------------------------------------------------------------------------------------- callbacks and tracing


@on_loops
async def test_a_done_callback_that_uses_the_queue():
    """Callbacks of the waiter's own task put and get on the same queue."""
    import asyncio

    queue = Queue(1)
    chained = []
    task = asyncio.create_task(queue.get_async())
    task.add_done_callback(lambda task: (chained.append(task.result()), queue.put_nowait("second")))
    await asyncio.sleep(0)
    queue.put_nowait("first")
    await task
    assert await queue.get_async() == "second"
    assert chained == ["first"]


def test_under_a_trace_function():
    """A trace function that uses the queue runs between bytecodes, never inside."""
    queue = Queue(8)
    calls = 0

    def trace(frame, event, arg):
        nonlocal calls
        calls += 1
        if queue.qsize() < 4:
            queue.put_nowait("traced")
        return trace

    def work():
        def steps():
            got = []
            for number in range(50):
                queue.put(number, timeout=PATIENCE)
                got.append(queue.get(timeout=PATIENCE))
            return got

        sys.settrace(trace)
        try:
            return steps()
        finally:
            sys.settrace(None)

    got = spawn(work).result()
    left = queue.get_many(99) if queue.qsize() else []
    assert [item for item in got + left if item != "traced"] == list(range(50))
    assert calls > 50


@pytest.mark.thread_unsafe(reason="sets the thresholds of the whole process's collector")
@pytest.mark.parametrize("kind", ALL)
def test_gc_runs_in_the_middle(kind):
    """With the GC at its most eager and finalisers which use the queue, nothing breaks."""
    queue = kind()
    seen = []

    def use(item):
        seen.append(item.number)
        queue.put_nowait(Item(-1))

    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for number in range(300):
            cycle = Item(number, use)
            cycle.me = cycle
            del cycle
            queue.put(Item(1000 + number))
            queue.get()
    finally:
        gc.set_threshold(*threshold)
    collect()
    wait_until(lambda: len(seen) == 300)
    assert queue.qsize() == 300
