"""The instruction set and the threads of the engine, both chosen at import, and the machine."""

from __future__ import annotations

import atexit
import os
import platform

import numpy as np

from . import _core
from ._checks import arguments as check
from ._version import __version__


def _choose_isa() -> None:
    """FASTBP_ISA may lower the ISA. ImportError, naming those that work, for any other."""
    name = os.environ.get("FASTBP_ISA", "").strip().lower()
    if not name:
        return
    try:
        _core.select_isa(name)
    except ValueError:
        raise ImportError(
            f"FASTBP_ISA={name!r} does not run on this machine; these do: "
            f"{', '.join(_core.available_isas())}. Set it to one of them, or unset it"
        ) from None


def _choose_threads() -> None:
    """Set the number of threads of the environment. OMP_NUM_THREADS comes last and wins.

    joblib and other packages set it in their worker processes, which share the cores.
    """
    for name in ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").strip()
        if name == "OMP_NUM_THREADS":
            value = value.split(",")[0].strip()  # one number per nesting level
        if not value:
            continue
        digits = value.lstrip("0") if value.isascii() and value.isdigit() else ""
        if 0 < len(digits) <= 4 and int(digits) <= check.MAX_THREADS:
            _core.set_num_threads(int(digits))
        elif name == "FASTBP_NUM_THREADS":
            raise ImportError(
                f"{name}={value!r} must be a whole number from 1 to {check.MAX_THREADS}; "
                "set it so, or unset it"
            )


_choose_isa()
_choose_threads()
atexit.register(_core.stop_threads)  # if a daemon thread uses them, they end with the process


def set_num_threads(n: int) -> None:
    """Set how many threads training and prediction may use from now on, in this process.

    n is from 1 to 1024; anything else raises TypeError or ValueError. Small work uses fewer
    threads. The results are the same to the last bit for every n.

    >>> before = get_num_threads(); set_num_threads(1); get_num_threads()
    1
    >>> set_num_threads(before)
    """
    _core.set_num_threads(check.check_n_threads(n, "n"))


def get_num_threads() -> int:
    """How many threads training and prediction may use.

    The default is the number of processors that this process may run on, or the CPU quota of its
    control group if that is less. The variables FASTBP_NUM_THREADS and OMP_NUM_THREADS change it,
    of which the second wins, and so does `set_num_threads`.

    >>> get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def stop_threads() -> None:
    """Stop the engine's worker threads and wait until they have ended.

    The engine starts worker threads when a call first needs them and keeps them, asleep, for later
    calls. After `stop_threads` the process has none; the next call that needs them starts new ones
    and gives the same results, to the last bit. At the end of the interpreter this happens by
    itself. Call it to release the threads earlier, for instance before `os.fork`.

    Raises RuntimeError while they are in use: another thread trains or predicts with them, or the
    caller is a loss function in the middle of a step. A callback or a hook may call it.

    >>> stop_threads()
    >>> stop_threads()  # there is nothing left to stop
    """
    if not _core.stop_threads():
        raise RuntimeError(
            "the worker threads are in use; call stop_threads when nothing trains or predicts"
        )


def isa() -> str:
    """Name of the instruction set that the kernels use: scalar, avx2, avx512 or neon.

    >>> isa() in ("scalar", "avx2", "avx512", "neon")
    True
    """
    return _core.isa()


def config() -> dict[str, object]:
    """Versions, ISA, caches (bytes) and cores as a dict.

    >>> config()["isa"] == isa()
    True
    """
    cpu, l1d, l2, l3 = _core.machine()
    return {
        "fastbp": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu or platform.processor() or "unknown",
        "isa": isa(),
        "isa_available": _core.available_isas(),
        "l1d_bytes": l1d,
        "l2_bytes": l2,
        "l3_bytes": l3,
        "cores": usable_cores(),
        "threads": get_num_threads(),
    }


def usable_cores() -> int:
    """Processors that this process may run on, by its affinity if the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def show_config() -> None:
    """Print versions, instruction set, caches and cores, one line per entry."""
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:14} {text}")
