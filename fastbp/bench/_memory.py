"""The peak memory of a process, and that of a process that only imports NumPy."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys


def peak_bytes() -> int | None:
    """Return the peak resident memory of this process so far, or None if the system has no count.

    On Linux, a child inherits ru_maxrss from its parent, so VmHWM is read instead.
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
    """Reset the peak to the memory that is resident now, if the system can do that (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as request:
        request.write("5")


def numpy_bytes() -> int | None:
    """Return the peak memory of a process that only imports NumPy."""
    code = (
        f"from __future__ import annotations\n{inspect.getsource(peak_bytes)}\n"
        "import numpy\nprint(peak_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "None" else int(done.stdout)
