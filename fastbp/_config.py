"""What the engine runs on: the ISA, chosen at import, and the machine."""

from __future__ import annotations

import os
import platform

import numpy as np

from . import _core
from ._version import __version__


def _choose_isa() -> None:
    """FASTBP_ISA may lower the ISA; ImportError, naming those that work, if it asks for another."""
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


_choose_isa()


def isa() -> str:
    """Name of the instruction set whose kernels run: scalar, avx2, avx512 or neon.

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
    }


def usable_cores() -> int:
    """Processors that this process may run on (its affinity, where the system tells)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def show_config() -> None:
    """Print `config()`, a line an entry."""
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:14} {text}")
