"""The picture of bench_scaling.py."""

from pathlib import Path

from matplotlib.axes import Axes

from cerraseg.report.figures import GRID, INK, drawn

Curves = dict[str, dict[int, dict[str, float]]]
"""Step → patches → what was measured."""

STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
"""Colour and marker of each step, from the palette of Okabe and Ito."""


def draw(path: Path, curves: Curves) -> None:
    """Time over patches with a guide of slope 1, and memory over patches."""
    with drawn(path, "Time and memory of the steps", "simulated patches", (9, 3.4)) as figure:
        time, memory = figure.subplots(1, 2)
        for (step, sizes), (colour, marker) in zip(curves.items(), STYLES, strict=True):
            for axes, key in ((time, "seconds"), (memory, "anonymous")):
                values = [measured[key] for measured in sizes.values()]
                axes.plot(list(sizes), values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=step)
        guide(time, curves)
        memory.set(xscale="log", xlabel="patches", ylabel="memory, without mapped files (MB)")
        memory.set_ylim(bottom=0)
        time.set(xscale="log", yscale="log", xlabel="patches", ylabel="time (s)")
        for axes in (time, memory):
            axes.grid(color=GRID, linewidth=0.6)
            axes.minorticks_off()
            axes.set_xticks(sizes := sorted(next(iter(curves.values()))), [f"{size:,}" for size in sizes])
        figure.legend(*time.get_legend_handles_labels(), loc="outside right center", fontsize=8)


def guide(axes: Axes, curves: Curves) -> None:
    """A dashed line along which time is proportional to the number of patches, below the fastest step."""
    sizes = sorted(next(iter(curves.values())))
    start = 0.6 * min(values[sizes[0]]["seconds"] for values in curves.values())
    line = [start * size / sizes[0] for size in sizes]
    axes.plot(sizes, line, linestyle="--", color=INK, linewidth=0.9, label="slope 1")
