"""The chart of reports: times of the peers relative to fastbp, and fastbp's share of the peak."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .._files.atomic import atomic_write
from ._layout import Comparison, Report, Result, Summary
from ._report import engine_runs, machine_name, neighbours
from ._suites import join_widths

# Colours for colour-blind people, after Okabe & Ito, and also a marker for each program.
_OWN = "fastbp at highest"
_STYLES = {
    "torch": ("#D55E00", "o"),
    "torch-compile": ("#E69F00", "s"),
    "jax": ("#0072B2", "o"),
    "jax-async": ("#56B4E9", "s"),
    "jax-scan": ("#56B4E9", "D"),
    "sklearn": ("#009E73", "o"),
    "reference": ("#999999", "v"),
    _OWN: ("#AA3377", "|"),
}
_INK, _FAINT, _BAR = "#222222", "#DDDDDD", "#AA3377"


def draw(reports: Sequence[Report], path: str | os.PathLike[str]) -> None:
    """Draw the chart and write it to a file; the extension of the path determines the format.

    Each machine has a part of its own, with one row per configuration. If peers were measured,
    there is one panel per precision with their time divided by that of fastbp, each at its fastest
    run. The last panel shows fastbp's share of the peak at its finest precision, on the lowest
    number of threads.

    Raises ImportError if matplotlib is not installed, ValueError for an unknown extension, and
    OSError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_panels = max(len(_compared(report)) for report in reports)
    heights = [1.5 + 0.5 * len(report["results"]) for report in reports]
    figure = Figure(figsize=(5.2 + 3.8 * n_panels, 0.6 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(reports), 1, height_ratios=heights, squeeze=False)[:, 0]
    handles: dict[str, Any] = {}
    for part, report in zip(parts, reports, strict=True):
        handles |= _draw_machine(part, report)
    if handles:
        order = [program for program in _STYLES if program in handles]
        figure.legend(
            [handles[program] for program in order],
            order,
            loc="outside lower center",
            ncols=len(order),
            fontsize=8.5,
            frameon=False,
        )
    ending = os.path.splitext(os.fspath(path))[1][1:] or "png"
    with atomic_write(path) as file:
        figure.savefig(file, format=ending, dpi=160)


def _draw_machine(part: Any, report: Report) -> dict[str, Any]:
    """Draw the part of one machine; return {program: what the legend shows for it}."""
    results, precisions = report["results"], _compared(report)
    widths = [2.2] * len(precisions) + [1]
    axes = part.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    handles: dict[str, Any] = {}
    for panel, precision in zip(axes, precisions, strict=False):
        handles |= _draw_ratios(panel, results, precision)
    _draw_shares(axes[-1], report)
    axes[0].set_yticks(range(len(results)), [_label(result) for result in results], fontsize=9)
    axes[0].set_ylim(len(results) - 0.4, -0.6)
    part.suptitle(_title(report), fontsize=11, color=_INK, x=0.01, ha="left")
    part.supxlabel(_footnote(report), fontsize=7.5, color="#666666", x=0.01, ha="left")
    return handles


def _compared(report: Report) -> list[str]:
    """Return the precisions at which there is something to compare with."""
    comparisons = [result["comparisons"] for result in report["results"]]
    return [
        precision
        for precision in report["options"]["precisions"]
        if any(_points(found[precision]) for found in comparisons)
    ]


def _points(comparison: Comparison) -> dict[str, Summary]:
    """Return the ratios to draw: those of the peers, and that of fastbp at "highest"."""
    own = {_OWN: comparison["over_highest"]} if "over_highest" in comparison else {}
    return comparison["ratios"] | own


def _draw_ratios(axes: Any, results: list[Result], precision: str) -> dict[str, Any]:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.axvline(1, color=_BAR, linewidth=2, zorder=1)
    drawn = [_points(result["comparisons"][precision]) for result in results]
    order = [program for program in _STYLES if any(program in points for points in drawn)]
    handles = {}
    for program in order:
        points = [(i, found[program]) for i, found in enumerate(drawn) if program in found]
        colour, marker = _STYLES[program]
        medians = [ratio["median"] for _, ratio in points]
        below = [ratio["median"] - ratio["q1"] for _, ratio in points]
        above = [ratio["q3"] - ratio["median"] for _, ratio in points]
        handles[program] = axes.errorbar(
            medians,
            [i + (order.index(program) - (len(order) - 1) / 2) * 0.09 for i, _ in points],
            xerr=(below, above),
            fmt=marker,
            color=colour,
            markersize=5.5,
            elinewidth=1,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ratios = [ratio["median"] for points in drawn for ratio in points.values()]
    low, high = 0.8 * min(1.0, *ratios), 1.25 * max(1.0, *ratios)
    axes.set_xlim(low, high)
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200]
    if high < 5 * low:
        ticks += [0.7, 1.5, 3]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    title = f"{precision}: time divided by that of fastbp (the line)"
    axes.set_title(title, fontsize=9, color=_INK)
    _band(axes, len(results))
    _clean(axes)
    return handles


def _draw_shares(axes: Any, report: Report) -> None:
    results, n_threads = report["results"], report["options"]["threads"][0]
    precision = report["options"]["precisions"][0]
    runs = [engine_runs(result, precision)[n_threads] for result in results]
    shares = [100 * run["peak_share"]["median"] for run in runs]
    axes.barh(range(len(shares)), shares, height=0.55, color=_BAR, zorder=2)
    for i, share in enumerate(shares):
        axes.text(share + 1.5, i, f"{share:.0f} %", va="center", fontsize=8.5, color=_INK)
    axes.set_xlim(0, max(112, 1.15 * max(shares)))
    axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)])
    threads = f"{n_threads} thread{'s' * (n_threads > 1)}"
    axes.set_title(f"share of peak, {threads}", fontsize=9, color=_INK)
    _band(axes, len(results))
    _clean(axes)


def _band(axes: Any, n_rows: int) -> None:
    for i in range(1, n_rows, 2):
        axes.axhspan(i - 0.5, i + 0.5, color="#F5F5F5", zorder=0, linewidth=0)


def _clean(axes: Any) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=8.5, length=0, which="both")
    axes.grid(axis="x", color=_FAINT, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def _label(result: Result) -> str:
    config = result["config"]
    return f"{config['name']}\n{join_widths(config['widths'])}, batch {config['batch']}"


def _title(report: Report) -> str:
    kinds = {result["config"]["kind"] for result in report["results"]}
    what = "Training step (forward, loss, backward, Adam)" if kinds == {"steps"} else "fastbp bench"
    return f"{machine_name(report)}\n{what}, {report['options']['dtype']}"


def _footnote(report: Report) -> str:
    versions = report["machine"]["versions"].items()
    parts = [report["date"][:10], ", ".join(f"{name} {version}" for name, version in versions)]
    return "; ".join([*parts, *filter(None, [neighbours(report)])])
