"""asyncio's exceptions become bases of ours when asyncio is imported, by any code, at any time.

`import asyncio` takes several times as long as the rest of this package, and a threaded program does without it. But `except
asyncio.QueueFull` has to catch our `Full`, and it can only do that by inheritance. So there are two occasions on which the bases are added:

- A finder at the head of `sys.meta_path` sees `asyncio.queues` being imported, and has the bases added once it is executed. It stays
  there: to take it out would disturb an import in another thread, and a program that deletes asyncio from `sys.modules` gets new classes.
- Before it raises one of the three the binary looks whether asyncio has been imported meanwhile. This is for a program that has put a
  finder before ours, or was in the middle of the import when ours came.

See docs/decisions/0015-import-time.md.
"""

from __future__ import annotations

import sys

from sluicegate._classes import add_bases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["adopt", "watch"]

_QUEUES = "asyncio.queues"
#: Our classes, and the names of asyncio's.
_THEIRS: dict[type, str] = {}


def watch(theirs: dict[type, str]) -> None:
    """Make each class a subclass of asyncio's of that name, now or as soon as there is one."""
    _THEIRS.update(theirs)
    if _QUEUES not in sys.modules:
        sys.meta_path.insert(0, _Finder)
    if _QUEUES in sys.modules:
        __import__(_QUEUES)  # another thread may be in the middle of it

        adopt()


def adopt() -> bool:
    """Add the bases, if asyncio has been imported. Return whether ours have all of them."""
    module = sys.modules.get(_QUEUES)
    done = module is not None
    for ours, name in _THEIRS.items():
        theirs = getattr(module, name, None)  # in the middle of its import there may be none
        if theirs is None:
            done = False
        else:
            add_bases(ours, theirs)
    return done


class _Finder:
    """Finds nothing itself: of `asyncio.queues` it has the others find the module, and sees to what happens after it."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        finders = list(sys.meta_path)
        if name != _QUEUES or cls not in finders:
            return None
        # Those behind it alone: of two that ask all others, each would ask the other.
        behind = [finder for finder in finders[finders.index(cls) + 1 :] if hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in behind)), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            loader: Any = _Loader(spec.loader)
            spec.loader = loader
        return spec


class _Loader:
    """The loader that was found, until it has executed the module."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        adopt()
