"""Instruction set, tuning and threads of the engine, set at import; facts about the machine."""

from __future__ import annotations

import atexit
import os
import platform
import sys

import numpy as np

from . import _core
from ._checks import arguments as check
from ._precision import get_float32_matmul_precision
from ._version import __version__


def _refusal(message: str) -> ImportError | SystemExit:
    """The exception for a wrong variable: an ImportError, or the exit of the command `fastbp`.

    The command cannot catch an ImportError, because Python imports the package before any of its
    modules. It prints the message alone, and its exit code is 2.
    """
    started = getattr(sys, "argv", None) or [""]
    name = os.path.splitext(os.path.basename(started[0]))[0]
    if name in ("fastbp", "-m"):  # -m is argv[0] while Python looks for the module to run
        print(f"fastbp: error: {message}", file=sys.stderr)
        return SystemExit(2)
    return ImportError(message)


def _choose_isa() -> None:
    """Set the instruction set of FASTBP_ISA; an error that lists the valid ones, if invalid."""
    name = os.environ.get("FASTBP_ISA", "").strip().lower()
    if not name:
        return
    try:
        _core.select_isa(name)
    except ValueError:
        refused = name == "amx" and _core.machine()[1] == "refused by the system"
        reason = "was refused by the system" if refused else "is not available on this machine"
        raise _refusal(
            f"FASTBP_ISA={name!r} {reason}; available: "
            f"{', '.join(_core.available_isas())}. Set it to one of them, or unset it"
        ) from None


def _choose_tune() -> None:
    """Set the tuning of FASTBP_TUNE; an error that lists the valid ones, if invalid."""
    name = os.environ.get("FASTBP_TUNE", "").strip().lower()
    if not name:
        return
    try:
        _core.select_tune(name)
    except ValueError:
        raise _refusal(
            f"FASTBP_TUNE={name!r} is not a machine that fastbp is tuned for; it knows: "
            f"{', '.join(_core.available_tunes())}. Set it to one of them, or unset it"
        ) from None


def _choose_threads() -> None:
    """Set the number of threads from the environment. OMP_NUM_THREADS takes precedence.

    joblib and other packages set OMP_NUM_THREADS in their worker processes, which share the cores.
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
            raise _refusal(
                f"{name}={value!r} must be a whole number from 1 to {check.MAX_THREADS}; "
                "correct it, or unset it"
            )


_choose_isa()
_choose_tune()
_choose_threads()
atexit.register(_core.stop_threads)  # does nothing if a daemon thread still uses them


def set_num_threads(n: int) -> None:
    """Set how many threads training and prediction may use in this process.

    n must be an integer from 1 to 1024; anything else raises TypeError or ValueError. Small
    problems use fewer threads. Results are bit-identical for every n.

    >>> before = get_num_threads(); set_num_threads(1); get_num_threads()
    1
    >>> set_num_threads(before)
    """
    _core.set_num_threads(check.check_n_threads(n, "n"))


def get_num_threads() -> int:
    """Return how many threads training and prediction may use.

    The default is the number of processors that this process may run on, or the CPU quota of its
    control group if that is lower. The environment variables FASTBP_NUM_THREADS and OMP_NUM_THREADS
    change the default, and OMP_NUM_THREADS takes precedence. `set_num_threads` overrides both.

    >>> get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def stop_threads() -> None:
    """Stop the engine's worker threads and wait until they have ended.

    The engine starts worker threads when a call first needs them, and keeps them asleep for later
    calls. The first call after `stop_threads` that needs threads starts new ones; results are
    bit-identical. When the interpreter exits, the threads are stopped automatically. Call this
    function to release them earlier, for example before `os.fork`.

    Raises RuntimeError while the threads are in use, which is the case if another thread trains or
    predicts, or if a loss function calls this during a step. Callbacks and hooks may call it.

    >>> stop_threads()
    >>> stop_threads()  # no threads are left, so this does nothing
    """
    if not _core.stop_threads():
        raise RuntimeError(
            "the worker threads are in use: call stop_threads when nothing trains or predicts"
        )


def isa() -> str:
    """Return the name of the instruction set in use.

    It is scalar, neon, avx2, avx512, avx512_bf16 or amx. The last two are avx512 with products in
    bfloat16, for networks whose `matmul_precision` is not "highest". avx512_bf16 is chosen by
    default where it was measured to be faster than float32, on AMD Zen 4; amx wherever the
    processor has it and Linux lets the process use it. amx_emulated exists only in builds for
    tests.

    >>> isa() in {"scalar", "neon", "avx2", "avx512", "avx512_bf16", "amx", "amx_emulated"}
    True
    """
    return _core.isa()


def config() -> dict[str, object]:
    """Return versions, instruction set, tuning, caches in bytes, cores and settings as a dict.

    >>> config()["isa"] == isa()
    True
    """
    cpu, amx, l1d, l2, l3 = _core.machine()
    return {
        "fastbp": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu or platform.processor() or "unknown",
        "isa": isa(),
        "isa_available": _core.available_isas(),
        "amx": amx,
        "tune": _core.tune(),
        "l1d_bytes": l1d,
        "l2_bytes": l2,
        "l3_bytes": l3,
        "cores": usable_cores(),
        "threads": get_num_threads(),
        "matmul_precision": get_float32_matmul_precision(),
    }


def usable_cores() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def show_config() -> None:
    """Print the entries of `config`, one per line."""
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:16} {text}")
