"""`from sluicegate import janus` in the place of `import janus`."""

from __future__ import annotations

import asyncio
import heapq
import inspect
import queue
import sys
from typing import Any

import pytest
from helpers import LoopThread, eventually, on_loops, settle, wait_until

import sluicegate
from sluicegate import janus

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(kind: str) -> Any:
    return getattr(janus, kind)


# --- names ----------------------------------------------------------------------------------------------------------

NAMES = {
    *("Queue", "LifoQueue", "PriorityQueue", "BaseQueue", "SyncQueue", "AsyncQueue"),
    *("SyncQueueEmpty", "SyncQueueFull", "SyncQueueShutDown", "AsyncQueueEmpty", "AsyncQueueFull", "AsyncQueueShutDown"),
}


def test_the_names() -> None:
    assert set(janus.__all__) == NAMES
    assert all(hasattr(janus, name) for name in NAMES)
    assert janus.__version__


def test_the_names_are_those_of_janus() -> None:
    original = pytest.importorskip("janus", reason="janus is not installed here")
    assert set(original.__all__) == NAMES
    for name in KINDS:
        theirs, mine = getattr(original, name), getattr(janus, name)
        assert {one for one in dir(theirs) if not one.startswith("_")} == {one for one in dir(mine) if not one.startswith("_")}
        assert inspect.signature(mine).parameters.keys() == inspect.signature(theirs).parameters.keys()
        for face in ("sync_q", "async_q"):
            expected, found = getattr(theirs(), face), getattr(mine(), face)
            missing = {one for one in dir(expected) if not one.startswith("_")} - set(dir(found))
            assert missing == set()
            for method in ("put", "get", "put_nowait", "get_nowait", "join", "task_done", "shutdown", "qsize", "empty", "full"):
                # A view calls the queue's bound method, which also takes `ttl`; the view's class has no such argument.
                same = [
                    [(p.name, p.kind, p.default) for p in inspect.signature(getattr(one, method)).parameters.values() if p.name != "ttl"]
                    for one in (expected, found)
                ]
                assert same[0] == same[1], (face, method)
                coroutines = [inspect.iscoroutinefunction(getattr(one, method)) for one in (expected, found)]
                assert coroutines[0] == coroutines[1], (face, method)


def test_the_exceptions_are_the_stdlibs() -> None:
    assert janus.SyncQueueEmpty is queue.Empty
    assert janus.SyncQueueFull is queue.Full
    assert janus.AsyncQueueEmpty is asyncio.QueueEmpty
    assert janus.AsyncQueueFull is asyncio.QueueFull
    assert issubclass(sluicegate.ShutDown, janus.SyncQueueShutDown)
    assert issubclass(sluicegate.ShutDown, janus.AsyncQueueShutDown)
    if sys.version_info >= (3, 13):
        assert janus.SyncQueueShutDown is queue.ShutDown
        assert janus.AsyncQueueShutDown is asyncio.QueueShutDown


def test_the_classes_are_related_as_janus_are() -> None:
    assert issubclass(janus.LifoQueue, janus.Queue)
    assert issubclass(janus.PriorityQueue, janus.Queue)
    assert not issubclass(janus.LifoQueue, janus.PriorityQueue)
    assert isinstance(janus.LifoQueue[int](3), janus.LifoQueue)


# --- one queue, two faces -------------------------------------------------------------------------------------------


def test_each_face_is_one_object(make: Any) -> None:
    q = make(3)
    assert q.sync_q is q.sync_q
    assert q.async_q is q.async_q
    for one in (q, q.sync_q, q.async_q):
        assert one.maxsize == 3
        assert one.closed is False
    assert q.sync_q.unfinished_tasks == q.async_q.unfinished_tasks == 0


def test_made_without_a_loop_and_used_by_threads_alone(make: Any) -> None:
    q = make()
    q.sync_q.put(1)
    assert q.sync_q.get() == 1
    q.async_q.put_nowait(2)
    assert q.async_q.get_nowait() == 2


@on_loops
async def test_from_thread_to_coroutine_and_back(make: Any, threads: Any) -> None:
    there, back = make(2), make(2)

    def double() -> None:
        for _ in range(50):
            back.sync_q.put(there.sync_q.get() * 2)
            there.sync_q.task_done()

    worker = threads(double)
    got = []
    for n in range(50):
        await there.async_q.put(n)
        got.append(await back.async_q.get())
        back.async_q.task_done()
    assert got == [n * 2 for n in range(50)]
    await there.async_q.join()
    await back.async_q.join()
    worker.result()
    await there.aclose()
    await back.aclose()


@on_loops
async def test_the_order_of_each_kind(make: Any, kind: str) -> None:
    q = make()
    for item in (2, 3, 1):
        await q.async_q.put(item)
    expected = {"Queue": [2, 3, 1], "LifoQueue": [1, 3, 2], "PriorityQueue": [1, 2, 3]}[kind]
    assert [q.sync_q.get_nowait() for _ in range(3)] == expected


@on_loops
async def test_the_readmes_example() -> None:
    def threaded(sync_q: janus.SyncQueue[int]) -> None:
        for i in range(100):
            sync_q.put(i)
        sync_q.join()

    async def async_coro(async_q: janus.AsyncQueue[int]) -> None:
        for i in range(100):
            assert await async_q.get() == i
            async_q.task_done()

    q: janus.Queue[int] = janus.Queue()
    done = asyncio.get_running_loop().run_in_executor(None, threaded, q.sync_q)
    await async_coro(q.async_q)
    await done
    await q.aclose()


# --- full, empty, too often --------------------------------------------------------------------------------------------


@on_loops
async def test_refusals(make: Any) -> None:
    q = make(1)
    with pytest.raises(janus.SyncQueueEmpty):
        q.sync_q.get_nowait()
    with pytest.raises(janus.SyncQueueEmpty):
        q.sync_q.get(timeout=0)
    with pytest.raises(janus.AsyncQueueEmpty):
        q.async_q.get_nowait()
    q.sync_q.put(1)
    with pytest.raises(janus.SyncQueueFull):
        q.sync_q.put(2, block=False)
    with pytest.raises(janus.AsyncQueueFull):
        q.async_q.put_nowait(2)
    for face in (q.sync_q, q.async_q):
        assert (face.qsize(), face.empty(), face.full(), face.unfinished_tasks) == (1, False, True, 1)
    q.async_q.task_done()
    for face in (q.sync_q, q.async_q):
        with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
            face.task_done()


# --- the end ------------------------------------------------------------------------------------------------------------


@on_loops
async def test_shutdown_lets_what_is_buffered_be_taken(make: Any) -> None:
    q = make()
    await q.async_q.put(1)
    q.shutdown()
    assert q.closed and q.sync_q.closed and q.async_q.closed
    with pytest.raises(janus.SyncQueueShutDown):
        q.sync_q.put(2)
    with pytest.raises(janus.AsyncQueueShutDown):
        await q.async_q.put(2)
    assert q.sync_q.get() == 1
    with pytest.raises(janus.SyncQueueShutDown):
        q.sync_q.get()
    with pytest.raises(janus.AsyncQueueShutDown):
        await q.async_q.get()


@on_loops
async def test_close_drops_what_is_buffered_and_wakes_everybody(make: Any, threads: Any) -> None:
    q = make(1)
    q.sync_q.put(1)

    def put() -> None:
        with pytest.raises(janus.SyncQueueShutDown):
            q.sync_q.put(2)

    putter, joiner = threads(put), threads(q.sync_q.join)
    waiting = asyncio.ensure_future(q.async_q.join())
    await eventually(lambda: q._core.statistics().waiting_putters == 1 and q._core.statistics().waiting_joiners == 2)
    q.close()
    await asyncio.wait_for(waiting, 30)
    putter.result()
    joiner.result()
    assert (q.closed, q.sync_q.qsize(), q.sync_q.unfinished_tasks) == (True, 0, 0)
    q.close()  # again
    await q.wait_closed()
    with pytest.raises(janus.AsyncQueueShutDown):
        q.async_q.get_nowait()


@on_loops
async def test_waiting_for_an_open_queue_to_be_closed(make: Any) -> None:
    q = make()
    with pytest.raises(RuntimeError, match="Waiting for non-closed queue"):
        await q.wait_closed()
    await q.aclose()
    assert q.closed
    await q.wait_closed()


@on_loops
async def test_wait_closed_lets_those_who_waited_go_first(make: Any) -> None:
    q = make()
    getter = asyncio.ensure_future(q.async_q.get())
    await settle()
    await q.aclose()
    await settle(2)
    assert getter.done()
    assert isinstance(getter.exception(), janus.AsyncQueueShutDown)


@on_loops
async def test_a_queue_that_is_never_closed_leaves_no_task(make: Any, threads: Any) -> None:
    q = make()
    before = asyncio.all_tasks()
    getter = asyncio.ensure_future(q.async_q.get())
    await eventually(lambda: q._core.statistics().waiting_getters == 1)
    threads(q.sync_q.put, 1).result()
    assert await getter == 1
    assert asyncio.all_tasks() == before


# --- what janus cannot -------------------------------------------------------------------------------------------------


def test_two_loops(make: Any) -> None:
    q = make(1)

    async def produce() -> None:
        for n in range(100):
            await q.async_q.put(n)

    async def consume() -> list[int]:
        return [await q.async_q.get() for _ in range(100)]

    with LoopThread() as one, LoopThread() as other:
        produced, consumed = one.submit(produce()), other.submit(consume())
        assert consumed.result(30) == list(range(100))
        produced.result(30)


# --- hooks ---------------------------------------------------------------------------------------------------------------


def test_a_subclass_that_fails(make: Any) -> None:
    class Failing(make):
        def __init__(self, *args: Any) -> None:
            self.fails = False
            super().__init__(*args)

        def _put(self, item: Any) -> None:
            if self.fails:
                raise ZeroDivisionError
            super()._put(item)

        def _get(self) -> Any:
            if self.fails:
                raise ZeroDivisionError
            return super()._get()

    q = Failing(2)
    q.sync_q.put(1)
    q.fails = True
    with pytest.raises(ZeroDivisionError):
        q.sync_q.put(2)
    with pytest.raises(ZeroDivisionError):
        q.async_q.get_nowait()
    assert (q.sync_q.qsize(), q.sync_q.unfinished_tasks, q._qsize()) == (1, 1, 1)
    q.fails = False
    assert q.sync_q.get() == 1


def test_a_subclass_with_a_container_of_its_own() -> None:
    class Heap(janus.Queue[int]):
        def _init(self, maxsize: int) -> None:
            self.heap: list[int] = []
            self.bound = maxsize

        def _qsize(self) -> int:
            return len(self.heap)

        def _put(self, item: int) -> None:
            heapq.heappush(self.heap, -item)

        def _get(self) -> int:
            return -heapq.heappop(self.heap)

    q = Heap(3)
    assert (q.bound, q.maxsize) == (3, 3)
    for item in (1, 3, 2):
        q.sync_q.put(item)
    assert q.sync_q.full()
    assert [q.sync_q.get() for _ in range(3)] == [3, 2, 1]


def test_a_subclass_that_reaches_for_the_default_container() -> None:
    class Newest(janus.Queue[int]):
        def _get(self) -> int:
            return self._queue.pop()

    q = Newest()
    for item in (1, 2, 3):
        q.async_q.put_nowait(item)
    assert [q.sync_q.get() for _ in range(3)] == [3, 2, 1]


def test_a_subclass_without_hooks_is_the_plain_queue(make: Any, kind: str) -> None:
    class Titled(make):
        def __init__(self, title: str, maxsize: int = 0) -> None:
            super().__init__(maxsize)
            self.title = title

    q = Titled("t", 2)
    assert (q.title, q.maxsize) == ("t", 2)
    assert type(q._core) is getattr(sluicegate, kind)


@on_loops
async def test_hooks_from_both_faces(make: Any, threads: Any) -> None:
    class Counting(make):
        puts = 0

        def _put(self, item: Any) -> None:
            self.puts += 1
            super()._put(item)

    q = Counting(2)
    putter = threads(lambda: [q.sync_q.put(n) for n in range(50)])

    async def put() -> None:
        for n in range(50):
            await q.async_q.put(n)

    got, _ = await asyncio.gather(collect(q, 100), put())
    putter.result()
    assert sorted(got) == sorted([*range(50), *range(50)])
    assert q.puts == 100


async def collect(q: Any, items: int) -> list[Any]:
    return [await q.async_q.get() for _ in range(items)]


def test_repr(make: Any, kind: str) -> None:
    q = make(2)
    q.sync_q.put(1)
    assert repr(q) == f"<{kind} at {id(q):#x} maxsize=2 qsize=1>"
    q.close()
    assert repr(q).endswith("qsize=0 closed>")
    wait_until(lambda: q.closed)
