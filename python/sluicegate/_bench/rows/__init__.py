"""The rows of the table: every module here has a tuple `ROWS`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..model import Row


def find_rows() -> list[Row]:
    """Return the rows of all modules, the modules in alphabetical order."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return [row for module in modules for row in module.ROWS]
