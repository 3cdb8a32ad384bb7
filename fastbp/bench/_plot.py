"""The chart of a report: times of the peers relative to fastbp, and fastbp's share of the peak."""

from __future__ import annotations

import os
from typing import Any

from .._files.atomic import atomic_write
from ._layout import Report, Result
from ._peers import ENGINE, PROGRAMS
from ._suites import join_widths

# Colours for colour-blind people, after Okabe & Ito, and also a marker for each program.
_STYLES = {
    "torch": ("#D55E00", "o"),
    "torch-compile": ("#E69F00", "s"),
    "jax": ("#0072B2", "o"),
    "jax-async": ("#56B4E9", "s"),
    "jax-scan": ("#56B4E9", "D"),
    "sklearn": ("#009E73", "o"),
    "reference": ("#999999", "v"),
}
_INK, _FAINT, _BAR = "#222222", "#DDDDDD", "#AA3377"


def draw(report: Report, path: str | os.PathLike[str]) -> None:
    """Draw the chart and write it to a file; the extension of the path determines the format.

    The chart has one row per configuration. If peers were measured, the left side shows their time
    divided by that of fastbp, each at its best number of threads. The right side shows fastbp's
    share of the FMA peak on the lowest number of threads.

    Raises ImportError if matplotlib is not installed, ValueError for an unknown extension, and
    OSError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results = report["results"]
    with_peers = any(result["ratios"] for result in results)
    figure = Figure(figsize=(9.0, 1.9 + 0.5 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    if with_peers:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
        _draw_ratios(left, results)
    else:
        left = right = figure.subplots()
    _draw_shares(right, results, report["options"]["threads"][0])
    left.set_yticks(range(len(results)), [_label(result) for result in results], fontsize=9)
    left.set_ylim(len(results) - 0.4, -0.6)
    figure.suptitle(_title(report, with_peers), fontsize=11, color=_INK, x=0.01, ha="left")
    figure.supxlabel(_machine(report), fontsize=7.5, color="#666666", x=0.01, ha="left")
    ending = os.path.splitext(os.fspath(path))[1][1:] or "png"
    with atomic_write(path) as file:
        figure.savefig(file, format=ending, dpi=160)


def _draw_ratios(axes: Any, results: list[Result]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.axvline(1, color=_BAR, linewidth=2, zorder=1)
    order = [p for p in PROGRAMS if any(p in result["ratios"] for result in results)]
    for program in order:
        points = [
            (i, r["ratios"][program]) for i, r in enumerate(results) if program in r["ratios"]
        ]
        colour, marker = _STYLES[program]
        rows = [i + (order.index(program) - (len(order) - 1) / 2) * 0.09 for i, _ in points]
        medians = [ratio["median"] for _, ratio in points]
        below = [ratio["median"] - ratio["q1"] for _, ratio in points]
        above = [ratio["q3"] - ratio["median"] for _, ratio in points]
        axes.errorbar(
            medians,
            rows,
            xerr=(below, above),
            fmt=marker,
            color=colour,
            markersize=5.5,
            elinewidth=1,
            label=program,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ratios = [ratio["median"] for result in results for ratio in result["ratios"].values()]
    low, high = 0.8 * min(1.0, *ratios), 1.25 * max(1.0, *ratios)
    axes.set_xlim(low, high)
    ticks = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.set_title("time divided by that of fastbp (the line)", fontsize=9, color=_INK)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, fontsize=8, frameon=False)
    _band(axes, len(results))
    _clean(axes)


def _draw_shares(axes: Any, results: list[Result], n_threads: int) -> None:
    shares = []
    for result in results:
        runs = [run for run in result["runs"] if run["program"] == ENGINE]
        summary = next(run["peak_share"] for run in runs if run["threads"] == n_threads)
        shares.append(100 * summary["median"])
    axes.barh(range(len(shares)), shares, height=0.55, color=_BAR, zorder=2)
    for i, share in enumerate(shares):
        axes.text(share + 1.5, i, f"{share:.0f} %", va="center", fontsize=8.5, color=_INK)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)])
    threads = f"{n_threads} thread{'s' * (n_threads > 1)}"
    axes.set_title(f"share of FMA peak, {threads}", fontsize=9, color=_INK)
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


def _title(report: Report, with_peers: bool) -> str:
    kinds = {result["config"]["kind"] for result in report["results"]}
    what = "Training step (forward, loss, backward, Adam)" if kinds == {"steps"} else "fastbp bench"
    dtype = report["options"]["dtype"]
    return f"{what}, {dtype}" + (", each program at its best threads" if with_peers else "")


def _machine(report: Report) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}"
    return f"{where}; {report['date'][:10]}; {versions}"
