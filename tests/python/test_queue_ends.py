"""How a queue ends: with an error, at once, or because all who share an end have left."""

import asyncio
import gc
import queue as stdlib_queue
import threading
import traceback
import warnings

import pytest
from helpers import PATIENCE, collect, on_loops, spawn

from sluicegate import Consumers, Empty, Full, LifoQueue, PriorityQueue, Producers, Queue, ShutDown

KINDS = [Queue, LifoQueue, PriorityQueue]


async def collected(queue):
    """What `async for` gives, and the exception that ends it."""
    got = []
    try:
        async for item in queue:
            got.append(item)
    except BaseException as error:
        return got, error
    return got, None


def iterated(queue):
    """What `for` gives, and the exception that ends it."""
    got = []
    try:
        for item in queue:
            got.append(item)  # noqa: PERF402
    except BaseException as error:
        return got, error
    return got, None


WAYS = {"for": iterated, "async for": lambda queue: asyncio.run(collected(queue))}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def iterate(request):
    """Either way of iterating."""
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_what_iterates_gets_the_error_itself(kind, iterate):
    """After the items, and every time; `get` and `put` get ShutDown with the error as its cause and in the text."""
    queue = kind(name="jobs")
    queue.put(1)
    error = OSError("the disk is full")
    queue.fail(error)
    assert iterate(queue) == ([1], error)
    assert iterate(queue) == ([], error)
    for call in (queue.get, queue.get_nowait, lambda: queue.put(2), lambda: queue.get_many(2), queue.peek, lambda: queue.put_many([1])):
        with pytest.raises(ShutDown, match="'jobs'.*the disk is full") as told:
            call()
        assert told.value.__cause__ is error
    queue.task_done()
    queue.join(timeout=0)


@pytest.mark.parametrize(
    "error",
    [
        StopIteration(),
        StopAsyncIteration(),
        Empty("e"),
        Full("f"),
        stdlib_queue.Empty(),
        asyncio.QueueFull(),
        ShutDown("s"),
        KeyboardInterrupt(),
    ],
)
def test_an_error_that_looks_like_an_end(error, iterate):
    """Raised as it is it would end a loop quietly, or another one: it is the cause of a ShutDown."""
    queue = Queue()
    queue.fail(error)
    got, told = iterate(queue)
    assert got == []
    assert type(told) is ShutDown
    assert told.__cause__ is error


def test_a_kill_does_not_look_like_success(iterate):
    """Items may be lost, so iteration raises."""
    queue = Queue()
    queue.put(1)
    queue.shutdown(immediate=True)
    got, told = iterate(queue)
    assert (got, type(told)) == ([], ShutDown)
    error = ValueError("later")
    queue.shutdown(error=error)
    assert iterate(queue)[1].__cause__ is None, "the first end counts"


def test_a_kill_with_an_error(iterate):
    """The error is the cause; what iterates does not take it for the end of a complete stream."""
    queue = Queue()
    error = ValueError("cut short")
    queue.shutdown(immediate=True, error=error)
    got, told = iterate(queue)
    assert (got, type(told), told.__cause__) == ([], ShutDown, error)


def test_the_first_end_counts(iterate):
    """A later error changes nothing, but an immediate shutdown may follow."""
    queue = Queue()
    queue.put_many([1, 2])
    queue.shutdown()
    queue.fail(ValueError("too late"))
    assert iterate(queue) == ([1, 2], None)

    queue, error = Queue(), ValueError("in time")
    queue.put_many([1, 2])
    queue.fail(error)
    queue.fail(ValueError("too late"))
    queue.shutdown()
    queue.shutdown(immediate=True)
    got, told = iterate(queue)
    assert (got, type(told), told.__cause__) == ([], ShutDown, error)


@pytest.mark.parametrize("bad", [1, "error", ValueError, object()])
@pytest.mark.parametrize("call", [lambda queue, error: queue.fail(error), lambda queue, error: queue.shutdown(True, error=error)])
def test_what_is_no_exception(call, bad):
    """A class is no exception either; nothing has happened."""
    queue = Queue()
    queue.put(1)
    with pytest.raises(TypeError, match="'error' must be an exception"):
        call(queue, bad)
    assert (queue.is_shutdown, queue.qsize()) == (False, 1)
    with pytest.raises(TypeError, match="not None"):
        queue.fail(None)


def test_the_tracebacks_do_not_grow(iterate):
    """The same object is raised in every consumer, each time with the producer's traceback."""
    queue = Queue()
    with pytest.raises(ValueError, match="broken"), queue.producers():
        raise ValueError("broken")
    lengths = set()
    for _ in range(3):
        _, told = iterate(queue)
        frames = traceback.extract_tb(told.__traceback__)
        assert any(frame.line and "raise ValueError" in frame.line for frame in frames)
        lengths.add(len(frames))
    assert len(lengths) == 1


def test_a_worker_that_is_told_to_stop_just_ends():
    """Ctrl-C in the main thread kills the queue: the workers' ShutDown does not leave the block."""
    queue = Queue(1)
    producing, consuming = queue.producers(2), queue.consumers(2)
    inside = threading.Barrier(5)

    def produce():
        with producing:
            inside.wait(PATIENCE)
            while True:
                queue.put(1)

    def consume():
        with consuming:
            inside.wait(PATIENCE)
            while True:
                queue.get()

    workers = [spawn(produce), spawn(produce), spawn(consume), spawn(consume)]
    inside.wait(PATIENCE)
    queue.shutdown(immediate=True)
    assert [worker.result() for worker in workers] == [None] * 4


@on_loops
async def test_a_task_that_is_told_to_stop_just_ends():
    """The same with `async with`."""
    queue = Queue(1)
    producing = queue.producers(2)

    async def produce():
        async with producing:
            while True:
                await queue.put_async(1)

    tasks = [asyncio.create_task(produce()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.shutdown()
    assert await asyncio.gather(*tasks) == [None, None]


def test_another_queues_end_is_an_error():
    """Only the queue's own ShutDown is swallowed; that of another one is this end's error."""
    upstream, downstream = Queue(), Queue()
    downstream.shutdown()
    with pytest.raises(ShutDown) as told, upstream.producers():
        downstream.put(1)
    with pytest.raises(ShutDown) as end:
        upstream.get()
    assert end.value.__cause__ is told.value


def test_a_consumers_error_is_not_raised_in_its_siblings():
    """The others go on; the producers learn of it when all have left."""
    queue = Queue()
    consuming = queue.consumers(2)
    error = ValueError("this consumer only")
    with pytest.raises(ValueError, match="this consumer"), consuming:
        raise error
    queue.put_many([1, 2])
    with consuming:
        assert [queue.get(), queue.get()] == [1, 2]
        assert not queue.is_shutdown
    with pytest.raises(ShutDown) as told:
        queue.put(3)
    assert told.value.__cause__ is error


def test_the_queue_is_not_failed_before_the_last_producer_has_left():
    """While others still put, a get that finds nothing waits."""
    queue = Queue()
    producing = queue.producers(2)
    with pytest.raises(ValueError, match="first"), producing:
        raise ValueError("first")
    with pytest.raises(Empty):
        queue.get_nowait()
    with producing:
        queue.put(1)
    assert queue.get() == 1
    with pytest.raises(ShutDown, match="first"):
        queue.get()


def use_once(manager):
    """Enters and leaves it, and lets it go."""
    with manager:
        pass
    del manager
    collect()


@pytest.mark.parametrize("ends", ["producers", "consumers"])
def test_a_manager_that_can_never_complete_warns(ends):
    """Each worker has made its own of three: the queue would never be shut down."""
    queue = Queue()
    with pytest.warns(RuntimeWarning, match=rf"{ends}\(3\) was garbage-collected after 1 of 3 had left .*outside the workers"):
        use_once(getattr(queue, ends)(3))
    assert not queue.is_shutdown


def test_managers_that_do_not_warn():
    """One that nobody has entered, one whose end has come, and one of a queue that has been shut down otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        queue = Queue()
        with queue.producers():
            pass
        unused, late = Queue().producers(3), queue.producers(3)
        with late:
            pass
        del unused, late
        gc.collect()


def test_the_classes_have_names():
    """For annotations."""
    queue: Queue[int] = Queue()
    producing: Producers[Queue[int]] = queue.producers()
    consuming: Consumers[Queue[int]] = queue.consumers()
    assert (type(producing), type(consuming)) == (Producers, Consumers)
    with producing as one, consuming as other:
        assert one is other is queue


@pytest.mark.parametrize("ends", ["producers", "consumers"])
def test_a_subclass_whose_shutdown_knows_no_error(ends):
    """It is called as it is declared, and the error is told all the same."""

    class Own(Queue):
        def shutdown(self, immediate=False):
            seen.append(immediate)
            super().shutdown(immediate)

    seen, queue = [], Own()
    with pytest.raises(OSError, match="the disk"), getattr(queue, ends)(1):
        raise OSError("the disk")
    assert seen == [ends == "consumers"]
    with pytest.raises(ShutDown) as raised:
        queue.put(1)
    assert isinstance(raised.value.__cause__, OSError)
