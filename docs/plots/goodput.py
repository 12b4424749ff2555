"""Draws docs/guide/img/goodput.svg: the answers in time of an ASGI application under load, with and without a limit.

`make docs` runs it; `python docs/plots/goodput.py FILE` draws to FILE. It draws what examples/overload.py prints: the picture is the same
every time, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "overload.py"))
SECONDS = 5.0
OFFERED = [50.0, 100.0, 150.0, 180.0, 200.0, 220.0, 250.0, 300.0, 400.0]
LIMITED, PLAIN = "#0072b2", "#d55e00"


def goodput(make: str) -> list[float]:
    """Return the answers a second that came in time, for each load."""
    return [len(EXAMPLE["simulate"](EXAMPLE[make], rate, SECONDS).in_time) / SECONDS for rate in OFFERED]


def draw(limited: list[float], plain: list[float], file: Path) -> None:
    """Both over what is offered, and what the application can do."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(OFFERED, limited, color=LIMITED, marker="o", markersize=3, label="with ConcurrencyLimitMiddleware")
        axes.plot(OFFERED, plain, color=PLAIN, marker="o", markersize=3, label="without")
        capacity = EXAMPLE["WORKERS"] / EXAMPLE["QUERY"]
        axes.plot(
            [0, capacity, OFFERED[-1]], [0, capacity, capacity], color="black", linewidth=1, linestyle=":", label="what could be done"
        )
        axes.set_xlabel("requests offered a second")
        axes.set_ylabel("answers in time a second")
        axes.set_xlim(0, OFFERED[-1])
        axes.set_ylim(0, 300)
        axes.legend(loc="upper right", frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "guide" / "img" / "goodput.svg"
    draw(goodput("limited"), goodput("plain"), file)
    print(file)


if __name__ == "__main__":
    main()
