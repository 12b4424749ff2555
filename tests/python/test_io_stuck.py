"""Native I/O when something does not answer, and when there are no threads to be had: the others go on."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest
from helpers import PATIENCE, run_script, wait_until

from sluicegate import CreditChannel
from sluicegate.io import read_lines, write_from

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="where the kernel tells readiness of what blocks, and /proc"),
    pytest.mark.thread_unsafe(reason="counts the threads of the process"),
]

#: More than any pool has threads.
MANY = 520


def threads():
    return len([*Path("/proc/self/task").iterdir()])


@contextlib.contextmanager
def descriptors(count):
    """So many may be open at once."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"at most {hard} descriptors may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def full_pipe():
    """One that blocks, with room for nothing."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 65536)
    os.set_blocking(writing, True)
    return reading, writing


def full_socket():
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            mine.send(b"x" * 65536)
    mine.setblocking(True)
    return theirs.detach(), mine.detach()


def copy_a_file(tmp_path):
    source = tmp_path / "lines"
    source.write_text("".join(f"{n}\n" for n in range(5000)))
    channel = CreditChannel(1000)
    reading = read_lines(source, channel.sender)
    writing = write_from(channel.receiver, tmp_path / "copy")
    assert reading.result(PATIENCE) == 5000
    assert writing.result(PATIENCE) == source.stat().st_size - 5000  # without line ends


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_writing_to_what_takes_nothing(tmp_path, kind):
    """Each waits for its own descriptor, without a thread: files are copied meanwhile, and each goes on once somebody reads."""
    make = full_pipe if kind == "pipe" else full_socket
    with descriptors(4 * MANY + 200), contextlib.ExitStack() as stack:
        ends = [make() for _ in range(MANY)]
        for end in ends:
            for descriptor in end:
                stack.callback(os.close, descriptor)
        before, channels, transfers = threads(), [], []
        for _, writing in ends:
            channel = CreditChannel(4)
            channel.sender.send(b"the item")
            channels.append(channel)
            transfers.append(write_from(channel.receiver, writing))
        wait_until(lambda: all(channel.statistics().buffered == 0 for channel in channels))
        copy_a_file(tmp_path)
        assert threads() <= before + MANY // 10
        assert not any(transfer.done() for transfer in transfers)
        assert os.get_blocking(ends[0][1]), "the flags are the others' too"
        for channel in channels:
            channel.sender.complete()
        for (reading, _), transfer in zip(ends[:3], transfers[:3], strict=True):
            read = b""
            while not read.endswith(b"the item"):
                read += os.read(reading, 1 << 20)
            assert transfer.result(PATIENCE) == 8
        for transfer in transfers[3:]:
            transfer.cancel()
        # A cancelled transfer still writes what it had received: that goes with its channel here.
        for reading, _ in ends[3:]:
            os.set_blocking(reading, False)
        pending = list(zip(ends[3:], transfers[3:], strict=True))
        while pending:
            for (reading, _), _transfer in pending:
                with contextlib.suppress(BlockingIOError):
                    os.read(reading, 1 << 20)
            pending = [(end, transfer) for end, transfer in pending if not transfer.done()]


def test_fifos_without_a_reader(tmp_path):
    """They wait to be opened, without a thread; a reader that comes gets what was sent."""
    with descriptors(4 * MANY + 200):
        before, transfers = threads(), []
        for n in range(MANY):
            os.mkfifo(tmp_path / f"fifo{n}")
            channel = CreditChannel(4)
            channel.sender.send(b"the item")
            channel.sender.complete()
            transfers.append(write_from(channel.receiver, tmp_path / f"fifo{n}"))
        copy_a_file(tmp_path)
        assert threads() <= before + MANY // 10
        assert not any(transfer.done() for transfer in transfers)
        for n in range(3):
            assert (tmp_path / f"fifo{n}").read_bytes() == b"the item"
            assert transfers[n].result(PATIENCE) == 8
        for transfer in transfers[3:]:
            transfer.cancel()
        wait_until(lambda: all(transfer.done() for transfer in transfers))


def test_what_cannot_be_opened_for_writing_is_an_error(tmp_path):
    """Only a FIFO is waited for."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        channel = CreditChannel(4)
        channel.sender.send(b"the item")
        assert isinstance(write_from(channel.receiver, path).exception(PATIENCE), OSError)


#: glibc keeps the stacks of threads that have ended, for those to come.
NO_STACKS_KEPT = "GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=0"

STARVED = """
    import os, resource, sys, threading, time
    from sluicegate import CreditChannel, Full
    from sluicegate.io import read_lines, write_from

    def threads():
        return len(os.listdir("/proc/self/task"))

    def names():
        for task in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{task}/comm") as name:
                    yield name.read()
            except OSError:
                pass  # it has ended meanwhile

    released, others = threading.Event(), []

    def without_threads():
        '''A stack does not fit any more, and those that the C library keeps of threads that have ended are taken.'''
        while sum(not name.startswith("sluicegate-io") for name in names()) > alone:
            time.sleep(0.01)  # an idle thread, or one that a transfer starts to see if it can: what it leaves would be room for another
        pages = int(open("/proc/self/statm").read().split()[0])
        most = pages * resource.getpagesize() + 1_900_000
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        threading.stack_size(1 << 20)  # half of what a transfer's thread asks for
        while True:
            other = threading.Thread(target=released.wait, daemon=True)
            try:
                other.start()
            except RuntimeError:
                break
            others.append(other)

    def with_threads():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        threading.stack_size(0)
        released.set()
        for other in others:
            other.join()

    path, alone = sys.argv[1], threads()
    print(CreditChannel(1).statistics().state)  # what is imported when it is first needed is there
    open(os.devnull).close()
"""


def test_no_thread_for_the_first_transfer(tmp_path, monkeypatch):
    """It is refused, and holds nothing: neither the sender nor a descriptor. Later it works."""
    monkeypatch.setenv(*NO_STACKS_KEPT)
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    script = (
        STARVED
        + """
    channel = CreditChannel(8)
    descriptors = len(os.listdir("/proc/self/fd"))
    source = os.open(path, os.O_RDONLY)
    without_threads()
    for what in (path, source):
        try:
            read_lines(what, channel.sender)
        except OSError as error:
            print(type(error).__name__, "thread" in str(error))
        else:
            print("it was started")
    with_threads()
    os.close(source)
    for _ in range(1000):
        if threads() == alone:
            break
        time.sleep(0.01)
    print(threads() - alone, len(os.listdir("/proc/self/fd")) - descriptors, channel.statistics().state)
    print(read_lines(path, channel.sender).result(20), list(channel.receiver))
    """
    )
    assert run_script(script, path).splitlines() == ["open", "OSError True", "OSError True", "0 0 open", "2 ['one', 'two']"]


def test_no_thread_for_a_file(tmp_path, monkeypatch):
    """The transfer ends with the error; those that need none go on."""
    monkeypatch.setenv(*NO_STACKS_KEPT)
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    script = (
        STARVED
        + """
    reading, writing = os.pipe()
    other, channel = CreditChannel(8), CreditChannel(8)
    transfer = read_lines(reading, other.sender)
    os.write(writing, b"first\\n")
    print(other.receiver.receive(20))
    without_threads()
    failed = read_lines(path, channel.sender).exception(20)
    print(type(failed).__name__, "no thread could be started" in str(failed))
    os.write(writing, b"second\\n")
    print(other.receiver.receive(20), channel.statistics().state)
    with_threads()
    channel = CreditChannel(8)
    print(read_lines(path, channel.sender).result(20), list(channel.receiver))
    os.close(writing)
    print(transfer.result(20))
    """
    )
    assert run_script(script, path).splitlines() == ["open", "first", "OSError True", "second failed", "2 ['one', 'two']", "2"]
