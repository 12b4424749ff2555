"""The `map` of a `BoundedExecutor`: lazy, with `buffersize` as in Python 3.14, and in order.

The iterator submits a job in the place of each result that is taken. A chunk of several items is one job. It returns the results before an
error together with the error, so that they come first.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque

from sluicegate._arguments import count, patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from datetime import timedelta
    from typing import Any, NoReturn, TypeAlias

    from typing_extensions import Self

    _Seconds: TypeAlias = float | timedelta

__all__ = ["CallEach", "map_jobs"]


def map_jobs(
    submit: Callable[..., Future[Any]],
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: _Seconds | None,
    chunksize: int,
    buffersize: int | None,
) -> Generator[Any, None, None]:
    """Return an iterator over `fn(*items)`, whose calls are jobs that `submit` submits."""
    # What CPython's executors say of these arguments, their users may look for.
    if buffersize is not None:
        sentences = {"not_an_int": "buffersize must be an integer or None", "too_small": "buffersize must be None or > 0"}
        buffersize = count("buffersize", buffersize, 1, sys.maxsize, **sentences)
    chunksize = count("chunksize", chunksize, 1, sys.maxsize, too_small="chunksize must be >= 1")
    limit = patience("timeout", timeout)
    end = None if limit is None else limit + time.monotonic()
    try:
        items: Iterator[Any] = zip(*iterables)  # noqa: B905 - as `map` does
    except TypeError:
        for each in iterables:
            if not (hasattr(type(each), "__iter__") or hasattr(type(each), "__getitem__")):
                raise TypeError(
                    f"map() takes iterables of items after the function, not {each!r}; the number of workers is an argument of the executor"
                ) from None
        raise
    if chunksize > 1:
        size = chunksize if buffersize is None else min(chunksize, buffersize)
        items, fn = _chunks(items, size), CallEach(fn)
        buffersize = None if buffersize is None else buffersize // size
    futures: deque[Future[Any]] = deque()
    error: BaseException | None = None
    try:
        for args in items if buffersize is None else itertools.islice(items, buffersize):
            futures.append(submit(fn, *args))
    except BaseException as raised:
        if buffersize is None:
            for future in futures:
                future.cancel()
            raise
        error = raised
    is_all = error is not None or buffersize is None or len(futures) < buffersize  # and the executor may be collected
    results = _results(futures, None if is_all else submit, fn, items, end, error)
    return _MapResults(futures, results if chunksize == 1 else _flat(results))


class _MapResults(map):  # type: ignore[type-arg]
    """What `map` returns: a generator whose `close` cancels the jobs also if no result was taken.

    A generator that has not begun runs none of its code when it is closed. The class is a `map`, so that `next` stays in C: the generator
    yields a list from which `list.pop` takes the result.
    """

    __slots__ = ("__weakref__", "_futures", "_results")

    _futures: deque[Future[Any]]
    _results: Any  # a generator, of the built-in kind

    def __new__(cls, futures: deque[Future[Any]], results: Generator[list[Any], None, None]) -> Self:
        self = super().__new__(cls, list.pop, results)
        self._futures = futures
        self._results = results
        return self

    def send(self, value: Any) -> Any:
        # A signal handler that raises between two calls here would leave a result in the list: no call returns before this method does.
        for result in map(list.pop, map(self._results.send, (value,))): return result  # noqa: E701  # fmt: skip
        raise StopIteration

    def throw(self, *error: Any) -> Any:
        try:
            return self._results.throw(*error)  # it catches nothing, and so it yields nothing
        finally:
            self._cancel()

    def close(self) -> None:
        self._results.close()
        self._cancel()

    def _cancel(self) -> None:
        """Cancel the jobs that are left, once the generator has ended: one that had not begun has no `finally` that does it."""
        if self._results.gi_frame is None:
            for future in self._futures:
                future.cancel()
            self._futures.clear()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle or copy what map() of a BoundedExecutor returns: its jobs are running")


def _results(
    futures: deque[Future[Any]],
    submit: Callable[..., Future[Any]] | None,
    fn: Callable[..., Any],
    items: Iterator[Any],
    end: float | None,
    error: BaseException | None,
) -> Generator[list[Any], None, None]:
    """Yield lists from which the result is to be popped, so that this frame does not keep it."""
    head: list[Any] = []
    try:
        while futures:
            head.append(futures[0].result(None if end is None else end - time.monotonic()))
            futures.popleft()
            if submit is not None:
                # In the place of the result that is about to be taken. An error here comes after the results before it.
                try:
                    for args in items:
                        futures.append(submit(fn, *args))
                        break
                    else:
                        submit = None
                except BaseException as raised:  # noqa: BLE001
                    submit, error = None, raised
            yield head
        if error is not None:
            raise error
    finally:
        error = None
        for future in futures:
            future.cancel()
        futures.clear()


def _chunks(items: Iterator[Any], size: int) -> Iterator[tuple[tuple[Any, ...]]]:
    while True:
        chunk: list[tuple[Any, ...]] = []
        try:
            for args in itertools.islice(items, size):
                chunk.append(args)  # noqa: PERF402 - those before an error count
        except BaseException:
            if chunk:
                yield (tuple(chunk),)
            raise
        if not chunk:
            return
        yield (tuple(chunk),)


class CallEach:
    """Calls a function for each item of a chunk: the results, and the error that ended it."""

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, chunk: tuple[Any, ...]) -> tuple[list[Any], BaseException | None]:
        results: list[Any] = []
        try:
            for args in chunk:
                results.append(self.fn(*args))  # noqa: PERF401 - those before an error count
        except BaseException as error:  # noqa: BLE001 - its place is after these results
            return results, error
        return results, None


def _flat(chunks: Generator[list[tuple[list[Any], BaseException | None]], None, None]) -> Generator[list[Any], None, None]:
    try:
        for chunk in chunks:
            results, error = chunk.pop()
            results.reverse()
            while results:
                yield results
            if error is not None:
                raise error
    finally:
        error = None
        chunks.close()
