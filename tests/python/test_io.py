"""`sluicegate.io`: real files, real sockets on loopback."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import random
import socket
import struct
import sys
import threading
from pathlib import Path

import pytest
from channels import items_into
from helpers import PATIENCE, collect, eventually, on_loops, run_script, spawn, wait_until

from sluicegate import AckChannel, ChannelCancelled, ChannelClosed, CreditChannel, Full
from sluicegate.io import feed, pump, read_chunks, read_lines, write_from
from sluicegate.testing import ManualClock

LINES = [f"line {n} of a file that is read, \u00fc or not" for n in range(5000)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("".join(f"{line}\n" for line in LINES).encode())
    return path


def threads():
    return len([*Path("/proc/self/task").iterdir()]) if sys.platform == "linux" else threading.active_count()


@pytest.fixture
def no_thread_left():
    before = threads()
    yield
    wait_until(lambda: threads() <= before)


def drain(receiver):
    """Everything until the end, and the error if that is one."""
    items = []
    try:
        items.extend(receiver)
    except Exception as error:
        return items, error
    return items, None


@contextlib.contextmanager
def peer():
    """A connected pair of TCP sockets, the first to be used by its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


# ---------------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
@pytest.mark.parametrize("window", [1, 7, 256, 100_000])
def test_lines_of_a_file(file, window, no_thread_left):
    channel = CreditChannel(window)
    transfer = read_lines(file, channel.sender)
    assert drain(channel.receiver) == (LINES, None)
    assert transfer.result(PATIENCE) == len(LINES) == transfer.items
    assert transfer.bytes == file.stat().st_size
    assert channel.statistics().peak_outstanding <= window


@pytest.mark.parametrize("chunk_size", [2**36, sys.maxsize // 2])
def test_chunks_larger_than_memory(file, chunk_size):
    script = """
        import sys
        from sluicegate import CreditChannel
        from sluicegate.io import read_chunks
        channel = CreditChannel()
        read_chunks(sys.argv[1], channel.sender, chunk_size=int(sys.argv[2]))
        print(*map(len, channel.receiver))
    """
    assert run_script(script, file, chunk_size).split() == [str(file.stat().st_size)]


@pytest.mark.parametrize("as_source", [str, os.fsencode, lambda path: path], ids=["str", "bytes", "PathLike"])
def test_sources_by_path(file, as_source):
    channel = CreditChannel()
    read_lines(as_source(file), channel.sender)
    assert drain(channel.receiver) == (LINES, None)


def test_a_descriptor_is_read_from_where_it_stands(file):
    with file.open("rb", buffering=0) as opened:
        opened.seek(len(LINES[0].encode()) + 1)
        channel = CreditChannel()
        transfer = read_lines(opened.fileno(), channel.sender)
    assert drain(channel.receiver) == (LINES[1:], None)
    assert transfer.result(PATIENCE) == len(LINES) - 1


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (b"", {}, []),
        (b"\n", {}, [""]),
        (b"a", {}, ["a"]),
        (b"a\r\nb\n\nc", {}, ["a", "b", "", "c"]),
        (b"a\r\nb\n\nc", {"keep_ends": True}, ["a\r\n", "b\n", "\n", "c"]),
        (b"a\rb\n", {}, ["a\rb"]),
        (b"\xff\n", {"encoding": None}, [b"\xff"]),
        (b"\xff\n", {"encoding": "latin-1"}, ["\xff"]),
        (b"\xff\n", {"errors": "surrogateescape"}, ["\udcff"]),
        ("\u20ac\U0001f600\n".encode(), {}, ["\u20ac\U0001f600"]),
        (b"\xef\xbb\xbfa\n", {}, ["\ufeffa"]),
        (b"x" * 300_000 + b"\ny\n", {}, ["x" * 300_000, "y"]),
    ],
)
def test_what_a_line_is(tmp_path, content, options, expected):
    path = tmp_path / "f"
    path.write_bytes(content)
    channel = CreditChannel()
    read_lines(path, channel.sender, **options)
    assert drain(channel.receiver) == (expected, None)


@pytest.mark.parametrize("manual", [True, False])
def test_what_becomes_due_gives_credit_back(file, manual):
    """Nobody else looks: a delivery that is never settled is given up at its time, and the next line comes."""
    clock = ManualClock() if manual else None
    given_up = []
    channel = AckChannel(1, ack_wait=10 if manual else 0.05, max_deliver=1, on_discard=items_into(given_up), clock=clock)
    transfer = read_lines(file, channel.sender)
    held = []
    for number in range(3):
        held.append(channel.receiver.receive(PATIENCE))
        assert held[-1].value == LINES[number]
        wait_until(lambda: channel.statistics().waiting_senders == 1)
        if manual:
            clock.wait_for_waiters(1, PATIENCE)
            clock.advance(10)
        wait_until(lambda: transfer.items == number + 2)  # noqa: B023
        assert given_up == LINES[: number + 1]
    channel.receiver.cancel()
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)
    if manual:
        assert clock.waiters == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("through", ["a file", "a pipe"])
def test_lines_across_blocks(tmp_path, through, seed):
    """Whatever the lines' lengths, and wherever a block or a write ends: between a carriage return and its line feed, too."""
    dice = random.Random(seed)
    alphabet = "abc \r" if seed % 2 else "abc \r\u00fc\u20ac"
    longest = dice.choice([3, 100, 20_000, 400_000])
    data = bytearray()
    while len(data) < 1_500_000:
        line = dice.choice(alphabet) * dice.randrange(longest)
        data += line.encode() + dice.choice([b"\n", b"\n", b"\r\n"])
    if dice.random() < 0.5:
        data += b"the last one, without an end"
    expected = [line.removesuffix("\r") for line in data.decode().split("\n")]
    if not expected[-1]:
        expected.pop()
    channel = CreditChannel(dice.choice([1, 50, 5000]) if longest > 100 else 5000)
    if through == "a file":
        path = tmp_path / "f"
        path.write_bytes(data)
        transfer = read_lines(path, channel.sender)
    else:
        readable, writable = os.pipe()
        transfer = read_lines(readable, channel.sender)
        os.close(readable)

        def write():
            with os.fdopen(writable, "wb", buffering=0) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left[: dice.randrange(1, 100_000)]) :]

        writer = spawn(write)
    assert drain(channel.receiver) == (expected, None)
    assert transfer.result(PATIENCE) == len(expected)
    assert transfer.bytes == len(data)
    if through == "a pipe":
        writer.result()


@pytest.mark.parametrize("window", [1000, 70_000, 10**6])
@pytest.mark.parametrize("weigh", [None, len, lambda chunk: len(chunk)], ids=["items", "len", "a function"])
def test_chunks(tmp_path, weigh, window):
    data = os.urandom(300_001)
    path = tmp_path / "f"
    path.write_bytes(data)
    channel = CreditChannel(window, weigh=weigh)
    transfer = read_chunks(path, channel.sender, chunk_size=1000)
    chunks, error = drain(channel.receiver)
    assert error is None
    assert [len(chunk) for chunk in chunks] == [1000] * 300 + [1]
    assert b"".join(chunks) == data
    assert transfer.result(PATIENCE) == len(data)


def test_a_chunk_fits_the_window(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(1000))
    channel = CreditChannel(300, weigh=len)
    read_chunks(path, channel.sender)
    assert [len(chunk) for chunk in channel.receiver] == [300, 300, 300, 100]


@pytest.mark.parametrize("encoding", ["utf-8", None])
def test_weighed_by_length(file, encoding):
    channel = CreditChannel(500, weigh=len)
    read_lines(file, channel.sender, encoding=encoding)
    lines, error = drain(channel.receiver)
    assert error is None
    assert lines == (LINES if encoding else [line.encode() for line in LINES])
    assert 250 < channel.statistics().peak_outstanding <= 500


def test_several_sources_through_one_sender(file):
    channel = CreditChannel()

    def read():
        with channel.sender as sender:
            return [read_lines(file, sender, complete=False).result(PATIENCE) for _ in range(2)]

    reader = spawn(read)
    assert drain(channel.receiver) == (LINES * 2, None)
    assert reader.result() == [len(LINES)] * 2


def test_deliveries(file):
    channel = AckChannel(window=64)
    read_lines(file, channel.sender)
    got = []
    for delivery in channel.receiver:
        with delivery:
            got.append(delivery.value)
    assert got == LINES


def test_bad_arguments(file):
    channel = CreditChannel()
    with channel.receiver, channel.sender as sender:
        for source in (None, 1.5, True, ["x"]):
            with pytest.raises(TypeError, match="'source' must be a path"):
                read_lines(source, sender)
        for address in (("localhost",), ("localhost", -1), ("localhost", 70000), (1, 2)):
            with pytest.raises(ValueError, match="if it is an address"):
                read_lines(address, sender)
        with pytest.raises(OSError, match="Bad file descriptor"):
            read_lines(-1, sender)
        with pytest.raises(OSError, match="Bad file descriptor"):
            read_lines(10**6, sender)
        with pytest.raises(LookupError):
            read_lines(file, sender, encoding="no such thing")
        with pytest.raises(LookupError):
            read_lines(file, sender, errors="no such thing")
        with pytest.raises(ValueError, match="line feed"):
            read_lines(file, sender, encoding="utf-16")
        with pytest.raises(ValueError, match="chunk_size"):
            read_chunks(file, sender, chunk_size=0)
        for read in (read_lines, read_chunks):
            for wrong in (channel, channel.receiver):
                with pytest.raises(TypeError, match=r"'sender' must be the Sender of a channel, as in `channel.sender`, not <sluicegate\."):
                    read(file, wrong)
        with pytest.raises(TypeError, match=r"'receiver' must be the Receiver of a channel, as in `channel.receiver`, not <sluicegate\."):
            write_from(channel, file)
        with pytest.raises(TypeError, match=r"'sender' must be the Sender of a channel"):
            asyncio.run(feed([], channel))
        assert channel.statistics().state == "open"
    with pytest.raises(ChannelClosed):
        read_lines(file, channel.sender)


# ----------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_file_that_is_not_there(tmp_path, no_thread_left):
    channel = CreditChannel()
    transfer = read_lines(tmp_path / "gone", channel.sender)
    with pytest.raises(FileNotFoundError) as told:
        transfer.result(PATIENCE)
    assert told.value.filename == str(tmp_path / "gone")
    assert drain(channel.receiver) == ([], told.value)


def test_a_folder(tmp_path):
    channel = CreditChannel()
    transfer = read_chunks(tmp_path, channel.sender)
    with pytest.raises(IsADirectoryError):
        transfer.result(PATIENCE)
    assert isinstance(drain(channel.receiver)[1], IsADirectoryError)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_line_that_cannot_be_decoded(tmp_path, encoding):
    path = tmp_path / "f"
    path.write_bytes(b"good\n" * 300 + b"b\xffd\n" + b"after\n")
    channel = CreditChannel(16)
    transfer = read_lines(path, channel.sender, encoding=encoding)
    lines, error = drain(channel.receiver)
    assert lines == ["good"] * 300
    assert isinstance(error, UnicodeDecodeError)
    assert error.object == b"b\xffd"
    assert "line 301" in str(error)
    assert "f" in str(error)
    with pytest.raises(UnicodeDecodeError) as told:
        transfer.result(PATIENCE)
    assert told.value is error


@pytest.mark.parametrize("encoding", ["utf-8", None])
@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("length", [101, 500, 1_000_000])
def test_a_line_longer_than_the_window(tmp_path, encoding, end, length):
    path = tmp_path / "f"
    path.write_bytes(b"short\n" * 40 + b"x" * length + end)
    channel = CreditChannel(100, weigh=len)
    transfer = read_lines(path, channel.sender, encoding=encoding)
    lines, error = drain(channel.receiver)
    assert len(lines) == 40
    assert isinstance(error, ValueError)
    assert "item 41" in str(error)
    assert "100" in str(error)
    with pytest.raises(ValueError, match="item 41"):
        transfer.result(PATIENCE)


def test_a_line_longer_than_the_limit(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"a\n" + b"x" * 1001)
    channel = CreditChannel()
    read_lines(path, channel.sender, limit=1000)
    lines, error = drain(channel.receiver)
    assert lines == ["a"]
    assert "1000" in str(error)


def test_weigh_that_raises(file):
    def weigh(line):
        if line == LINES[300]:
            raise LookupError("no weight")
        return 1

    channel = CreditChannel(64, weigh=weigh)
    transfer = read_lines(file, channel.sender)
    lines, error = drain(channel.receiver)
    assert lines == LINES[:300]
    assert isinstance(error, LookupError)
    with pytest.raises(LookupError, match="no weight"):
        transfer.result(PATIENCE)


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_receiver_that_goes(file, no_thread_left):
    channel = CreditChannel(10)
    transfer = read_lines(file, channel.sender)
    assert channel.receiver.receive(PATIENCE) == LINES[0]
    channel.receiver.cancel()
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)


# ---------------------------------------------------------------------------------------------------------------------- sockets


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_socket_by_address(no_thread_left):
    channel = CreditChannel(64)
    with peer() as server:
        transfer = read_lines(server.getsockname(), channel.sender)
        client, _ = server.accept()
        with client:
            client.sendall(b"one\ntw")
            assert channel.receiver.receive(PATIENCE) == "one"
            client.sendall(b"o\nthree")
            assert channel.receiver.receive(PATIENCE) == "two"
    assert drain(channel.receiver) == (["three"], None)
    assert transfer.result(PATIENCE) == 3


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_a_unix_socket(tmp_path):
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        channel = CreditChannel()
        read_lines(f"unix:{path}", channel.sender)
        client, _ = server.accept()
        with client:
            client.sendall(b"hello\n")
    assert drain(channel.receiver) == (["hello"], None)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    channel = CreditChannel()
    transfer = read_lines(address, channel.sender)
    with pytest.raises(ConnectionRefusedError, match=str(address[1])):
        transfer.result(PATIENCE)


def test_a_socket_that_resets():
    channel = CreditChannel()
    with peer() as server:
        transfer = read_lines(server.getsockname(), channel.sender)
        client, _ = server.accept()
        client.sendall(b"before\n")
        assert channel.receiver.receive(PATIENCE) == "before"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    lines, error = drain(channel.receiver)
    assert lines == []
    assert isinstance(error, ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        transfer.result(PATIENCE)


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_silent_socket_is_left_when_the_receiver_goes(no_thread_left):
    channel = CreditChannel()
    with peer() as server:
        transfer = read_lines(server.getsockname(), channel.sender)
        client, _ = server.accept()
        with client:
            client.sendall(b"one\n")
            assert channel.receiver.receive(PATIENCE) == "one"
            channel.receiver.cancel()
            with pytest.raises(ChannelCancelled):
                transfer.result(PATIENCE)
            assert client.recv(1) == b""


def test_a_slow_reader_stops_the_writer_at_the_other_end():
    channel = CreditChannel(10_000, weigh=len)
    with peer() as server:
        read_chunks(server.getsockname(), channel.sender)
        client, _ = server.accept()
        with client:
            client.setblocking(False)
            accepted = 0

            def stalls():
                nonlocal accepted
                try:
                    while True:
                        accepted += client.send(bytes(65536))
                except BlockingIOError:
                    return True

            # Nobody receives: what the kernel keeps, one block and the window are all there is room for.
            stalls()
            wait_until(lambda: channel.statistics().waiting_senders == 1)
            for _ in range(20):
                stalls()
            assert channel.statistics().outstanding <= 10_000
            assert accepted < 64 * 2**20
            stuck = accepted
            got = 0
            while got < stuck:
                got += len(channel.receiver.receive(PATIENCE))
            wait_until(lambda: stalls() and accepted > stuck)
    channel.receiver.cancel()


def test_a_pipe_and_a_fifo(tmp_path):
    reads, writes = os.pipe()
    channel = CreditChannel()
    transfer = read_lines(reads, channel.sender)
    os.close(reads)
    os.write(writes, b"a\nb")
    assert channel.receiver.receive(PATIENCE) == "a"
    os.close(writes)
    assert drain(channel.receiver) == (["b"], None)
    assert transfer.result(PATIENCE) == 2

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    channel = CreditChannel()
    read_lines(fifo, channel.sender)
    fifo.write_text("through a fifo\n")
    assert drain(channel.receiver) == (["through a fifo"], None)


# ----------------------------------------------------------------------------------------------------- stopping, and going on


@on_loops
async def test_await_gives_the_count(file):
    channel = CreditChannel(100)
    transfer = read_lines(file, channel.sender)
    got = [line async for line in channel.receiver]
    assert got == LINES
    assert await transfer == len(LINES)
    assert await transfer == len(LINES)


@on_loops
async def test_await_raises_the_error(tmp_path):
    channel = CreditChannel()
    with pytest.raises(FileNotFoundError):
        await read_lines(tmp_path / "gone", channel.sender)


@on_loops
async def test_a_cancelled_await_stops_at_an_item_and_resume_gives_the_rest(file):
    channel = CreditChannel(50)
    transfer = read_lines(file, channel.sender)
    got = []
    while True:
        waiter = asyncio.ensure_future(transfer)
        for _ in range(600):
            try:
                got.append(await asyncio.wait_for(channel.receiver.receive_async(), PATIENCE))
            except ChannelClosed:
                break
        waiter.cancel()
        try:
            count = await waiter
            break
        except asyncio.CancelledError:
            pass
        sent = transfer.items
        if not transfer.cancelled():  # it was at its end when its waiter was cancelled
            count = await transfer
            break
        await eventually(transfer.done)
        while (buffered := channel.statistics().buffered) > 0:
            got.append(channel.receiver.receive_nowait())
        assert buffered == 0
        # Nothing more has come, although there is credit.
        assert transfer.items == sent == len(got)
        assert transfer.bytes == len("".join(line + "\n" for line in got).encode())
        transfer.resume()
    got.extend(channel.receiver)
    assert count == len(LINES)
    assert got == LINES


def test_cancel_and_resume_from_a_thread(file):
    channel = CreditChannel(10)
    transfer = read_lines(file, channel.sender)
    got = [channel.receiver.receive(PATIENCE)]
    transfer.cancel()
    transfer.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        transfer.result(PATIENCE)
    assert "cancelled" in repr(transfer)
    assert transfer.resume() is transfer
    got.extend(channel.receiver)
    assert got == LINES
    assert transfer.result(PATIENCE) == len(LINES)
    assert transfer.resume().result() == len(LINES)


def test_counts_are_exact_however_often_it_is_stopped(file):
    # A receiver gives credit all the time, so the channel sends by itself while the transfer is taken back.
    for _ in range(10):
        channel = CreditChannel(16)
        transfer = read_lines(file, channel.sender)
        receiving = spawn(drain, channel.receiver)
        while not transfer.done() or transfer.cancelled():
            transfer.cancel()
            transfer.resume()
        assert receiving.result(PATIENCE) == (LINES, None)
        assert (transfer.result(PATIENCE), transfer.items, transfer.bytes) == (len(LINES), len(LINES), file.stat().st_size)


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_silent_socket_stops_and_goes_on(no_thread_left):
    channel = CreditChannel()
    with peer() as server:
        transfer = read_lines(server.getsockname(), channel.sender)
        client, _ = server.accept()
        with client:
            client.sendall(b"one\nt")
            assert channel.receiver.receive(PATIENCE) == "one"
            transfer.cancel()
            with pytest.raises(concurrent.futures.CancelledError):
                transfer.result(PATIENCE)
            client.sendall(b"wo\nthree\n")
            assert channel.statistics().buffered == 0
            transfer.resume()
            assert channel.receiver.receive(PATIENCE) == "two"
    assert drain(channel.receiver) == (["three"], None)


def test_result_in_time(file):
    channel = CreditChannel(1)
    transfer = read_lines(file, channel.sender)
    with pytest.raises(TimeoutError):
        transfer.result(0)
    with pytest.raises(TimeoutError):
        transfer.result(0.001)
    assert not transfer.done()
    channel.receiver.cancel()
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)
    assert transfer.done()


@pytest.mark.thread_unsafe(reason="waits for warnings of the garbage collector")
def test_a_stopped_transfer_that_is_let_go(file):
    channel = CreditChannel(1)
    receiver = channel.receiver
    transfer = read_lines(file, channel.sender)
    transfer.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        transfer.result(PATIENCE)
    channel.sender.complete()
    del transfer, channel
    collect()
    assert drain(receiver)[0] in ([], LINES[:1])


# ---------------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_write_to_a_file(tmp_path, no_thread_left):
    path = tmp_path / "out"
    path.write_text("what was there before")
    channel = CreditChannel(16)
    transfer = write_from(channel.receiver, path)
    with channel.sender as sender:
        for line in LINES:
            sender.send(line)
            sender.send(b"\n")
        sender.send(bytearray(b"b"))
        sender.send(memoryview(b"m"))
    expected = "".join(f"{line}\n" for line in LINES).encode() + b"bm"
    assert transfer.result(PATIENCE) == len(expected)
    assert path.read_bytes() == expected
    assert transfer.items == 2 * len(LINES) + 2

    channel = CreditChannel()
    transfer = write_from(channel.receiver, path, append=True)
    with channel.sender as sender:
        sender.send(b"more")
    assert transfer.result(PATIENCE) == 4
    assert path.read_bytes() == expected + b"more"


def test_from_a_socket_to_a_file_and_back(tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "in").write_bytes(data)
    there, back = CreditChannel(100_000, weigh=len), CreditChannel(100_000, weigh=len)
    with peer() as server:
        read_chunks(tmp_path / "in", there.sender)
        writing = write_from(there.receiver, server.getsockname())
        client, _ = server.accept()
        with client:
            read_chunks(client.fileno(), back.sender)
            received = write_from(back.receiver, tmp_path / "out")
            assert writing.result(PATIENCE) == len(data)
            assert received.result(PATIENCE) == len(data)
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is full is needed")  # noqa: PTH110 - a device
@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_full_disk(no_thread_left):
    channel = CreditChannel(4)
    transfer = write_from(channel.receiver, "/dev/full")
    with pytest.raises(ChannelCancelled) as told:
        while True:
            channel.sender.send(b"x" * 1000, timeout=PATIENCE)
    assert isinstance(told.value.__cause__, OSError)
    assert told.value.__cause__.strerror == "No space left on device"
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        transfer.result(PATIENCE)


@pytest.mark.parametrize(("kind", "unwritten"), [(CreditChannel, ["after"]), (AckChannel, [5, "after"])])
def test_an_item_that_cannot_be_written(tmp_path, kind, unwritten):
    """What has been received is the transfer's, an item that is no bytes too; but a delivery is the channel's until it is settled."""
    given_up = []
    channel = kind(on_discard=items_into(given_up))
    with channel.sender as sender:
        sender.send_many(["good", 5, "after"])
    transfer = write_from(channel.receiver, tmp_path / "out")
    with pytest.raises(TypeError, match="int"):
        transfer.result(PATIENCE)
    assert (tmp_path / "out").read_text() == "good"
    assert (given_up, transfer.items) == (unwritten, 1)


@pytest.mark.parametrize("window", [1, 7, 10_000])
def test_deliveries_are_acked_when_they_are_written(tmp_path, window):
    channel, lines = AckChannel(window), LINES[: 500 * window]  # with a window of one each line is a hand-over from thread to thread
    transfer = write_from(channel.receiver, tmp_path / "out")
    with channel.sender as sender:
        sender.send_many([b"", *(line.encode() for line in lines), ""])
    assert transfer.result(PATIENCE) == transfer.bytes == (tmp_path / "out").stat().st_size
    assert (tmp_path / "out").read_text() == "".join(lines)
    seen = channel.statistics()
    assert (seen.received, seen.redelivered, seen.discarded, seen.stale) == (len(lines) + 2, 0, 0, 0)
    assert channel.receiver.settled_through == transfer.items == len(lines) + 2
    assert seen.peak_outstanding <= window


def test_deliveries_of_nothing_are_acked(tmp_path):
    channel = AckChannel(2)
    transfer = write_from(channel.receiver, tmp_path / "out")
    with channel.sender as sender:
        sender.send_many([b""] * 9)
    assert (transfer.result(PATIENCE), transfer.items) == (0, 9)


def test_a_delivery_is_out_while_it_is_written():
    """Credit comes back with the last byte: what a slow peer has not taken counts."""
    with peer() as server:
        channel = AckChannel(4)
        transfer = write_from(channel.receiver, server.getsockname())
        connection, _ = server.accept()
        with connection:
            sent = 0
            try:
                while True:
                    channel.sender.send(b"x" * 1_000_000, timeout=0.5)
                    sent += 1
            except Full:
                pass
            seen = channel.statistics()
            assert (seen.outstanding, seen.credit) == (4, 0)
            assert seen.unacked > 0
            assert channel.receiver.settled_through == transfer.items == sent - 4
            taken = spawn(lambda: sum(map(len, iter(lambda: connection.recv(1 << 20), b""))))
            channel.sender.complete()
            assert transfer.result(PATIENCE) == taken.result(PATIENCE) == sent * 1_000_000
    assert channel.receiver.settled_through == sent


def test_deliveries_that_were_not_written_are_reported():
    given_up = []
    channel = AckChannel(100, on_discard=items_into(given_up))
    items = [bytes([n]) * 1000 for n in range(10)]
    channel.sender.send_many(items)
    transfer = write_from(channel.receiver, "/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        transfer.result(PATIENCE)
    assert given_up == items
    seen = channel.statistics()
    assert (seen.unacked, seen.state) == (0, "cancelled")


@pytest.mark.parametrize("manual", [True, False])
def test_a_delivery_that_comes_back_is_written_when_it_is_due(tmp_path, manual):
    clock = ManualClock() if manual else None
    channel = AckChannel(clock=clock)
    with channel.sender as sender:
        sender.send_many(["a", "b"])
    channel.receiver.receive().nack(delay=10 if manual else 0.05)
    transfer = write_from(channel.receiver, tmp_path / "out")
    if manual:
        clock.wait_for_waiters(1)
        assert transfer.items == 1
        clock.advance(10)
    assert transfer.result(PATIENCE) == 2
    assert (tmp_path / "out").read_text() == "ba"


@on_loops
async def test_writing_deliveries_stops_and_goes_on(tmp_path):
    """Whenever it is stopped, what was received has been written, and is settled."""
    channel = AckChannel(5)
    transfer = write_from(channel.receiver, tmp_path / "out")
    for turn in range(20):
        await channel.sender.send_many_async([f"{turn} {n}\n" for n in range(7)])
        transfer.cancel()
        await eventually(transfer.done)
        assert channel.statistics().unacked == 0
        assert channel.receiver.settled_through == transfer.items
        assert transfer.bytes == (tmp_path / "out").stat().st_size
        transfer.resume()
    channel.sender.complete()
    await transfer
    assert (tmp_path / "out").read_text() == "".join(f"{turn} {n}\n" for turn in range(20) for n in range(7))


def test_a_sender_that_fails(tmp_path):
    channel = CreditChannel()
    channel.sender.send("before")
    channel.sender.fail(LookupError("the sender's own"))
    with pytest.raises(LookupError, match="own"):
        write_from(channel.receiver, tmp_path / "out").result(PATIENCE)
    assert (tmp_path / "out").read_text() == "before"


def test_a_peer_that_goes_while_we_write():
    channel = CreditChannel(4)
    with peer() as server:
        transfer = write_from(channel.receiver, server.getsockname())
        server.accept()[0].close()
        with pytest.raises(ChannelCancelled):
            while True:
                channel.sender.send(b"x" * 10_000, timeout=PATIENCE)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        transfer.result(PATIENCE)


@on_loops
async def test_writing_stops_and_goes_on(tmp_path):
    path = tmp_path / "out"
    channel = CreditChannel(16)
    transfer = write_from(channel.receiver, path)
    await channel.sender.send_async("one")
    await eventually(lambda: transfer.items == 1)
    waiter = asyncio.ensure_future(transfer)
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await channel.sender.send_async("two")
    await eventually(transfer.done)
    assert channel.statistics().buffered == 1
    assert path.read_text() == "one"
    channel.sender.complete()
    assert await transfer.resume() == 6
    assert path.read_text() == "onetwo"


# -------------------------------------------------------------------------------------------------------------------- pump, feed


class Crowd:
    """An asyncio server, and what each of its connections does."""

    def __init__(self, handle):
        self.handle = handle
        self.tasks = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0, backlog=256)
        self.address = self.server.sockets[0].getsockname()
        return self

    async def connected(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        try:
            await self.handle(reader, writer)
        finally:
            writer.close()

    async def __aexit__(self, *exc):
        self.server.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()


@on_loops
async def test_two_hundred_writers_on_one_server():
    window, each, crowd = 32_768, 20_000, 200
    channel = CreditChannel(window, weigh=len)

    async def handle(reader, writer):
        with channel.sender.clone() as sender:
            await pump(reader, sender, chunk_size=4096, complete=False)

    async def write(address):
        _, writer = await asyncio.open_connection(*address)
        writer.write(bytes(each))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    total = highest = 0
    async with Crowd(handle) as server:
        writers = [asyncio.ensure_future(write(server.address)) for _ in range(crowd)]
        while total < crowd * each:
            highest = max(highest, channel.statistics().outstanding)
            total += len(await asyncio.wait_for(channel.receiver.receive_async(), PATIENCE))
        await asyncio.gather(*writers)
    channel.sender.complete()
    assert total == crowd * each
    assert highest <= window
    assert window // 2 < channel.statistics().peak_outstanding <= window


@on_loops
async def test_two_hundred_writers_on_one_connection():
    window, size, crowd, rounds = 65_536, 1000, 200, 50
    channel = CreditChannel(window, weigh=len)
    gate = asyncio.Event()
    highest = 0

    async def handle(reader, writer):
        nonlocal highest
        sizes = asyncio.ensure_future(watch(writer))
        await pump(channel.receiver, writer)
        sizes.cancel()

    async def watch(writer):
        nonlocal highest
        while True:
            highest = max(highest, writer.transport.get_write_buffer_size() + channel.statistics().outstanding)
            await asyncio.sleep(0)

    async def send(sender):
        with sender:
            for _ in range(rounds):
                await sender.send_async(bytes(size))

    async with Crowd(handle) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        senders = [asyncio.ensure_future(send(channel.sender.clone())) for _ in range(crowd)]
        channel.sender.complete()
        await eventually(lambda: channel.statistics().waiting_senders > 0)
        gate.set()
        total = 0
        while data := await reader.read(65536):
            total += len(data)
        await asyncio.gather(*senders)
        writer.close()
        await writer.wait_closed()
    assert total == crowd * size * rounds
    assert channel.statistics().peak_outstanding <= window
    assert highest <= window + 65_536 + size  # the transport's own limit, and one item


@on_loops
async def test_pump_fails_the_channel_with_the_readers_error():
    reader = asyncio.StreamReader()
    reader.feed_data(b"before")
    channel = CreditChannel()
    pumping = asyncio.ensure_future(pump(reader, channel.sender))
    assert await channel.receiver.receive_async() == b"before"
    reader.set_exception(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError):
        await pumping
    with pytest.raises(ConnectionResetError):
        await channel.receiver.receive_async()


@on_loops
async def test_a_cancelled_pump_loses_nothing():
    reader = asyncio.StreamReader()
    channel = CreditChannel(4, weigh=len)
    other = channel.sender.clone()
    pumping = asyncio.ensure_future(pump(reader, channel.sender))
    await asyncio.sleep(0)
    other.send(b"1234")  # it has looked for credit, and waits for data
    reader.feed_data(b"abcd")
    await eventually(lambda: channel.statistics().waiting_senders == 1)
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    assert channel.receiver.receive() == b"1234"
    other.complete()
    reader.feed_data(b"efgh")
    reader.feed_eof()
    pumping = asyncio.ensure_future(pump(reader, channel.sender))
    assert b"".join([item async for item in channel.receiver]) == b"abcdefgh"
    assert await pumping == 8


def test_pump_refuses_what_it_does_not_know():
    async def main():
        with pytest.raises(TypeError, match="pump needs"):
            await pump(asyncio.StreamReader(), asyncio.StreamReader())
        with CreditChannel().sender as sender:
            with pytest.raises(ValueError, match="chunk_size"):
                await pump(asyncio.StreamReader(), sender, chunk_size=0)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["iterator", "async iterator"])
@on_loops
async def test_feed_takes_only_as_demand_allows(kind):
    taken = []

    def numbers():
        for n in range(10):
            taken.append(n)
            yield n

    async def numbers_async():
        for n in numbers():
            yield n

    channel = CreditChannel(0, buffer=100)
    feeding = asyncio.ensure_future(feed(numbers() if kind == "iterator" else numbers_async(), channel.sender))
    for asked in (1, 3, 2):
        due = len(taken) + asked
        channel.receiver.credit.request(asked)
        await eventually(lambda due=due: channel.statistics().sent == due)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(taken) == due
    channel.receiver.credit.request(100)
    assert await feeding == 10
    assert [n async for n in channel.receiver] == list(range(10))


@on_loops
async def test_feed_passes_an_error_on():
    async def numbers():
        yield 1
        raise LookupError("of the source")

    channel = CreditChannel()
    with pytest.raises(LookupError):
        await feed(numbers(), channel.sender)
    assert channel.receiver.receive() == 1
    with pytest.raises(LookupError, match="of the source"):
        channel.receiver.receive()


@on_loops
async def test_feed_closes_its_source_when_the_receiver_goes():
    closed = asyncio.Event()

    async def numbers():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    channel = CreditChannel(2)
    feeding = asyncio.ensure_future(feed(numbers(), channel.sender))
    await eventually(lambda: channel.statistics().waiting_senders == 1)
    channel.receiver.cancel()
    with pytest.raises(ChannelCancelled):
        await feeding
    assert closed.is_set()


@on_loops
async def test_feed_of_heavy_items():
    async def words():
        for word in ("a", "abc", "", "ab"):
            yield word

    channel = CreditChannel(3, weigh=len)
    feeding = asyncio.ensure_future(feed(words(), channel.sender))
    assert [word async for word in channel.receiver] == ["a", "abc", "", "ab"]
    assert await feeding == 4


# ----------------------------------------------------------------------------------------------------------------- fork and exit


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork(file):
    run_script(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from sluicegate import CreditChannel
        from sluicegate.io import read_lines

        def lines():
            channel = CreditChannel()
            transfer = read_lines(sys.argv[1], channel.sender)
            return len(list(channel.receiver)), transfer.result(30)

        channel = CreditChannel(1)
        going = read_lines(sys.argv[1], channel.sender)
        channel.receiver.receive(30)
        child = os.fork()
        if child == 0:
            try:
                try:
                    going.result(30)
                except RuntimeError as error:
                    assert "fork" in str(error), error
                # What stood in line was the parent's.
                assert channel.receiver.receive(30).startswith("line 1 ")
                channel.sender.send("the child's own", 30)
                assert channel.receiver.receive(30) == "the child's own"
                assert (going.items, channel.statistics().waiting_senders) == (2, 0)
                assert lines() == (5000, 5000)
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sum(1 for _ in channel.receiver) == 4999
        assert lines() == (5000, 5000)
        """,
        file,
    )


@pytest.mark.parametrize("how", ["waiting for credit", "reading", "weighing", "awaited on a thread"])
def test_the_interpreter_ends_while_it_runs(file, how):
    for _ in range(3):
        run_script(
            """
            import asyncio, os, sys, threading
            from sluicegate import CreditChannel
            from sluicegate.io import read_lines

            how = sys.argv[2]
            channel = CreditChannel(1 if how != "weighing" else 10**9, weigh=(lambda line: 1) if how == "weighing" else None)
            source = os.pipe()[0] if how == "reading" else sys.argv[1]
            transfer = read_lines(source, channel.sender)
            if how == "awaited on a thread":
                async def main():
                    await transfer
                threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
            if how != "reading":
                channel.receiver.receive(30)
            """,
            file,
            how,
            quiet=how != "awaited on a thread",
        )
