"""Peak memory of a process, and that of one which imports NumPy alone."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys


def peak_bytes() -> int | None:
    """Most resident memory this process has had so far, or None where nobody keeps count.

    Linux hands ru_maxrss down from parent to child, so its own count of each program is read.
    """
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Start counting again from what is resident now, where the system can (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as request:
        request.write("5")


def numpy_bytes() -> int | None:
    """Peak memory of a process that imports NumPy and does nothing more."""
    code = (
        f"from __future__ import annotations\n{inspect.getsource(peak_bytes)}\n"
        "import numpy\nprint(peak_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "None" else int(done.stdout)
