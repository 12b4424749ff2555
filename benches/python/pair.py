"""One put and one get in one thread or task, in nanoseconds, beside C's `SimpleQueue` and two calls that do nothing.

python benches/python/pair.py [ROUNDS]

The contenders take turns in one process, so that what else the machine does falls on all of them alike. For each: the median over the
rounds, the best round, and the median of its ratio to the first line of its group in the same round.
"""

import _queue
import asyncio
import ctypes
import statistics
import sys
import time

import sluicegate

PAIRS = 20_480
A_TURN = 64
"""After so many awaited pairs the event loop has its turn: an operation in 128."""


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


METH_FASTCALL_KEYWORDS = 0x80 | 0x02
# PyObject_SelfIter returns its first argument and looks at no other: called as a method, it is the shortest one there can be.
_EMPTY = _MethodDef(b"empty", ctypes.cast(ctypes.pythonapi.PyObject_SelfIter, ctypes.c_void_p).value, METH_FASTCALL_KEYWORDS, None)


def empty_function():
    new = ctypes.pythonapi.PyCMethod_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p]
    return new(ctypes.byref(_EMPTY), object(), None, None)


def loop(statements, **names):
    """A function of its own that runs the statements many times: its calls are specialised for these names alone."""
    lines = ["def run(clock, pairs):", *(f"    {name} = _{name}" for name in names)]
    lines += ["    start = clock()", "    for _ in pairs:", *(f"        {line}" for line in statements), "    return clock() - start"]
    space = {f"_{name}": value for name, value in names.items()}
    exec("\n".join(lines), space)
    return space["run"]


def awaited(after_turns, **names):
    """The same of pairs that a task awaits. What comes after each 64 of them is a statement, too."""
    lines = ["async def run(clock, turns):", *(f"    {name} = _{name}" for name in names), "    burst = range(_a_turn)"]
    lines += [
        "    start = clock()",
        "    for _ in turns:",
        "        for _ in burst:",
        "            await put(1)",
        "            await get()",
    ]
    lines += [f"        {after_turns}", "    return clock() - start"]
    space = {f"_{name}": value for name, value in names.items()} | {"_a_turn": A_TURN, "sleep": asyncio.sleep}
    exec("\n".join(lines), space)
    # An awaited pair takes ten times as long: an eighth of the pairs, so that a busy machine leaves some rounds alone.
    return lambda clock, pairs: 8 * asyncio.run(space["run"](clock, range(len(pairs) // A_TURN // 8)))


async def put_nothing(item):
    pass


async def get_nothing():
    pass


def groups():
    """Name of a group -> its contenders; the first is what the others are measured by."""
    simple, queue, empty = _queue.SimpleQueue(), sluicegate.Queue(10), empty_function()
    bound = {
        "C SimpleQueue": loop(["put(1)", "get()"], put=simple.put, get=simple.get),
        "two empty calls": loop(["put(1)", "get()"], put=empty, get=empty),
        "Queue": loop(["put(1)", "get()"], put=queue.put, get=queue.get),
        "Queue, nowait": loop(["put(1)", "get()"], put=queue.put_nowait, get=queue.get_nowait),
    }
    kinds = [_queue.SimpleQueue, *(getattr(sluicegate, n) for n in ("Queue", "SimpleQueue", "LifoQueue", "PriorityQueue"))]
    method = {f"{kind.__module__}.{kind.__name__}": loop(["q.put(1)", "q.get()"], q=kind()) for kind in kinds}
    words, positions = ["put(1, timeout=1.0)", "get(timeout=1.0)"], ["put(1, True, 1.0)", "get(True, 1.0)"]
    timeout = {
        "put(1); get()": loop(["put(1)", "get()"], put=queue.put, get=queue.get),
        "put(1, timeout=1.0); get(timeout=1.0)": loop(words, put=queue.put, get=queue.get),
        "the same, empty": loop(words, put=empty, get=empty),
        "put(1, True, 1.0); get(True, 1.0)": loop(positions, put=queue.put, get=queue.get),
        "the same, empty ": loop(positions, put=empty, get=empty),
    }
    channel = sluicegate.CreditChannel(10)
    ends = {"s": channel.sender, "r": channel.receiver}
    send = {
        "s.send(1); r.receive()": loop(["s.send(1)", "r.receive()"], **ends),
        "s.send(1, timeout=1.0); r.receive(timeout=1.0)": loop(["s.send(1, timeout=1.0)", "r.receive(timeout=1.0)"], **ends),
    }
    stdlib = asyncio.Queue(10)
    tasks = {
        "asyncio.Queue": awaited("pass", put=stdlib.put, get=stdlib.get),
        "two empty coroutines": awaited("pass", put=put_nothing, get=get_nothing),
        "two empty coroutines, and the turns of the loop": awaited("await sleep(0)", put=put_nothing, get=get_nothing),
        "Queue": awaited("pass", put=queue.put_async, get=queue.get_async),
        "Queue.async_q": awaited("pass", put=queue.async_q.put, get=queue.async_q.get),
    }
    full = sluicegate.Queue(1)
    full.put(1)
    unread = sluicegate.CreditChannel(1)
    unread.sender.send(1)
    ends_of_full = {"s": unread.sender, "kept": unread.receiver}
    bucket = sluicegate.TokenBucket(1, burst=1, period=3600)
    bucket.acquire()
    refusals = {
        "C SimpleQueue.get_nowait": loop(["try: q.get_nowait()", "except error: pass"], q=simple, error=_queue.Empty),
        "Queue.get_nowait": loop(["try: q.get_nowait()", "except error: pass"], q=queue, error=sluicegate.Empty),
        "Queue.put_nowait": loop(["try: q.put_nowait(1)", "except error: pass"], q=full, error=sluicegate.Full),
        "Sender.send_nowait": loop(["try: s.send_nowait(1)", "except error: pass"], **ends_of_full, error=sluicegate.Full),
        "Receiver.receive_nowait": loop(["try: r.receive_nowait()", "except error: pass"], **ends, error=sluicegate.Empty),
        "TokenBucket.acquire": loop(["try: b.acquire(timeout=0)", "except error: pass"], b=bucket, error=sluicegate.RateLimited),
    }
    return {"bound methods": bound, "methods": method, "timeouts": timeout, "awaited": tasks, "channel": send, "refusals": refusals}


def main(rounds: int) -> None:
    print(sys.version.split()[0])
    for group, contenders in groups().items():
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, run in contenders.items():
                times[name].append(run(time.perf_counter_ns, range(PAIRS)) / PAIRS)
        print(f"-- {group}: median ns, best, ratio")
        first = next(iter(times.values()))
        for name, taken in times.items():
            ratio = statistics.median(mine / its for mine, its in zip(taken, first, strict=True))
            print(f"{name:50} {statistics.median(taken):7.1f} {min(taken):7.1f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100)
