"""A picture of the ratios: for each row, how many times as long as ours each contender takes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from .environment import Environment
from .model import Result
from .summary import Machine

FORMATS = (".png", ".svg", ".pdf")


def picture_file(text: str) -> Path:
    """Check the path before anything is measured; for argparse."""
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"the name of a picture must end in {', '.join(FORMATS)}, not {path.suffix or text!r}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no such directory: {path.parent}")
    return path


def plot(environment: Environment, results: Sequence[Result], file: Path) -> None:
    """Draw a bar for each contender of each row, on a logarithmic scale, with the spread of the rounds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    bars = [
        (f"{result.row.name}: {other.name}", result.ratio(other), *result.ratio_spread(other))
        for result in reversed(results)
        for other in reversed(result.figures[1:])
    ]
    names = [name for name, *_ in bars]
    ratios = [ratio for _, ratio, *_ in bars]
    below = [max(0.0, ratio - low) for _, ratio, low, _ in bars]
    above = [max(0.0, high - ratio) for _, ratio, _, high in bars]
    figure = Figure(figsize=(10, 2 + 0.25 * len(bars)), layout="constrained")
    figure.suptitle(f"sluicegate {environment.sluicegate}: how long others take", fontweight="bold")
    axes = figure.subplots()
    axes.set_title(
        f"{datetime.now().astimezone():%Y-%m-%d}, {environment.in_words(version=False)}\n{verdict(environment, results)}", fontsize=9
    )
    colours = ["tab:blue" if ratio >= 1 else "tab:orange" for ratio in ratios]
    axes.barh(names, [ratio - 1 for ratio in ratios], left=1, color=colours, xerr=[below, above], capsize=2, error_kw={"alpha": 0.5})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if max(ratios, default=1) < 100 else (1.0,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1.0, color="black", linewidth=1)
    axes.grid(axis="x", which="major", alpha=0.3)
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.set_xlabel("time beside sluicegate's, log scale (right of 1x: slower than sluicegate; lines: lowest to highest round)")
    figure.savefig(file)


def verdict(environment: Environment, results: Sequence[Result]) -> str:
    """Return the assessment of the machine, as a caption."""
    machine = Machine.judge(environment, results)
    return f"the machine was {machine.verdict}, rounds within {machine.spread:.0%}"
