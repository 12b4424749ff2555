"""`q.async_q` and `q.sync_q`: one queue with exactly asyncio.Queue's interface, and with exactly queue.Queue's."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import queue
import sys
import types
import weakref
from typing import Any

import pytest
from dropin import KINDS, outcome
from helpers import LoopThread, eventually, on_loops, settle, wait_until

import sluicegate
from sluicegate._views import AsyncQueueView, SyncQueueView


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ours(kind: str) -> Any:
    return getattr(sluicegate, kind)


def parameters(function: Any) -> list[tuple[Any, ...]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


# --- both -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", ["async_q", "sync_q"])
def test_two_views_of_one_queue_are_equal(ours: Any, face: str) -> None:
    q, r = ours(), ours()
    assert getattr(q, face) == getattr(q, face)
    assert hash(getattr(q, face)) == hash(getattr(q, face))
    assert getattr(q, face) != getattr(r, face)
    assert len({getattr(q, face), getattr(q, face), getattr(r, face)}) == 2
    assert q.async_q != q.sync_q
    assert q.async_q != q
    assert bool(getattr(q, face)) is True
    assert not hasattr(getattr(q, face), "__len__")


@pytest.mark.parametrize("face", ["async_q", "sync_q"])
def test_a_view_keeps_its_queue_and_the_queue_not_its_view(ours: Any, face: str) -> None:
    q = ours()
    view = getattr(q, face)
    gone = weakref.ref(view)
    q.put(1)
    del q
    assert view.get_nowait() == 1
    del view
    assert gone() is None  # by its count of references: there is no cycle


@pytest.mark.parametrize("face", ["async_q", "sync_q"])
def test_a_view_is_neither_pickled_nor_copied(ours: Any, face: str) -> None:
    for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="View"):
            refuse(getattr(ours(), face))


@pytest.mark.parametrize("cls", [AsyncQueueView, SyncQueueView])
def test_a_view_is_generic_as_the_stdlibs_classes_are(cls: Any) -> None:
    alias = cls[int]
    assert isinstance(alias, types.GenericAlias)
    assert alias.__args__ == (int,)
    assert alias.__origin__ is cls


@pytest.mark.parametrize("face", ["async_q", "sync_q"])
def test_a_view_goes_through_what_a_subclass_overrides(ours: Any, face: str) -> None:
    class Tracing(ours):
        calls: list[str]

        def put_nowait(self, item: Any) -> None:
            self.calls.append("put_nowait")
            super().put_nowait(item)

        def _get(self) -> Any:
            self.calls.append("_get")
            return super()._get()

    q = Tracing()
    q.calls = []
    getattr(q, face).put_nowait(1)
    assert getattr(q, face).get_nowait() == 1
    assert q.calls == ["put_nowait", "_get"]


# --- asyncio's interface ----------------------------------------------------------------------------------------------

ASYNC_METHODS = ["put", "get", "join", "put_nowait", "get_nowait", "qsize", "empty", "full", "task_done"]


@pytest.mark.parametrize("method", ASYNC_METHODS)
def test_async_signatures_are_asyncios(method: str) -> None:
    theirs, mine = getattr(asyncio.Queue, method), getattr(AsyncQueueView, method)
    assert parameters(mine) == parameters(theirs)
    assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(theirs)
    view = sluicegate.Queue().async_q
    assert parameters(getattr(view, method)) == parameters(getattr(asyncio.Queue(), method))
    assert inspect.iscoroutinefunction(getattr(view, method)) == inspect.iscoroutinefunction(theirs)


def test_async_shutdown_has_asyncios_signature() -> None:
    assert parameters(sluicegate.Queue().async_q.shutdown) == [("immediate", inspect.Parameter.POSITIONAL_OR_KEYWORD, False)]


def test_a_view_has_no_more_than_asyncios_class() -> None:
    public = {name for name in dir(AsyncQueueView) if not name.startswith("_")}
    theirs = {name for name in dir(asyncio.Queue) if not name.startswith("_")} | {"shutdown"}
    assert public == theirs


@pytest.mark.parametrize("maxsize", [0, 2, -1, 1.3, True])
def test_async_maxsize_is_read_only(ours: Any, maxsize: Any) -> None:
    view = ours(maxsize).async_q
    assert view.maxsize is maxsize
    with pytest.raises(AttributeError):
        view.maxsize = 5


@on_loops
async def test_put_and_get(ours: Any) -> None:
    q = ours(2)
    view = q.async_q
    assert await view.put(1) is None
    assert view.put_nowait(2) is None
    assert (view.qsize(), view.full(), view.empty()) == (2, True, False)
    assert outcome(view.put_nowait, 3) == "Full!"
    assert sorted([await view.get(), view.get_nowait()]) == [1, 2]
    assert outcome(view.get_nowait) == "Empty!"
    with pytest.raises(asyncio.QueueEmpty):
        view.get_nowait()
    await view.put(1)
    await view.put(2)
    with pytest.raises(asyncio.QueueFull):
        view.put_nowait(3)


@on_loops
async def test_put_waits_for_room_and_get_for_an_item(ours: Any) -> None:
    view = ours(1).async_q
    await view.put(1)
    putter = asyncio.ensure_future(view.put(2))
    await settle()
    assert not putter.done()
    assert await view.get() == 1
    await putter
    assert await view.get() == 2
    getter = asyncio.ensure_future(view.get())
    await settle()
    assert not getter.done()
    view.put_nowait(3)
    assert await getter == 3


@on_loops
async def test_join_and_task_done(ours: Any) -> None:
    view = ours().async_q
    await view.join()
    await view.put(1)
    joiner = asyncio.ensure_future(view.join())
    await settle()
    assert not joiner.done()
    view.get_nowait()
    view.task_done()
    await joiner
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        view.task_done()


@pytest.mark.parametrize("immediate", [False, True])
@on_loops
async def test_async_shutdown(ours: Any, immediate: bool) -> None:
    shut_down = getattr(asyncio, "QueueShutDown", sluicegate.ShutDown)
    view = ours(1).async_q
    await view.put(1)
    putter = asyncio.ensure_future(view.put(2))
    await settle()
    view.shutdown(immediate)
    with pytest.raises(shut_down):
        await putter
    if not immediate:
        assert await view.get() == 1
    for call in (view.get, lambda: view.put(3)):
        with pytest.raises(shut_down):
            await call()
    for call in (view.get_nowait, lambda: view.put_nowait(3)):
        with pytest.raises(shut_down):
            call()


@on_loops
async def test_a_cancelled_put_or_get_leaves_nobody_in_line(ours: Any) -> None:
    # What CPython's suite asks of _getters and _putters.
    q = ours(1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(q.async_q.get(), 0.01)
    assert q.statistics().waiting_getters == 0
    await q.async_q.put(1)
    putter = asyncio.ensure_future(q.async_q.put(2))
    await settle()
    assert q.statistics().waiting_putters == 1
    putter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putter
    assert q.statistics().waiting_putters == 0


@on_loops
async def test_a_get_makes_room_for_a_waiting_putter(ours: Any) -> None:
    # CPython's suite asks this with a future of its own in _putters.
    q = ours(1)
    await q.async_q.put(1)
    putter = asyncio.ensure_future(q.put_async(2))
    await settle()
    assert await q.async_q.get() == 1
    await putter
    assert q.qsize() == 1


@on_loops
async def test_producer_and_consumer_through_a_queue_of_one(ours: Any) -> None:
    # CPython 3.10's suite asks this through q._get_loop().
    view = ours(1).async_q

    async def produce() -> None:
        for n in range(50):
            await view.put(n)

    async def consume() -> list[Any]:
        return [await view.get() for _ in range(50)]

    _, got = await asyncio.gather(produce(), consume())
    assert got == list(range(50))


@on_loops
async def test_repr_in_asyncios_words(ours: Any, kind: str) -> None:
    q = ours(1)
    view = q.async_q
    assert str(view) == f"<{kind}.async_q maxsize=1>"
    assert repr(view) == f"<{kind}.async_q at {id(view):#x} maxsize=1>"
    getter = asyncio.ensure_future(view.get())
    await settle()
    assert str(view) == f"<{kind}.async_q maxsize=1 _getters[1]>"
    await view.put(1)
    await getter
    await view.put(2)
    putter = asyncio.ensure_future(view.put(3))
    await settle()
    assert str(view) == f"<{kind}.async_q maxsize=1 _queue=[2] _putters[1] tasks=2>"
    view.shutdown()
    await asyncio.gather(putter, return_exceptions=True)
    assert str(view) == f"<{kind}.async_q maxsize=1 _queue=[2] tasks=2 shutdown>"


def test_threads_and_two_loops_on_one_view(ours: Any, threads: Any) -> None:
    q = ours(3)
    view = q.async_q

    async def produce(base: int) -> None:
        for n in range(100):
            await view.put(base + n)

    async def consume() -> list[Any]:
        return [await view.get() for _ in range(100)]

    with LoopThread() as one, LoopThread() as other:
        pending = [one.submit(produce(0)), other.submit(produce(100)), one.submit(consume()), other.submit(consume())]
        putter = threads(lambda: [q.sync_q.put(200 + n) for n in range(100)])
        getter = threads(lambda: [q.sync_q.get() for _ in range(100)])
        got = [*pending[2].result(30), *pending[3].result(30), *getter.result()]
        putter.result()
        for future in pending[:2]:
            future.result(30)
    assert sorted(got) == list(range(300))


@on_loops
async def test_a_thread_wakes_a_coroutine(ours: Any, threads: Any) -> None:
    q = ours()
    getter = asyncio.ensure_future(q.async_q.get())
    await eventually(lambda: q.statistics().waiting_getters == 1)
    threads(q.sync_q.put, "from a thread").result()
    assert await asyncio.wait_for(getter, 30) == "from a thread"


# --- queue's interface ------------------------------------------------------------------------------------------------

SYNC_METHODS = ["put", "get", "join", "put_nowait", "get_nowait", "qsize", "empty", "full", "task_done"]


@pytest.mark.parametrize("method", SYNC_METHODS)
def test_sync_signatures_are_the_stdlibs(method: str) -> None:
    assert parameters(getattr(SyncQueueView, method)) == parameters(getattr(queue.Queue, method))
    assert parameters(getattr(sluicegate.Queue().sync_q, method)) == parameters(getattr(queue.Queue(), method))


def test_what_only_the_queue_has_cannot_be_given_through_a_view(ours: Any) -> None:
    class Sub(ours):  # type: ignore[misc]
        pass

    for q in (ours(), Sub(), sluicegate.FairQueue(key=lambda item: 1), sluicegate.CoalescingQueue(key=lambda item: item)):
        for argument in ("ttl", "key", "priority"):
            for put in (q.sync_q.put, q.sync_q.put_nowait, q.async_q.put_nowait):
                with pytest.raises(TypeError, match=argument):
                    put(1, **{argument: 1})
            with pytest.raises(TypeError, match=argument):
                asyncio.run(q.async_q.put(1, **{argument: 1}))
        assert q.empty()
        q.sync_q.put(1)
        q.sync_q.put(item=2, block=False)
        q.sync_q.put(3, True, 1)
        q.async_q.put_nowait(4)
        assert sorted(q.get_many(9)) == [1, 2, 3, 4]


def test_a_view_calls_a_put_of_the_users(ours: Any) -> None:
    class Own(ours):  # type: ignore[misc]
        def put(self, item: Any, block: bool = True, *, twice: bool = False) -> None:
            for _ in range(1 + twice):
                super().put(item, block)

    q = Own()
    q.sync_q.put(1, twice=True)
    q.sync_q.put_nowait(2)
    q.async_q.put_nowait(3)
    assert sorted(q.get_many(9)) == [1, 1, 2, 3]


def test_a_view_has_no_more_than_the_stdlibs_class(ours: Any) -> None:
    public = {name for name in dir(SyncQueueView) if not name.startswith("_")}
    theirs = {name for name in dir(queue.Queue()) if not name.startswith("_")} | {"shutdown", "is_shutdown"}
    assert public == theirs
    assert not hasattr(ours().sync_q, "get_async")


def test_sync_put_and_get(ours: Any, threads: Any) -> None:
    q = ours(1)
    view = q.sync_q
    assert view.put(1) is None
    assert outcome(view.put, 2, False) == "Full!"
    assert outcome(view.put, 2, timeout=0.001) == "Full!"
    assert outcome(view.put, item=2, block=True, timeout=-1) == "ValueError: 'timeout' must be a non-negative number"
    putter = threads(view.put, 2)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    assert view.get() == 1
    putter.result()
    assert view.get(True, 1) == 2
    assert outcome(view.get, block=False) == "Empty!"
    with pytest.raises(queue.Empty):
        view.get(timeout=0)
    view.task_done()
    view.task_done()
    view.join()


def test_sync_attributes(ours: Any) -> None:
    q = ours(2)
    view = q.sync_q
    view.put(1)
    view.put(2)
    view.maxsize = 3
    assert (q.maxsize, view.maxsize, view.unfinished_tasks) == (3, 3, 2)
    view.unfinished_tasks = 0
    assert q.unfinished_tasks == 0
    assert type(view.queue) is type(q.queue)
    assert list(view.queue) == list(q.queue)
    for condition in (view.not_empty, view.not_full, view.all_tasks_done):
        with condition:
            assert q.mutex.locked()
            condition.notify_all()
    assert view.mutex == q.mutex
    with view.mutex:
        assert q.mutex.locked()
    assert view.is_shutdown is False
    view.shutdown(immediate=True)
    assert view.is_shutdown is True
    assert outcome(view.get) == "ShutDown!"


def test_sync_repr(ours: Any, kind: str) -> None:
    view = ours(3).sync_q
    view.put(1)
    assert repr(view) == f"<{kind}.sync_q at {id(view):#x} maxsize=3 qsize=1>"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio.Queue has no shutdown before 3.13")
def test_the_signature_of_asyncios_shutdown_is_this_pythons() -> None:
    assert parameters(AsyncQueueView.shutdown) == parameters(asyncio.Queue.shutdown)
    assert parameters(SyncQueueView.shutdown) == parameters(queue.Queue.shutdown)
