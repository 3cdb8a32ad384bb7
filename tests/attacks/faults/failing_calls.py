"""Failing calls and kills, by the library of failing_calls.c in the process itself.

`restart_with_shim` runs a program again with the library preloaded; `Shim` is its interface there.
"""

import ctypes
import gc
import os
import platform
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # tests/

from engine_build import find_compiler

ALLOCATION, SYSTEM_CALL = 1, 2  # kinds of calls, as in failing_calls.c
FAIL, SHORT, SIGNAL = 0, 1, 2  # effects
ALWAYS = 2**62  # so many calls
_MEMORY = "/dev/shm"
_MARK = "FAILING_CALLS_LIBRARY"


def build(folder):
    """Compile the library into a folder; returns its path. SystemExit if that is not possible."""
    compiler = find_compiler()
    if platform.libc_ver()[0] != "glibc" or compiler is None:
        raise SystemExit(
            "failing calls need Linux with glibc and a C compiler: apt-get install gcc libc6-dev"
        )
    library = Path(folder) / "failing_calls.so"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC"]
    source = HERE / "failing_calls.c"
    subprocess.run([compiler, *flags, source, "-o", library, "-ldl"], check=True)
    return library


def environment(library):
    """The environment of a process with the library, in which Python, too, allocates by malloc."""
    names = {"LD_PRELOAD": str(library), _MARK: str(library), "PYTHONMALLOC": "malloc"}
    if os.access(_MEMORY, os.W_OK):  # where fsync takes no time
        names["TMPDIR"] = _MEMORY
    return os.environ | names | {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def restart_with_shim():
    """Run this program again, with the library preloaded, and exit as it exits.

    Returns at once in that second process.
    """
    if _MARK in os.environ:
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *sys.orig_argv[1:]]
        done = subprocess.run(command, env=environment(build(folder)), check=False)
    sys.exit(done.returncode)


class Shim:
    """The library in this process, which counts calls of the engine, or of the whole process.

    `module` is the path of the engine's module, or None to count calls from everywhere.
    """

    def __init__(self, module=None):
        self._library = library = ctypes.CDLL(os.environ[_MARK])
        library.failing_calls_arm.argtypes = [
            ctypes.c_int,
            ctypes.c_long,
            ctypes.c_long,
            ctypes.c_int,
            ctypes.c_int,
        ]
        for name in ("disarm", "struck", "live"):
            getattr(library, f"failing_calls_{name}").restype = ctypes.c_long
        library.failing_calls_name.restype = ctypes.c_char_p
        library.failing_calls_watch.argtypes = [ctypes.c_void_p]
        library.failing_calls_watch.restype = ctypes.c_bool
        library.failing_calls_report_crashes()
        self.watch(module)

    def watch(self, module):
        """Count calls from this module alone, or from everywhere."""
        address = None
        if module is not None:
            name = "PyInit_" + Path(module).name.partition(".")[0]
            address = ctypes.cast(getattr(ctypes.CDLL(module), name), ctypes.c_void_p)
        if not self._library.failing_calls_watch(address):
            raise RuntimeError(f"{module} is not loaded")

    def arm(self, kind, first, many=1, effect=FAIL, value=0):
        """Let the calls first … first + many - 1 of a kind have an effect from now on."""
        self._library.failing_calls_arm(kind, first, many, effect, value)

    def disarm(self):
        """Stop counting; returns the number of calls since `arm`."""
        while True:
            try:
                return self._library.failing_calls_disarm()
            except MemoryError:  # the allocation that failed was one of this call
                pass

    @property
    def struck(self):
        """How many calls had the effect."""
        return self._library.failing_calls_struck()

    @property
    def name(self):
        """The name of the last call that had the effect, or ''."""
        return self._library.failing_calls_name().decode()

    def live(self):
        """The number of allocations that the watched module has not freed."""
        gc.collect()
        return self._library.failing_calls_live()


class Caught:
    """Keeps the exception of a with block as `error`."""

    error = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.error = error
        return True


def text_of(error):
    """An exception with its traceback, as Python prints it."""
    return "".join(traceback.format_exception(error))
