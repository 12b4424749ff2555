"""What the drop-in tests share: the same steps on the standard library's class and on ours, and what they gave compared."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from typing import Any

import sluicegate

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]
STDLIB_SHUTS_DOWN = sys.version_info >= (3, 13)

REFUSALS = (queue.Empty, queue.Full, sluicegate.ShutDown, *((queue.ShutDown,) if STDLIB_SHUTS_DOWN else ()))


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call gave: its value, or its exception's type and text.

    `Empty`, `Full` and `ShutDown` go by their names (ours say more), and so does `OverflowError` (the platform's
    clock words it).
    """
    try:
        return function(*args, **kwargs)
    except (*REFUSALS, OverflowError) as error:
        return f"{type(error).__name__}!"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return text.partition(", not ")[0] if "'timeout' must be" in text else text  # ours go on to name the value


def compare(kind: str, steps: Callable[[Any], list[Any]], define: Callable[[Any], Any] = lambda base: base) -> list[Any]:
    """Take the steps on the standard library's class and on ours: what they gave is the same, and is returned.

    With `define`, on a subclass that it makes of each.
    """
    expected = steps(define(getattr(queue, kind)))
    found = steps(define(getattr(sluicegate, kind)))
    assert found == expected
    return found
