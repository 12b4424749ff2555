"""Transfers between files or sockets and credit channels.

`read_lines`, `read_chunks` and `write_from` read, split and write without the GIL, on threads of their own, and take the GIL only to
pass on many items at once. `pump` and `feed` are written in Python and connect a channel with asyncio streams and with iterables.

All of them obey the channel's backpressure: while the receiver grants no credit, nothing is read, and a socket's window then stops the
writer at the other end.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import AsyncIterable, Callable, Iterable
from contextvars import Context
from typing import Any, TypeVar, Union, overload

from sluicegate._arguments import count, text
from sluicegate._exceptions import ChannelClosed, ChannelError
from sluicegate._methods import set_methods

try:
    from sluicegate._core import Transfer, _io_close, _read_chunks, _read_lines, _write_from
except ImportError:
    raise ImportError("sluicegate.io needs an extension built with the cargo feature 'tokio', and this one was built without it") from None

from sluicegate._credits import Receiver, Sender

__all__ = ["Transfer", "feed", "pump", "read_chunks", "read_lines", "write_from"]

_T = TypeVar("_T")

#: A path, a descriptor, an address; a str that begins with "unix:" is the address of a Unix socket.
Endpoint = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]", int, "tuple[str, int]"]

atexit.register(_io_close)


class _TransferMethods:
    def __await__(self: Any) -> Any:
        """Wait until the transfer has ended, and return the number of items (lines) or bytes.

        Raises the error that ended it. If it is cancelled while it waits, the transfer stops as after `cancel`, and
        `resume` continues it.
        """
        return _wait(self).__await__()

    async def result_async(self: Any) -> int:
        """Wait until the transfer has ended, from a coroutine, and return the number of items (lines) or bytes.

        The same as `await transfer`, as a coroutine function: `group.create_task(transfer.result_async())`.
        """
        return await _wait(self)

    def add_done_callback(self: Any, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Have the running event loop call `callback(transfer)` once the transfer has ended, or stopped after `cancel`.

        Together with `remove_done_callback`, `done` and `exception` this is what `asyncio.wait` needs.

        Raises RuntimeError if no event loop is running.
        """
        completion = self._completion()
        _completions.setdefault(self, []).append((callback, completion))

        def call(completion: Any) -> None:
            if _forget(self, completion) and not completion.cancelled():
                callback(self)

        completion.add_done_callback(call, context=context)

    def remove_done_callback(self: Any, callback: Callable[[Any], object]) -> int:
        """Remove all instances of `callback`, and return how many there were."""
        removed = [completion for added, completion in _completions.get(self, ()) if added == callback]
        for completion in removed:
            _forget(self, completion)
            completion.cancel()
        return len(removed)


#: The callbacks that have not been called, each with the future that calls it.
_completions: weakref.WeakKeyDictionary[Transfer, list[tuple[Callable[[Any], object], asyncio.Future[None]]]] = weakref.WeakKeyDictionary()


def _forget(transfer: Transfer, completion: Any) -> bool:
    """False if it was removed before."""
    added = _completions.get(transfer, [])
    left = [entry for entry in added if entry[1] is not completion]
    if left:
        _completions[transfer] = left
    else:
        _completions.pop(transfer, None)
    return len(left) < len(added)


async def _wait(transfer: Any) -> int:
    while not transfer.done():
        try:
            await transfer._completion()
        except BaseException:
            transfer.cancel()
            raise
    return transfer._outcome()


set_methods(_TransferMethods, Transfer)


@overload
def read_lines(
    source: Endpoint,
    sender: Sender[str],
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    keep_ends: bool = False,
    limit: int = 2**24,
    complete: bool = True,
) -> Transfer: ...
@overload
def read_lines(
    source: Endpoint,
    sender: Sender[bytes],
    *,
    encoding: None,
    errors: str = "strict",
    keep_ends: bool = False,
    limit: int = 2**24,
    complete: bool = True,
) -> Transfer: ...
def read_lines(
    source: Endpoint,
    sender: Sender[Any],
    *,
    encoding: str | None = "utf-8",
    errors: str = "strict",
    keep_ends: bool = False,
    limit: int = 2**24,
    complete: bool = True,
) -> Transfer:
    r"""Send every line of `source` through `sender`; return the running Transfer.

    `source` is a path, a file descriptor (an int; it is duplicated, and read from its current position), an address `(host, port)`, or a
    str "unix:path". A line ends with "\n"; unless `keep_ends` is true, the "\n" and a "\r" before it are removed. Lines are str, decoded
    with `encoding` and `errors` as by `bytes.decode`, or bytes with `encoding=None`. A line longer than `limit` bytes, or heavier than
    the channel's window, is an error. Of the functions for `weigh`, `len` is the fastest.

    The transfer waits for credit in the same first come, first served wait queue as other senders. A line becomes a Python object in
    the thread that receives it; if that raises MemoryError, the line is lost.

    At the end of the source the sender completes, unless `complete` is False. An error (of the source, of decoding, of `weigh`) makes
    the sender fail: the receiver gets every line before it, and then exactly this exception, which awaiting the transfer raises too.

    Raises TypeError, ValueError, LookupError or OverflowError for bad arguments, OSError for a descriptor that is not open,
    ChannelError if the sender has ended.
    """
    _check_end("sender", sender, Sender)
    return _read_lines(source, sender, encoding, errors, keep_ends, limit, complete)


def read_chunks(source: Endpoint, sender: Sender[bytes], *, chunk_size: int = 65536, complete: bool = True) -> Transfer:
    """Send the contents of `source` through `sender`, as bytes; return the running Transfer.

    A file is sent in chunks of `chunk_size` bytes, the last one shorter. From a socket or a pipe a chunk is what is available, at most
    `chunk_size` bytes. On a channel with `weigh=len` a chunk is never larger than the window. Everything else works as in `read_lines`.
    """
    _check_end("sender", sender, Sender)
    return _read_chunks(source, sender, chunk_size, complete)


def write_from(receiver: Receiver[Any], target: Endpoint, *, append: bool = False) -> Transfer:
    """Write the items that `receiver` receives to `target`, in order; return the running Transfer.

    Items are bytes, any object with a buffer, or str, which is written as UTF-8; nothing is written between them. `target` is given like
    `source` in `read_lines`; a file is created, and emptied unless `append` is true. At the end of the channel the target is closed.

    Each delivery of an AckChannel is acked when its last byte has been written. A delivery that is requeued meanwhile, after `ack_wait`,
    is written again, and so is one that was written in part before an error.

    An error of the target, or an item of another type, cancels the receiver: senders get ChannelCancelled with the error as its cause, and
    awaiting the transfer raises the error. If a sender fails, the items sent before are written, and awaiting raises the sender's error.

    If it is still running when the program ends, what has not been written is lost, with a RuntimeWarning: wait for it.

    Raises TypeError, ValueError or OverflowError for bad arguments, OSError for a descriptor that is not open.
    """
    _check_end("receiver", receiver, Receiver)
    return _write_from(receiver, target, append)


def _check_end(name: str, end: Any, kind: type) -> None:
    """A channel is given in the place of its end more often than anything else."""
    if not isinstance(end, kind):
        raise TypeError(f"'{name}' must be the {kind.__name__} of a channel, as in `channel.{name}`, not {text(end)}")


@overload
async def pump(source: asyncio.StreamReader, target: Sender[bytes], *, chunk_size: int = 65536, complete: bool = True) -> int: ...
@overload
async def pump(source: Receiver[Any], target: asyncio.StreamWriter) -> int: ...
async def pump(source: Any, target: Any, *, chunk_size: int = 65536, complete: bool = True) -> int:
    """Move bytes from a StreamReader into a channel, or from a channel into a StreamWriter; return the number of bytes.

    From a reader: nothing is read while there is no credit, so the reader's limit, and then the socket's buffers, stop the writer at the
    other end. At the end of the stream the sender completes, unless `complete` is False; an error makes the sender fail, and is raised.

    To a writer: each item is written when the one before it has been drained. At the end of the channel the writer is left open. An error
    of the writer cancels the receiver, and is raised; a sender's error is raised.

    If it is cancelled, nothing is lost: bytes that were read and not sent are put back into the reader.
    """
    if isinstance(source, Receiver):
        return await _pump_out(source, target)
    if isinstance(target, Sender):
        return await _pump_in(source, target, count("chunk_size", chunk_size, 1), complete)
    raise TypeError(f"pump needs a Receiver as its source or a Sender as its target, not {source!r} and {target!r}")


async def _pump_in(reader: Any, sender: Any, chunk_size: int, complete: bool) -> int:
    moved = 0
    data = b""
    try:
        while True:
            await sender.wait_ready_async(1)
            # Never more than there is credit for, if that is counted in bytes.
            wanted = min(chunk_size, max(1, sender.credit)) if sender._weighs_length else chunk_size
            data = await reader.read(int(wanted))
            if not data:
                break
            await sender.send_async(data)
            moved += len(data)
            data = b""
    except Exception as error:
        sender.fail(error)
        raise
    except BaseException as error:
        if data:
            _put_back(reader, data, error)
        raise
    if complete:
        sender.complete()
    return moved


def _put_back(reader: Any, data: bytes, error: BaseException) -> None:
    buffer = getattr(reader, "_buffer", None)
    if isinstance(buffer, bytearray):
        buffer[:0] = data
    else:
        error.pending = data  # type: ignore[attr-defined]


async def _pump_out(receiver: Any, writer: Any) -> int:
    moved = 0
    while True:
        try:
            item = await receiver.receive_async()
        except ChannelClosed:
            return moved
        try:
            # Nothing to await in between: a cancellation finds the item received and written, or neither.
            data = item.encode() if isinstance(item, str) else item
            writer.write(data)
            moved += memoryview(data).nbytes
            await writer.drain()
        except Exception:
            receiver.cancel()
            raise


async def feed(source: Iterable[_T] | AsyncIterable[_T], sender: Sender[_T], *, complete: bool = True) -> int:
    """Send every item of an iterable or async iterable; return the number of items.

    An item is taken from the source only when there is credit for one; a list, a tuple and other collections of up to 4096 items are read
    at once. At the end of the source the sender completes, unless `complete` is False; an error of the source makes the sender fail, and
    is raised. If the receiver has cancelled or is gone, ChannelCancelled is raised, and an async generator is closed.

    If it is cancelled, the sender and the source stay open. An item that had been taken by then, and turned out to weigh more than there
    was credit for, is in the exception's `pending`.
    """
    _check_end("sender", sender, Sender)
    sending: Any = sender
    try:
        if isinstance(source, AsyncIterable):
            moved = await _feed_async(source, sending)
        else:
            moved = await sending.send_many_async(source)
    except ChannelError:
        raise
    except Exception as error:
        sender.fail(error)
        raise
    if complete:
        sender.complete()
    return moved


async def _feed_async(source: Any, sender: Any) -> int:
    iterator = source.__aiter__()
    moved = 0
    try:
        while True:
            async with sender.permit() as permit:
                try:
                    item = await iterator.__anext__()
                except StopAsyncIteration:
                    return moved
                try:
                    permit.send(item)
                    sent = True
                except ValueError:
                    sent = False
            if not sent:  # it weighs more than one, if its weight can be told at all
                try:
                    await sender.send_async(item)
                except asyncio.CancelledError as error:
                    error.pending = item  # type: ignore[attr-defined]
                    raise
            del item
            moved += 1
    except ChannelError:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
        raise
