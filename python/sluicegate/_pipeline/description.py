"""`Pipeline`: the description of a pipeline. It is immutable, and nothing happens before it is run.

A description is a source and a tuple of steps; each method returns a new one with one more step. `building` makes stages of it for
each run.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from types import GenericAlias
from typing import overload

from sluicegate._arguments import check_flag, check_name, count
from sluicegate._classes import public
from sluicegate._core import KeyedLimiter, RateLimiter, _duration, _refuse_coroutine_function
from sluicegate._pipeline.errors import DeadLetters
from sluicegate._pipeline.sources import source_of
from sluicegate._pipeline.steps import (
    BUFFER,
    METHODS,
    MOST,
    Step,
    check_buffer,
    check_callable,
    check_generator,
    check_overflow,
    check_results,
    check_timeout,
    is_async,
    name_of,
    options_by_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Hashable, Iterable, Iterator
    from datetime import timedelta
    from typing import Any, Generic, Literal, NoReturn, Protocol, TypeAlias, TypeGuard, TypeVar

    from typing_extensions import TypeIs

    from sluicegate._core import Sample, _Key
    from sluicegate._credits import Channel
    from sluicegate._guard import Guard, GuardKey
    from sluicegate._pipeline.errors import DeadLetter
    from sluicegate._pipeline.handle import PipelineRun
    from sluicegate._pipeline.sources import Produce

    _R = TypeVar("_R")
    _T_co = TypeVar("_T_co", covariant=True)
    _Seconds: TypeAlias = float | timedelta
    _Overflow: TypeAlias = Literal["block", "reject", "drop_oldest", "drop_newest"] | Sample

    class _DeadLetters(Protocol):
        def put_nowait(self, item: DeadLetter, /) -> object: ...

    _End: TypeAlias = Literal["kill", "drain"]
    _OnDiscard: TypeAlias = Callable[[Any, str], object]
else:
    _T_co, Generic = None, {None: object}

__all__ = ["Pipeline"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {"run": ("run", "run_async")}


@public
class Pipeline(Generic[_T_co]):
    """A source and the stages that its items go through, with a bound on the number of unfinished items.

    `source` is an iterable, an async iterable, a `Queue`, a channel or its `Receiver`, or `produce(fn, threads=n)`. Each method adds a
    stage and returns a new pipeline; a pipeline is never changed, and nothing happens before it is run. It can be run as
    often as its source can be iterated over.

    It is run by `run()` in threads, by `await run_async()`, or by iterating over it (`for`, `async for`). A stage whose function is a plain
    `def` calls it in threads; an `async def` runs on the caller's event loop in `run_async`, and on an event loop of the run's own
    in a thread in `run`.

    The bound: the number of items that have been taken from the source and are not finished is never larger than the number of workers and
    the `buffer` of all stages together. A stage's `buffer` is the number of its results that may wait for the next stage. Where a stage
    makes several items of one, or one of several, each of them counts as what the stage gave out: `batch(100, buffer=1)` holds at most 200
    items.

    The end: when the source has ended, the remaining items are finished. The first exception stops the source at once and is
    raised by the run, with the stage and the item as a note; items that have passed the stage are finished first.

    Fairness: the workers of a stage take items in their order, whichever is free. Where a stage uses a limiter, a guard or a queue together
    with others, it waits as they do, in order of arrival.

    Cancellation: a run whose task is cancelled, or whose block is left early, ends at once. `on_discard` is called with the items that it
    gives up.

    Raises TypeError for any other source.
    """

    __slots__ = ("__weakref__", "_name", "_source", "_steps")

    _name: str | None
    _source: Any
    _steps: tuple[Step, ...]

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(
        self, source: AsyncIterable[_T_co] | Iterable[_T_co] | Channel[Any, _T_co] | Produce[_T_co], *, name: str | None = None
    ) -> None:
        check_name(name)
        self._set(source_of(source), (), name)

    def _set(self, source: Any, steps: tuple[Step, ...], name: str | None) -> None:
        for attribute, value in (("_source", source), ("_steps", steps), ("_name", name)):
            object.__setattr__(self, attribute, value)

    def _with(self, step: Step) -> Pipeline[Any]:
        if step.kind != "on_error" and not _has_results(self._steps):
            raise ValueError(f"{self!r} ends in for_each, which has no results: no stage can follow it")
        made: Pipeline[Any] = object.__new__(Pipeline)
        made._set(self._source, (*self._steps, step), self._name)
        return made

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Pipeline is immutable: cannot assign {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Pipeline is immutable: cannot delete {name!r}")

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
        return self._name

    # --- stages ------------------------------------------------------------------------------------------------------

    @overload
    def map(
        self,
        f: Callable[[_T_co], Coroutine[Any, Any, _R]],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: _Seconds | None = None,
        guard: Guard | GuardKey | None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @overload
    def map(
        self,
        f: Callable[[_T_co], _R],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: None = None,
        guard: Guard | GuardKey | None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @options_by_name
    def map(
        self,
        f: Callable[[Any], Any],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: _Seconds | None = None,
        guard: Guard | GuardKey | None = None,
        name: str | None = None,
    ) -> Pipeline[Any]:
        """Call `f` for each item, in `workers` threads (a coroutine function: in `workers` tasks), and pass the results on.

        `buffer` results may wait for the next stage. With `ordered=True` results are passed on in the order of the items, otherwise as they
        come. `timeout`, in seconds, is for coroutine functions alone: a call that takes longer is cancelled, and TimeoutError is raised.

        With `guard`, a `Guard` or the guard of one key, each item is a call through it: an item that is tried again keeps its place.

        `workers=0` makes no worker: `f` is called by a worker of the stage before (at the beginning, of the stage after). That is faster if
        `f` is short.

        Raises ValueError or TypeError for invalid arguments.
        """
        if guard is not None:
            check_callable("map", "f", f)
            f = _through(guard, f)
        return self._with(_worker_step("map", f, workers, ordered, buffer, timeout, name))

    @overload
    def flat_map(
        self,
        f: Callable[[_T_co], AsyncIterable[_R]],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @overload
    def flat_map(
        self,
        f: Callable[[_T_co], Coroutine[Any, Any, Iterable[_R]]],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: _Seconds | None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @overload
    def flat_map(
        self,
        f: Callable[[_T_co], Iterable[_R]],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @options_by_name
    def flat_map(
        self,
        f: Callable[[Any], Any],
        *,
        workers: int = 1,
        ordered: bool = True,
        buffer: int = BUFFER,
        timeout: _Seconds | None = None,
        name: str | None = None,
    ) -> Pipeline[Any]:
        """Call `f` for each item, and pass on each of the items that the returned iterable yields. `f` may be a generator function.

        A coroutine function returns an iterable; an async generator function is iterated over on the event loop, and takes no `timeout`. No
        more is taken from an iterable than there is room for, so it may be endless. With `ordered=True` and several workers, one of them
        iterates at a time; the calls of `f` themselves run side by side. Otherwise as `map`; `buffer` must be at least 1, and so must
        `workers`.

        Raises ValueError or TypeError for invalid arguments.
        """
        count("workers", workers, 1, MOST)
        check_buffer(buffer, 1)
        return self._with(_worker_step("flat", f, workers, ordered, buffer, timeout, name))

    @overload
    def filter(self, f: Callable[[_T_co], TypeIs[_R]], *, name: str | None = None) -> Pipeline[_R]: ...
    @overload
    def filter(self, f: Callable[[_T_co], TypeGuard[_R]], *, name: str | None = None) -> Pipeline[_R]: ...
    @overload
    def filter(self, f: Callable[[_T_co], Coroutine[Any, Any, object]], *, name: str | None = None) -> Pipeline[_T_co]: ...
    @overload
    def filter(self, f: Callable[[_T_co], object], *, name: str | None = None) -> Pipeline[_T_co]: ...
    def filter(self, f: Callable[[Any], Any], *, name: str | None = None) -> Pipeline[Any]:
        """Pass on the items for which `f` returns something true. A type guard (`TypeIs`, `TypeGuard`) narrows the type of the items.

        It has no workers: `f` is called by those of the stage before, and by several at once if that stage has several. At the beginning,
        and behind `on_error`, those of the stage after call it. If that calls no function (`batch`, say), `f` gets a worker of its own, and
        no buffer. So does a coroutine function after a stage of threads.

        Raises TypeError for invalid arguments.
        """
        return self._with(_worker_step("filter", f, 0, True, 0, None, name))

    @overload
    def tap(self, f: Callable[[_T_co], Coroutine[Any, Any, object]], *, name: str | None = None) -> Pipeline[_T_co]: ...
    @overload
    def tap(self, f: Callable[[_T_co], object], *, name: str | None = None) -> Pipeline[_T_co]: ...
    def tap(self, f: Callable[[Any], Any], *, name: str | None = None) -> Pipeline[Any]:
        """Call `f` for each item, and pass the item on. As `filter`, it has no workers: the items wait for `f`.

        Raises TypeError for invalid arguments.
        """
        return self._with(_worker_step("tap", f, 0, True, 0, None, name))

    def batch(self, n: int, *, linger: _Seconds | None = None, buffer: int = 1, name: str | None = None) -> Pipeline[list[_T_co]]:
        """Collect items into lists of `n`, and pass the lists on.

        With `linger` a list is passed on, however short, when that many seconds have passed since its first item came; without it, only
        when it is full, or at the end. `buffer` lists may wait for the next stage.

        Raises ValueError or TypeError for invalid arguments.
        """
        n = count("n", n, 1, MOST)
        check_name(name)
        seconds = None if linger is None else _duration("linger", linger)
        return self._with(Step("batch", name or f"batch({n})", buffer=check_buffer(buffer), options=(n, seconds)))

    def unbatch(self: Pipeline[Iterable[_R]], *, buffer: int = BUFFER) -> Pipeline[_R]:
        """Pass on each of the items of each item: the reverse of `batch`, and the same as `flat_map(iter)`.

        Raises ValueError or TypeError for invalid arguments.
        """
        check_buffer(buffer, 1)
        return self._with(_worker_step("flat", iter, 1, True, buffer, None, "unbatch"))

    def buffer(
        self, n: int, *, overflow: _Overflow = "block", on_drop: Callable[[_T_co, str], object] | None = None, name: str | None = None
    ) -> Pipeline[_T_co]:
        """Let `n` more items wait here.

        With `overflow="block"`, the default, they are added to the buffer of the stage before. Any other policy is that of a `Queue` with a
        `maxsize` of `n`, and so is `on_drop`: an item that finds it full is dropped, takes another's place, or (with "reject") stops the
        pipeline with Full. Without `on_drop` what is dropped goes to the `on_discard` of the run.

        Raises ValueError or TypeError for invalid arguments.
        """
        n = count("n", n, 1, MOST)
        check_name(name)
        if overflow == "block" and on_drop is not None:
            raise ValueError("'on_drop' is for a policy that drops, and overflow is \"block\"")
        if on_drop is not None:
            _refuse_coroutine_function("on_drop", on_drop)
        check_overflow(n, overflow, on_drop)
        return self._with(Step("buffer", name or f"buffer({n})", buffer=n, options=(overflow, on_drop)))

    def throttle(self, limiter: RateLimiter, *, name: str | None = None) -> Pipeline[_T_co]:
        """Pass items on as `limiter` admits them, one permit each.

        They wait in the wait queue of the limiter, together with everybody else who uses it. One item waits here; there is no buffer.

        Raises TypeError for anything else, such as a `Semaphore`, whose permits nobody would release.
        """
        if not isinstance(limiter, RateLimiter):  # pyright: ignore[reportUnnecessaryIsInstance]
            if isinstance(limiter, KeyedLimiter):
                hint = ": use that of one key, `limiter.key(k)`"
            elif hasattr(limiter, "release"):
                hint = ", whose permits nobody would release: `workers=` of a stage says how many calls run at once"
            else:
                hint = ": for 10 items a second, write throttle(TokenBucket(10, burst=1))"
            raise TypeError(f"throttle(): 'limiter' must be a limiter, not {limiter!r}{hint}")
        check_name(name)

        async def admitted(item: Any) -> Any:
            await limiter.acquire_async()
            return item

        return self._with(Step("map", name or "throttle", admitted, is_async=True, buffer=0))

    @overload
    def keyed_map(
        self,
        f: Callable[[_T_co], Coroutine[Any, Any, _R]],
        *,
        key: Callable[[_T_co], Hashable],
        workers: int,
        buffer: int = BUFFER,
        timeout: _Seconds | None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @overload
    def keyed_map(
        self,
        f: Callable[[_T_co], _R],
        *,
        key: Callable[[_T_co], Hashable],
        workers: int,
        buffer: int = BUFFER,
        timeout: None = None,
        name: str | None = None,
    ) -> Pipeline[_R]: ...
    @options_by_name
    def keyed_map(
        self,
        f: Callable[[Any], Any],
        *,
        key: Callable[[Any], Hashable],
        workers: int,
        buffer: int = BUFFER,
        timeout: _Seconds | None = None,
        name: str | None = None,
    ) -> Pipeline[Any]:
        """As `map`, with the order kept for each key.

        Items with the same `key(item)` are worked on one after the other, and their results come in that order. Items with different keys
        are worked on side by side.

        Items that wait for others with the same key count as taken by the stage, so a single busy key holds up the others when it fills
        the stage's workers and buffer.

        Raises ValueError or TypeError for invalid arguments.
        """
        check_callable("keyed_map", "key", key)
        _refuse_coroutine_function("key", key)
        count("workers", workers, 1, MOST)
        return self._with(replace(_worker_step("keyed", f, workers, False, buffer, timeout, name), options=key))

    def conflate(
        self,
        *,
        key: Callable[[_T_co], _Key],
        merge: Callable[[Any, Any], Any] | None = None,
        buffer: int = BUFFER,
        name: str | None = None,
    ) -> Pipeline[_T_co]:
        """Let at most one item of each key wait here.

        Another one with the same `key(item)` is merged into it, by `merge(old, new)`. Without `merge` it takes its place, and the item that
        was replaced goes to the `on_discard` of the run.

        It is a `CoalescingQueue` with a `maxsize` of `buffer`: when so many keys wait, an item with a further key waits for room. A key is
        a str, bytes, int, UUID, IP address, or a tuple of those. While `merge` runs nobody takes from the queue.

        What `key` or `merge` raises stops the pipeline.

        Raises ValueError or TypeError for invalid arguments.
        """
        check_callable("conflate", "key", key)
        _refuse_coroutine_function("key", key)
        if merge is not None:
            check_callable("conflate", "merge", merge)
            _refuse_coroutine_function("merge", merge)
        check_name(name)
        return self._with(Step("conflate", name or "conflate", buffer=count("buffer", buffer, 1, MOST), options=(key, merge)))

    def sample(self, f: Callable[[_T_co], object], *, buffer: int = BUFFER, name: str | None = None) -> Pipeline[_T_co]:
        """Call `f` with some of the items, in a worker of its own, and pass all of them on without delay.

        Items that find `buffer` others waiting for `f` are not seen by it. An exception of `f` stops the pipeline like any other.

        Raises ValueError or TypeError for invalid arguments.
        """
        step = _worker_step("sample", f, 1, False, count("buffer", buffer, 1, MOST), None, name)
        return self._with(step)

    def merge(self, other: Pipeline[_R], *, name: str | None = None) -> Pipeline[_T_co | _R]:
        """Put the results of another pipeline, which has a source of its own, among those of this one, as they come.

        Raises TypeError if `other` is not a Pipeline, ValueError if it ends in `for_each`.
        """
        if not isinstance(other, Pipeline):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"merge(): 'other' must be a Pipeline, not {other!r}")
        check_name(name)
        if not _has_results(other._steps):
            raise ValueError(f"merge(): 'other' must have results, and {other!r} ends in for_each")
        return self._with(Step("merge", name or "merge", options=(other._source, other._steps)))

    def broadcast(
        self,
        *branches: Callable[[Pipeline[_T_co]], Pipeline[_R]],
        overflow: _Overflow = "block",
        buffer: int = BUFFER,
        name: str | None = None,
    ) -> Pipeline[_R]:
        """Pass each item to every branch. A branch is a function that gets a pipeline and returns it with stages added.

        The results of all branches are passed on together, in the order in which they come; a branch that ends in `for_each` has none.
        `buffer` items may wait for each branch. With `overflow="block"` the slowest branch holds up the others; with any other policy of a
        `Queue` a branch that is too slow loses items, which go to the `on_discard` of the run.

        Raises ValueError or TypeError for invalid arguments.
        """
        check_name(name)
        if not branches:
            raise ValueError("broadcast(): 'branches' must be at least one function, not ()")
        buffer = count("buffer", buffer, 1, MOST)
        check_overflow(buffer, overflow, None)
        made: list[tuple[Step, ...]] = []
        for branch in branches:
            check_callable("broadcast", "branches", branch)
            start: Pipeline[_T_co] = object.__new__(Pipeline)
            start._set(_BRANCH, (), None)
            end: Any = branch(start)
            if not isinstance(end, Pipeline) or end._source is not _BRANCH:
                raise TypeError(f"a branch of broadcast() must return the pipeline that it got, with stages added, not {end!r}")
            made.append(end._steps)
        return self._with(Step("broadcast", name or "broadcast", buffer=buffer, options=(tuple(made), overflow)))

    def on_error(
        self, action: Literal["stop", "skip"] | Callable[[Any, Exception], object] | None = None, *, dead_letter: _DeadLetters | None = None
    ) -> Pipeline[_T_co]:
        """Say what happens to an item whose call raises an `Exception`, in the stages above (as far as the previous `on_error`).

        It may also follow `for_each`, and is then for the sink too.

        - "stop" (the default): the pipeline stops, and the exception is raised by the run;
        - "skip": the item is dropped, and the next one is worked on (of several that `flat_map` makes of one, only the one that a `filter`,
          `tap` or `map(workers=0)` behind it raises for);
        - a callable: it is called with the item and the exception, in the worker, and the item is dropped. What it raises stops the
          pipeline;
        - `dead_letter=q`: a `DeadLetter` with the item, the exception and the name of the stage is put into the queue, without waiting. If
          the queue is full, the pipeline stops with Full.

        Errors of a source always stop the pipeline.

        Raises ValueError or TypeError for invalid arguments.
        """
        if (action is None) == (dead_letter is None):
            given = "" if action is None else f", not both {action!r} and {dead_letter!r}"
            raise TypeError(f"on_error() takes an 'action' ('stop', 'skip' or a function of item and error) or a 'dead_letter'{given}")
        if dead_letter is not None:
            if not callable(getattr(dead_letter, "put_nowait", None)):
                raise TypeError(f"'dead_letter' must be a queue, got {dead_letter!r}")
            _refuse_coroutine_function("dead_letter.put_nowait", dead_letter.put_nowait)
            policy: Any = DeadLetters(dead_letter)
        elif action in ("stop", "skip"):
            policy = action
        elif isinstance(action, type) and issubclass(action, BaseException):  # calling it would skip every item, whatever its error
            hint = "for errors of some types, let a function of item and error raise the others"
            raise TypeError(f"on_error(): 'action' must be 'stop', 'skip' or a function, not the exception class {action.__name__}: {hint}")
        elif callable(action):
            _refuse_coroutine_function("action", action)
            policy = action
        else:
            hint = ": for a queue, write on_error(dead_letter=...)" if hasattr(action, "put_nowait") else ""
            raise ValueError(f"on_error(): 'action' must be 'stop', 'skip' or a callable, not {action!r}{hint}")
        return self._with(Step("on_error", "on_error", options=policy))

    @options_by_name
    def for_each(
        self,
        sink: Callable[[_T_co], object],
        *,
        workers: int = 1,
        buffer: int = BUFFER,
        in_caller: bool = False,
        timeout: _Seconds | None = None,
        name: str | None = None,
    ) -> Pipeline[NoReturn]:
        """Call `sink` for each item: the end of the pipeline.

        With `in_caller=True` it is called in the thread (or task) that waits for the run, which a connection of `sqlite3`, for example,
        requires; `workers` is then 1, and a coroutine function is for `run_async` and `start_async` alone.
        `buffer` items more may wait before it; behind `batch` each
        of them is a list. Otherwise as `map`.

        Raises ValueError or TypeError for invalid arguments.
        """
        if check_flag("in_caller", in_caller) and workers != 1:
            raise ValueError(f"'workers' must be 1 with in_caller=True, not {workers!r}: there is one caller")
        count("workers", workers, 1, MOST)
        step = _worker_step("sink", sink, workers, False, buffer, timeout, name)
        return self._with(replace(step, options=in_caller))

    # --- runs --------------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        on_discard: _OnDiscard | None = None,
        interrupt: _End = "kill",
        progress: bool = False,
        record: _Seconds | None = None,
    ) -> PipelineRun[_T_co]:
        """Run in threads, wait for the end, and return the run, for its statistics.

        The results of a pipeline that has no `for_each` are discarded: iterate over the pipeline to get them. Iterating over the run raises
        RuntimeError then.

        `on_discard(item, stage)` is called with each item that was taken from the source and will not be finished, and with each result
        that nobody takes. `interrupt` says what Ctrl-C does: "kill" ends at once; "drain" stops the source and finishes the items that have
        been taken, unless a second Ctrl-C comes. Both then raise KeyboardInterrupt, and a call of a sink in the caller that it interrupts
        is not repeated: its item is discarded. (`stop_on` of the run interrupts no call.) `progress=True` shows a live table on the
        terminal. With `record` the statistics are kept every so many seconds, for `plot` of the run. (A long run keeps fewer:
        whenever there are 2,000 records, every other one is dropped and the interval is doubled.)

        Raises the first exception of a stage or of the source, with a note that names stage and item; ImportError for `progress` if rich is
        not installed (`pip install 'sluicegate[progress]'`).
        """
        watched = _progress if check_flag("progress", progress) else contextlib.nullcontext
        run = self.start(on_discard=on_discard, interrupt=interrupt, record=record)
        with run, watched(run):
            run.wait()
        return run

    def start(
        self, *, on_discard: _OnDiscard | None = None, interrupt: _End = "kill", record: _Seconds | None = None
    ) -> PipelineRun[_T_co]:
        """Start to run in threads, and return the run. Use it in a `with` block, or keep it and `wait()` for it.

        The run is an iterator over the results, if the pipeline has no `for_each`. At the end of the block a pipeline with a `for_each` is
        waited for; one without is stopped there. An exception that leaves the block stops either of them. A run that nobody
        refers to is stopped when it is garbage-collected, with a ResourceWarning if it has a `for_each`. The arguments are those of `run`.

        Raises ValueError, TypeError or OverflowError for invalid arguments. The errors of stages are raised by the run.
        """
        from sluicegate._pipeline.handle import PipelineRun

        return PipelineRun(self._source, self._steps, self._name, on_discard, interrupt, record, is_async=False)

    async def run_async(
        self, *, on_discard: _OnDiscard | None = None, progress: bool = False, record: _Seconds | None = None
    ) -> PipelineRun[_T_co]:
        """As `run`, from a coroutine: coroutine functions run on this event loop, plain functions in threads.

        If it is cancelled, the pipeline ends at once: coroutine functions are cancelled, calls in threads are waited for.

        Raises what `run` raises.
        """
        watched = _progress if check_flag("progress", progress) else contextlib.nullcontext
        run = self.start_async(on_discard=on_discard, record=record)
        async with run:
            with watched(run):
                await run.wait_async()
        return run

    def start_async(self, *, on_discard: _OnDiscard | None = None, record: _Seconds | None = None) -> PipelineRun[_T_co]:
        """As `start`, from a coroutine: use what it returns in an `async with` block.

        Raises RuntimeError if no event loop is running in this thread.
        """
        from sluicegate._pipeline.handle import PipelineRun

        return PipelineRun(self._source, self._steps, self._name, on_discard, "kill", record, is_async=True)

    def describe(self, format: Literal["text", "mermaid", "dot"] = "text") -> str:
        """Return the stages, their workers and the buffers between them: as text, or as a graph in the language of Mermaid or Graphviz.

        Raises ValueError for any other format.
        """
        from sluicegate._pipeline.describing import describe

        return describe(self._source, self._steps, self._name, format)

    def __iter__(self) -> Iterator[_T_co]:
        """Run in threads, and iterate over the results. Leaving the loop early stops the run when the iterator is collected or closed."""
        check_results(_has_results(self._steps))
        return self.start()

    def __aiter__(self) -> AsyncIterator[_T_co]:
        """Run on this event loop and in threads, and iterate over the results."""
        check_results(_has_results(self._steps))
        return self.start_async()

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name is not None else ""
        steps = [self._source.name if self._source is not None else "...", *(step.name for step in self._steps)]
        return f"<sluicegate.Pipeline{name}: {' -> '.join(steps)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle or copy 'Pipeline' object: its source cannot be iterated over twice at once")


def _progress(run: PipelineRun[Any]) -> contextlib.AbstractContextManager[object]:
    from sluicegate._pipeline.pictures import progress

    return progress(run._run)


#: In the place of the source of a branch.
_BRANCH = source_of(())


def _through(guard: Guard | GuardKey, f: Any) -> Any:
    """Return `f`, called through the guard."""
    from sluicegate._guard import call_of, check_guard

    if isinstance(f, type):  # is called, as in `.map(int)`, and cannot be decorated
        return functools.partial(call_of(guard), f)
    check_guard(guard)
    return guard(f)


def _has_results(steps: tuple[Step, ...]) -> bool:
    """Whether a stage can follow: the steps do not end in `for_each`, nor in a broadcast of which every branch does."""
    last = next((step for step in reversed(steps) if step.kind != "on_error"), None)
    if last is not None and last.kind == "broadcast":
        return any(_has_results(branch) for branch in last.options[0])
    return last is None or last.kind != "sink"


def _worker_step(kind: str, f: Any, workers: int, ordered: bool, buffer: int, timeout: Any, name: str | None) -> Step:
    called = METHODS.get(kind, kind)
    check_callable(called, "sink" if kind == "sink" else "f", f)
    check_generator(called, kind, f)
    check_name(name)
    workers = count("workers", workers, 0, MOST)
    buffer = check_buffer(buffer)
    seconds = check_timeout(timeout, f)
    check_flag("ordered", ordered)
    text = name or (name_of(f) if kind not in ("filter", "tap", "sample") else f"{kind} {name_of(f)}")
    return Step(kind, text, f, is_async(f), workers, ordered, buffer, seconds)
