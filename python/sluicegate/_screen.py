"""What the programs print with: rich on a terminal where it is installed, plain text everywhere else.

A pipe or a file always gets plain text, one sentence a line, so that what reads it need not undo the wrapping.
"""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import Any, TextIO


@dataclass(frozen=True)
class Column:
    """A column of a table: numbers go to the right; `width` is the least it takes, so that tables can line up."""

    name: str
    right: bool = False
    width: int = 0


class Screen:
    """Plain text; what the file's encoding lacks is replaced. `draws` says whether anything beyond ASCII can be shown."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._wraps = file.isatty()
        self.width = shutil.get_terminal_size().columns
        self.draws = speaks_unicode(file)

    def say(self, text: str = "", *, bold: bool = False) -> None:
        """Print text, wrapped on a terminal alone."""
        for line in text.split("\n"):
            indent = " " * (len(line) - len(line.lstrip()))
            self.show(textwrap.fill(line, self.width, subsequent_indent=indent) if self._wraps else line)

    def show(self, picture: str) -> None:
        """Print text as it is, each line in one line."""
        if not self.draws:
            encoding = self._file.encoding or "ascii"
            picture = picture.encode(encoding, "replace").decode(encoding)
        self._file.write(picture + "\n")
        self._file.flush()

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
        """Print a table with a rule under its head."""
        names = [column.name for column in columns]
        cells = [names, *rows]
        widths = [max(column.width, *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
        rule = ["-" * width for width in widths]
        lines = [title] if title else []
        for row in (names, rule, *rows):
            padded = [cell.rjust(w) if c.right else cell.ljust(w) for cell, w, c in zip(row, widths, columns, strict=True)]
            lines.append("  " + "  ".join(padded).rstrip())
        self.show("\n".join(lines))

    def flash(self, text: str) -> None:
        """Show a line that the next one takes the place of: not here, where there is no taking it back."""

    def progress(self, what: str, total: int) -> Progress:
        """Return something to show progress with, a context manager."""
        return Progress(self, what, total)


class Progress:
    """A line of progress now and then."""

    EVERY = 1.0

    def __init__(self, screen: Screen, what: str, total: int) -> None:
        self._screen = screen
        self._what = what
        self._total = total
        self._next = 0.0

    def __enter__(self) -> Progress:
        """Start the clock."""
        self._next = time.monotonic() + self.EVERY
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Leave what was printed."""

    def update(self, done: int, state: str) -> None:
        """Show how much is done, unless it was shown a moment ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY
            self.draw(done, state)

    def draw(self, done: int, state: str) -> None:
        """Show it."""
        self._screen.say(f"  {done:,} of {self._total:,} {self._what}, {state}")


class RichScreen(Screen):
    """A terminal, by rich."""

    def __init__(self, file: TextIO, **options: Any) -> None:
        from rich.console import Console

        super().__init__(file)
        self.console = Console(file=file, highlight=False, markup=False, emoji=False, **options)

    def say(self, text: str = "", *, bold: bool = False) -> None:
        """Print text, wrapped between words."""
        self.console.print(text, style="bold" if bold else None)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
        """Print a table."""
        from rich.box import SIMPLE
        from rich.table import Table
        from rich.text import Text

        if title:
            self.say(title, bold=True)  # rich would wrap its own title at the width of the table
        made = Table(box=SIMPLE)
        for column in columns:
            made.add_column(column.name, justify="right" if column.right else "left", min_width=column.width)
        for row in rows:
            made.add_row(*map(Text, row))
        self.console.print(made)

    def flash(self, text: str) -> None:
        """Show a line without ending it."""
        self.console.print(text, end="\r")

    def progress(self, what: str, total: int) -> Progress:
        """Return a bar."""
        return BarProgress(self, what, total)


class BarProgress(Progress):
    """A bar that is gone once it is full."""

    EVERY = 0.1

    def __init__(self, screen: RichScreen, what: str, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        super().__init__(screen, what, total)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"))
        # Without a thread of its own to refresh it: that would be one more in a program about threads.
        self._bar = Progress(*columns, TimeElapsedColumn(), console=screen.console, transient=True, auto_refresh=False)
        self._task = self._bar.add_task(what, total=total, state="")

    def __enter__(self) -> Progress:
        """Draw the bar."""
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Take it off the screen."""
        self._bar.stop()

    def draw(self, done: int, state: str) -> None:
        """Draw it again."""
        self._bar.update(self._task, completed=done, state=state)
        self._bar.refresh()


def open_screen(file: TextIO) -> Screen:
    """Return rich's screen for a terminal that can show it, a plain one otherwise."""
    if file.isatty() and speaks_unicode(file) and find_spec("rich") is not None:
        return RichScreen(file)
    return Screen(file)


def speaks_unicode(file: TextIO) -> bool:
    """Return whether every character can be written."""
    return (file.encoding or "").lower().replace("-", "").startswith("utf")
