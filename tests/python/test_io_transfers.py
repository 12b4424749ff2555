"""A `Transfer` beside asyncio's own tasks and futures, and at the end of the program."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import pytest
from helpers import on_loops, run_script

from sluicegate import CreditChannel
from sluicegate.io import read_lines

TASK_GROUP = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup is new in Python 3.11")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("".join(f"{n}\n" for n in range(1000)))
    return path


@TASK_GROUP
@on_loops
async def test_in_a_task_group(file):
    async with asyncio.TaskGroup() as group:
        channel = CreditChannel(16)
        reading = group.create_task(read_lines(file, channel.sender).result_async())
        seen = [line async for line in channel.receiver]
    assert reading.result() == len(seen) == 1000


@TASK_GROUP
@on_loops
async def test_a_task_group_that_fails(file):
    """It cancels the transfer, which can go on."""
    channel = CreditChannel(16)
    transfer = read_lines(file, channel.sender)

    async def fail():
        await asyncio.sleep(0)
        raise OSError("elsewhere")

    with pytest.raises(BaseExceptionGroup):  # noqa: F821 - from Python 3.11 on
        async with asyncio.TaskGroup() as group:
            group.create_task(transfer.result_async())
            group.create_task(fail())
    assert transfer.cancelled()
    transfer.resume()
    assert len([line async for line in channel.receiver]) == 1000
    assert await transfer == 1000


@on_loops
async def test_asyncio_wait(file):
    """Of two, the one that has ended is `done`; on 3.10 that is a task around it."""
    one, two = CreditChannel(2000), CreditChannel(2)
    ends, goes_on = read_lines(file, one.sender), read_lines(file, two.sender)
    done, pending = await asyncio.wait([ends, goes_on], return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == len(pending) == 1
    assert next(iter(done)).result() == 1000
    if sys.version_info >= (3, 11):
        assert (done, pending) == ({ends}, {goes_on})
    two.receiver.cancel()
    done, pending = await asyncio.wait([goes_on], return_when=asyncio.FIRST_EXCEPTION)
    assert pending == set() and "receiver" in str(next(iter(done)).exception())


@on_loops
async def test_asyncio_wait_in_vain(file):
    """What it had added is taken away again."""
    channel = CreditChannel(2)
    transfer = read_lines(file, channel.sender)
    done, pending = await asyncio.wait([transfer], timeout=0.01)
    assert not done and len(pending) == 1
    called = []
    transfer.add_done_callback(called.append)
    transfer.add_done_callback(called.append)
    assert (transfer.remove_done_callback(called.append), transfer.remove_done_callback(called.append)) == (2, 0)
    transfer.add_done_callback(called.append)
    assert len([line async for line in channel.receiver]) == 1000
    await asyncio.wait([asyncio.ensure_future(transfer)])
    for _ in range(100):
        await asyncio.sleep(0.001)
        if called:
            break
    assert called == [transfer]
    reference = weakref.ref(transfer)
    del transfer, pending
    called.clear()
    gc.collect()
    assert sys.version_info < (3, 11) or reference() is None


def test_exception(file):
    one, two, three = CreditChannel(2000), CreditChannel(2), CreditChannel(2)
    assert read_lines(file, one.sender).exception() is None
    failing = read_lines(file, two.sender)
    with pytest.raises(TimeoutError):
        failing.exception(0.01)
    two.receiver.cancel()
    error = failing.exception(10)
    assert type(error).__name__ == "ChannelCancelled"
    with pytest.raises(type(error)) as caught:
        failing.result()
    assert caught.value is error
    cancelled = read_lines(file, three.sender)
    cancelled.cancel()
    with pytest.raises(BaseException, match="resume"):
        cancelled.exception(10)


@pytest.mark.parametrize("how", ["running", "ended", "cancelled"])
def test_a_write_at_exit(how, tmp_path):
    """What has not been written is lost then: that is said, unless it was stopped on purpose."""
    script = """
import sys
from sluicegate import CreditChannel
from sluicegate.io import write_from
path, how = sys.argv[1:]
channel = CreditChannel()
transfer = write_from(channel.receiver, path)
channel.sender.send("text")
if how == "ended":
    channel.sender.complete()
    transfer.result()
elif how == "cancelled":
    transfer.cancel()
import warnings
warnings.showwarning = lambda message, category, *_: print(category.__name__, message)
"""
    told = run_script(script, tmp_path / "out", how, limit=30)
    if how == "running":
        assert told.startswith("RuntimeWarning write_from to") and "was still running when the program ended" in told
    else:
        assert told == ""
