"""Lines that become objects where they are received: what of that must not be seen, and what may."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time

import pytest
from channels import items_into
from helpers import PATIENCE, collect, on_loops, spawn, wait_until

from sluicegate import AckChannel, ChannelCancelled, CreditChannel, Empty, Full
from sluicegate.io import read_chunks, read_lines, write_from

WIDE = "\u00fc\u20ac\U0001f600"
TEXTS = {
    "ascii": [f"{n:06d} {'x' * (n % 40)}" for n in range(3000)],
    "utf-8": [f"{n:06d} {WIDE * (n % 9)}" for n in range(3000)],
    "short": [str(n) if n % 3 else "" for n in range(3000)],
}
texts = pytest.mark.parametrize("lines", list(TEXTS.values()), ids=list(TEXTS))


def write(path, lines, end="\n"):
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def stands(channel):
    """Wait until everything for which there is credit has arrived, and the rest waits."""
    wait_until(lambda: channel.statistics().waiting_senders == 1)


# --------------------------------------------------------------------------------------------------------- what comes out


async def all_async(receiver):
    return [line async for line in receiver]


async def one_by_one_async(receiver):
    lines = []
    try:
        while True:
            lines.append(await receiver.receive_async())
    except Exception:
        return lines


def one_by_one(receiver):
    lines = []
    try:
        while True:
            lines.append(receiver.receive(PATIENCE))
    except Exception:
        return lines


def without_waiting(receiver):
    lines = []
    while True:
        try:
            lines.append(receiver.receive_nowait())
        except Empty:
            continue
        except Exception:
            return lines


def in_batches(size):
    def take(receiver):
        lines = []
        try:
            while True:
                batch = receiver.receive_many(size)
                assert 0 < len(batch) <= size
                lines += batch
        except Exception:
            return lines

    return take


def subscribed(receiver):
    lines, over = [], threading.Event()
    receiver.subscribe(on_next=lines.append, on_complete=over.set, on_error=lambda error: over.set())
    assert over.wait(PATIENCE)
    return lines


WAYS = {
    "for": list,
    "receive": one_by_one,
    "receive_nowait": without_waiting,
    "receive_many(1)": in_batches(1),
    "receive_many(7)": in_batches(7),
    "receive_many(5000)": in_batches(5000),
    "async for": lambda receiver: asyncio.run(all_async(receiver)),
    "receive_async": lambda receiver: asyncio.run(one_by_one_async(receiver)),
    "subscribe": subscribed,
}


@pytest.mark.parametrize("window", [1, 100, 10_000])
@pytest.mark.parametrize("take", list(WAYS.values()), ids=list(WAYS))
@texts
def test_however_they_are_received(tmp_path, lines, take, window):
    channel = CreditChannel(window)
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    assert take(channel.receiver) == lines
    assert transfer.result(PATIENCE) == len(lines)
    seen = channel.statistics()
    assert (seen.sent, seen.received, seen.discarded) == (len(lines), len(lines), 0)
    assert seen.peak_outstanding <= window


@pytest.mark.parametrize("keep_ends", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("encoding", ["utf-8", None, "latin-1"])
def test_ends(tmp_path, keep_ends, end, encoding):
    lines = TEXTS["short"]
    channel = CreditChannel()
    read_lines(write(tmp_path / "f", lines, end), channel.sender, encoding=encoding, keep_ends=keep_ends)
    expected = [line + end * keep_ends for line in lines]
    assert list(channel.receiver) == ([line.encode() for line in expected] if encoding is None else expected)


def test_small_chunks(tmp_path):
    content = random.Random(5).randbytes(20_000)
    path = tmp_path / "f"
    path.write_bytes(content)
    channel = CreditChannel(100, weigh=len)
    transfer = read_chunks(path, channel.sender, chunk_size=7)
    chunks = list(channel.receiver)
    assert b"".join(chunks) == content
    assert {len(chunk) for chunk in chunks[:-1]} == {7}
    assert transfer.result(PATIENCE) == len(content)


def test_to_be_settled(tmp_path):
    channel = AckChannel(50)
    read_lines(write(tmp_path / "f", TEXTS["ascii"]), channel.sender)
    lines = []
    for delivery in channel.receiver:
        with delivery:
            lines.append(delivery.value)
    assert lines == TEXTS["ascii"]


@texts
def test_from_file_to_file(tmp_path, lines):
    """No object is made for any of them."""
    source, target = write(tmp_path / "f", lines), tmp_path / "g"
    channel = CreditChannel(77)
    reading = read_lines(source, channel.sender, keep_ends=True)
    assert write_from(channel.receiver, target).result(PATIENCE) == source.stat().st_size
    assert reading.result(PATIENCE) == len(lines)
    assert target.read_bytes() == source.read_bytes()


def test_four_receivers(tmp_path):
    lines = TEXTS["utf-8"]
    channel = CreditChannel(64)
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    parts = [spawn(take, channel.receiver) for take in (list, one_by_one, in_batches(5), in_batches(100))]
    parts = [part.result(PATIENCE) for part in parts]
    for part in parts:
        assert part == sorted(part)
    assert sorted(sum(parts, [])) == lines
    assert transfer.result(PATIENCE) == len(lines)


# ------------------------------------------------------------------------------------------------------------ while it stands


@texts
def test_the_channel_sends_by_itself(tmp_path, lines):
    """A receiver gives credit back, and finds the next lines there, whatever the reader's thread does meanwhile. (Up to the end of
    a block; the first is of 16 KiB.)"""
    path = write(tmp_path / "f", lines)
    channel = CreditChannel(10)
    transfer = read_lines(path, channel.sender)
    stands(channel)
    assert transfer.items == 10
    for taken in range(0, 300, 5):
        assert [channel.receiver.receive_nowait() for _ in range(5)] == lines[taken : taken + 5]
        assert channel.statistics().buffered == 10
        assert transfer.items == taken + 15
        assert transfer.bytes == len("".join(line + "\n" for line in lines[: taken + 15]).encode())
    assert channel.statistics().waiting_senders == 1
    channel.receiver.cancel()
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)


def test_none_comes_after_cancel(tmp_path):
    """From that very moment, not from when the reader's thread has noticed."""
    lines = TEXTS["ascii"]
    channel = CreditChannel(10)
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    stands(channel)
    got = []
    for _ in range(20):
        transfer.cancel()
        before = transfer.items
        got += channel.receiver.receive_many(100)
        assert got == lines[:before]
        with pytest.raises(Empty):
            channel.receiver.receive_nowait()
        assert transfer.items == before
        transfer.resume()
        got.append(channel.receiver.receive(PATIENCE))
    assert got + list(channel.receiver) == lines
    assert transfer.result(PATIENCE) == len(lines)


def test_others_wait_behind_it(tmp_path):
    """First come, first served, and items among lines in the order in which they were sent."""
    lines = TEXTS["short"][:500]
    channel = CreditChannel(10)
    one, two = channel.sender.clone(), channel.sender.clone()
    one.send("first")
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    stands(channel)
    with pytest.raises(Full):
        one.send_nowait("too early")
    waiting = spawn(one.send, "last")
    wait_until(lambda: channel.statistics().waiting_senders == 2)
    got = [channel.receiver.receive() for _ in range(100)]
    two.complete()
    while len(got) < 502:
        got += channel.receiver.receive_many(3)
    waiting.result(PATIENCE)
    one.complete()
    assert got == ["first", *lines, "last"]
    assert transfer.result(PATIENCE) == 500
    assert list(channel.receiver) == []


def test_items_between_two_files(tmp_path):
    lines = TEXTS["ascii"][:200]
    path = write(tmp_path / "f", lines)
    channel = CreditChannel(10_000)
    for turn in range(3):
        channel.sender.send_many([turn, "item"])
        read_lines(path, channel.sender, complete=False).result(PATIENCE)
    channel.sender.send("end")
    channel.sender.complete()
    expected = [item for turn in range(3) for item in (turn, "item", *lines)] + ["end"]
    assert channel.statistics().buffered == len(expected)
    assert channel.receiver.receive_many(150) + list(channel.receiver) == expected


@texts
def test_what_is_left_is_discarded_in_order(tmp_path, lines):
    """The callback gets what a receiver would have got; what was still waiting was never sent."""
    discarded = []
    channel = CreditChannel(1000, on_discard=items_into(discarded))
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    stands(channel)
    got = [channel.receiver.receive() for _ in range(250)]
    channel.receiver.cancel()
    assert got + discarded == lines[:1000]
    assert channel.statistics().discarded == 750
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)
    assert transfer.items == 1000


@pytest.mark.parametrize("encoding", ["utf-8", None])
@texts
def test_weighed_by_length(tmp_path, lines, encoding):
    """Characters for str, bytes for bytes; a line of nothing needs a slot."""
    channel = CreditChannel(90, weigh=len)
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender, encoding=encoding)
    expected = lines if encoding else [line.encode() for line in lines]
    got = []
    while len(got) < len(lines):
        got.append(channel.receiver.receive())
        seen = channel.statistics()
        assert seen.outstanding == sum(len(line) for line in expected[len(got) : len(got) + seen.buffered]) <= 90
        assert seen.buffered <= 90
    assert got == expected
    assert transfer.result(PATIENCE) == len(lines)
    assert channel.statistics().sent_weight == sum(len(line) for line in expected)


@pytest.mark.parametrize("bad", [40, 1500, 2990])
def test_a_heavy_line_among_many(tmp_path, bad):
    """Those before it come, in full, and then the error."""
    lines = list(TEXTS["ascii"])
    lines[bad] = "x" * 2000
    channel = CreditChannel(1000, weigh=len)
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    got = []
    with pytest.raises(ValueError, match=rf"^item {bad + 1} of .* weighs 2000: more than .* which is 1000$"):
        for line in channel.receiver:
            got.append(line)  # noqa: PERF402 - what came before the error
    assert got == lines[:bad]
    with pytest.raises(ValueError, match="weighs 2000"):
        transfer.result(PATIENCE)
    assert transfer.items == bad


@pytest.mark.parametrize("bad", [0, 33, 2999])
def test_a_line_that_is_no_text_among_many(tmp_path, bad):
    content = [line.encode() for line in TEXTS["utf-8"]]
    content[bad] = b"\xff"
    path = tmp_path / "f"
    path.write_bytes(b"".join(line + b"\n" for line in content))
    channel = CreditChannel(100)
    read_lines(path, channel.sender)
    got = []
    with pytest.raises(UnicodeDecodeError, match=f"in line {bad + 1} of"):
        for line in channel.receiver:
            got.append(line)  # noqa: PERF402 - what came before the error
    assert got == TEXTS["utf-8"][:bad]


def test_demand_by_hand(tmp_path):
    """Without a window: as many as are asked for, the moment they are."""
    lines = TEXTS["ascii"]
    channel = CreditChannel(0, buffer=100)
    transfer = read_lines(write(tmp_path / "f", lines), channel.sender)
    stands(channel)
    got = []
    for n in (1, 2, 30, 60):
        channel.receiver.credit.request(n)
        assert channel.statistics().buffered == n
        got += channel.receiver.receive_many(100)
    channel.receiver.credit.request(150)
    assert channel.statistics().buffered == 100  # the bound
    got += [channel.receiver.receive() for _ in range(150)]
    assert channel.receiver.credit.drain() == 0
    assert got == lines[: 1 + 2 + 30 + 60 + 150]
    channel.receiver.credit.pause()
    channel.receiver.credit.request(5)
    assert channel.statistics().buffered == 0
    channel.receiver.credit.resume()
    assert channel.statistics().buffered == 5
    channel.receiver.cancel()
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)


@on_loops
async def test_two_readers_take_turns(tmp_path):
    """Two files, one channel, one line: each gets what there is credit for when it is its turn."""
    paths = [write(tmp_path / name, [f"{name}{n}" for n in range(2000)]) for name in "ab"]
    channel = CreditChannel(16)
    transfers = [read_lines(path, sender) for path, sender in zip(paths, (channel.sender, channel.sender.clone()), strict=True)]
    got = [line async for line in channel.receiver]
    assert [await transfer for transfer in transfers] == [2000, 2000]
    for name in "ab":
        assert [line for line in got if line[0] == name] == [f"{name}{n}" for n in range(2000)]


@pytest.mark.thread_unsafe(reason="collects the process's garbage")
def test_a_channel_that_is_let_go(tmp_path):
    """With lines in it, and a reader that waits: both end."""
    channel = CreditChannel(100)
    transfer = read_lines(write(tmp_path / "f", TEXTS["ascii"]), channel.sender)
    stands(channel)
    del channel
    collect()
    with pytest.raises(ChannelCancelled):
        transfer.result(PATIENCE)
    assert transfer.items == 100


MARKED = [
    "",
    "\ufeff",
    "\ufeffone",
    "\ufeff\none\n",
    "\ufeff\ufeffone\n\ufefftwo\n",
    "one\n\ufefftwo\n",
    "\ufeff" + "long " * 9000 + "\nend\n",
    "\ufeffü\n",
]


@pytest.mark.parametrize("text", MARKED, ids=range(len(MARKED)))
@pytest.mark.parametrize("encoding", ["utf-8-sig", "UTF_8_SIG", "utf-8"])
def test_a_byte_order_mark(tmp_path, text, encoding):
    """As the builtin `open` reads it: skipped at the very beginning by utf-8-sig, and an ordinary character everywhere else."""
    path = tmp_path / "f"
    path.write_bytes(text.encode())
    channel = CreditChannel(10)
    read_lines(path, channel.sender, encoding=encoding)
    with path.open(encoding=encoding, newline="\n") as file:
        assert list(channel.receiver) == [line.removesuffix("\n") for line in file]


@pytest.mark.skipif(os.name != "posix", reason="a pipe")
@pytest.mark.parametrize(
    "parts", [[b"\xef", b"\xbb", b"\xbfone\ntwo\n"], [b"\xef\xbb\xbf", b"one\n", b"two\n"], [b"\xef\xbb", b"\xbf\xc3", b"\xbc\n"]]
)
def test_a_byte_order_mark_in_pieces(parts):
    """As it comes out of a pipe."""
    reading, writing = os.pipe()
    channel = CreditChannel(10)
    transfer = read_lines(reading, channel.sender, encoding="utf-8-sig")
    os.close(reading)
    for part in parts:
        os.write(writing, part)
        time.sleep(0.02)  # most likely it has been read; if not, the test asks for less
    os.close(writing)
    assert list(channel.receiver) == b"".join(parts).decode("utf-8-sig").splitlines()
    assert transfer.exception() is None
