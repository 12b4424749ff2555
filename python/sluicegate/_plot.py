"""A small plot in the terminal, by plotext."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotext


def plot(
    seconds: Sequence[float],
    values: Sequence[float],
    *,
    title: str,
    bound: float,
    width: int = 80,
    height: int = 9,
) -> str:
    """Return a line plot of a value between 0 and its bound over time (or whatever `seconds` are), as text without colours."""
    draw = _draw_with_plotext_5 if hasattr(plotext, "plot_size") else _draw_with_plotext_6
    x, y = thin(seconds, values, points=2 * width)
    return str(draw(plotext, x, y, title=title, bound=bound, width=width, height=height))


def _draw_with_plotext_5(plt: Any, x: list[float], y: list[float], *, title: str, bound: float, width: int, height: int) -> str:
    plt.clear_figure()
    plt.theme("clear")
    plt.plot_size(width, height)
    plt.plot(x, y, marker="hd")
    plt.ylim(0, bound)
    plt.yticks(*ticks(bound))
    plt.title(title)
    return plt.uncolorize(plt.build())


def _draw_with_plotext_6(plt: Any, x: list[float], y: list[float], *, title: str, bound: float, width: int, height: int) -> str:
    figure = plt.figure
    figure.clear()
    figure.plot_size(width, height)
    figure.ruler("y", "left").lim(0, bound).ticks(*ticks(bound))
    figure.title(title)
    figure.draw(figure.signal(x, y).lines())
    return figure.build().string(colorless=True)


def ticks(bound: float) -> tuple[list[float], list[str]]:
    """Return the values to mark on the axis, and how."""
    half = bound // 2 if isinstance(bound, int) else bound / 2
    marks = sorted({0, half, bound})
    return marks, [str(mark) if isinstance(mark, int) else f"{mark:.3g}" for mark in marks]


def thin(seconds: Sequence[float], values: Sequence[float], *, points: int) -> tuple[list[float], list[float]]:
    """Keep at most `points` points, the highest of each stretch, so that no peak is lost."""
    step = max(1, -(-len(values) // points))
    stretches = (range(i, min(i + step, len(values))) for i in range(0, len(values), step))
    highest = [max(stretch, key=values.__getitem__) for stretch in stretches]
    return [seconds[i] for i in highest], [values[i] for i in highest]
