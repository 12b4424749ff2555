"""A picture of the ratios: for each row, how many times as long as ours each peer takes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from .model import Result


def plot(results: Sequence[Result], file: str) -> None:
    """Draw a bar for each peer of each row, on a logarithmic scale, with the spread of the rounds."""
    bars = [
        (f"{result.row.name}: {peer.name}", result.ratio(peer), *result.ratio_spread(peer))
        for result in results
        for peer in result.figures[1:]
    ]
    names, ratios, lows, highs = zip(*reversed(bars), strict=True)
    errors = [
        [max(0.0, ratio - low) for ratio, low in zip(ratios, lows, strict=True)],
        [max(0.0, high - ratio) for ratio, high in zip(ratios, highs, strict=True)],
    ]
    figure = Figure(figsize=(9, 1 + 0.3 * len(bars)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, [ratio - 1 for ratio in ratios], left=1, xerr=errors, capsize=2)
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("times as long as sluicegate (medians; lines: lowest to highest round)")
    figure.savefig(file)
