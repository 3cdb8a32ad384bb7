"""Shared by the kernel benchmarks: the FMA peak of the core, and the table at the end."""

from statistics import median

import pytest

import fastbp
from fastbp import _core
from fastbp.bench._timing import calibrate

PEAK_SECONDS = 0.01
ROUNDS = 7


class Meter:
    """Measures the time of a piece of work, and the FMA peak of the core before each round."""

    def __init__(self, benchmark):
        self._benchmark = benchmark

    def __call__(self, run, *, seconds=0.02, often=1, flops=None, elements=None, dtype, threads=1):
        """Time rounds of run(repeats), each about `seconds` long, and store results in extra_info.

        often is the number of pieces of work in one repeat. flops and elements refer to one piece;
        they give the share of the peak and the ns per element.
        """
        peaks = []

        def sample():
            peaks.append(_core.fma_peak(dtype == "float64", PEAK_SECONDS))

        repeats = calibrate(run, seconds)
        self._benchmark.pedantic(run, args=(repeats,), setup=sample, rounds=ROUNDS)
        info = self._benchmark.extra_info
        info |= {"isa": fastbp.isa(), "dtype": dtype, "repeats": repeats, "threads": threads}
        if self._benchmark.disabled:
            return
        times = [time / (repeats * often) for time in self._benchmark.stats.stats.data]
        info["us"] = 1e6 * median(times)
        info["peak_gflops"] = median(peaks)
        # the work the core could have done in this time; it does not depend on the clock rate
        info["mflop_time"] = median(1e3 * t * peak for t, peak in zip(times, peaks, strict=True))
        if flops is not None:
            info["gflops"] = 1e-9 * flops / median(times)
            info["peak_share"] = 1e-6 * flops / (threads * info["mflop_time"])
        if elements is not None:
            info["ns_per_element"] = 1e9 * median(times) / elements


@pytest.fixture
def meter(benchmark):
    """Return a Meter for this benchmark."""
    return Meter(benchmark)


def pytest_configure(config):
    """Hide the table of pytest-benchmark; the table below replaces it."""
    config.option.benchmark_quiet = True


def pytest_terminal_summary(terminalreporter):
    """Print one line per benchmark: time, GFLOP/s and share of the peak."""
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    found = [] if session is None else [b for b in session.benchmarks if "us" in b.extra_info]
    if not found:
        return
    width = max(len(b.name) for b in found)
    terminalreporter.section(f"compared with the FMA peak of the same run, {fastbp.isa()}")
    columns = f"{'µs':>12}{'GFLOP/s':>10}{'of peak':>9}{'ns/element':>12}{'peak':>8}"
    terminalreporter.line(f"{'':{width}}{columns}")
    for b in found:
        info = b.extra_info
        rate = f"{info['gflops']:.1f}" if "gflops" in info else ""
        share = f"{100 * info['peak_share']:.1f} %" if "peak_share" in info else ""
        each = f"{info['ns_per_element']:.3f}" if "ns_per_element" in info else ""
        line = f"{info['us']:12,.2f}{rate:>10}{share:>9}{each:>12}{info['peak_gflops']:8.1f}"
        terminalreporter.line(f"{b.name:{width}}{line}")
