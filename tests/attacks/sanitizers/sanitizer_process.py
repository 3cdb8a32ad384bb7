"""Processes that load an extension with a sanitizer, and write their reports to a folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TESTS = HERE.parents[1]

SHARED = {"abort_on_error": 1}
OPTIONS = {
    "asan": {
        "ASAN_OPTIONS": {
            **SHARED,
            "allocator_may_return_null": 1,  # tests ask for more memory than there is
            "alloc_dealloc_mismatch": 0,  # libraries of others, in C++
            "detect_leaks": 1,
            "detect_stack_use_after_return": 0,  # gcc 12 then misaligns 64-byte vectors
            "exitcode": 0,  # leaks are judged by their stacks; an error aborts the process
        },
    },
    "ubsan": {"UBSAN_OPTIONS": {**SHARED, "print_stacktrace": 1}},
    "tsan": {
        "TSAN_OPTIONS": {
            "abort_on_error": 0,
            "allocator_may_return_null": 1,
            "die_after_fork": 0,
            "exitcode": 66,
            "ignore_noninstrumented_modules": 1,  # only locks of Python and NumPy are seen
            "suppressions": HERE / "tsan.supp",
        },
    },
}
LIBRARIES = {"asan": ["libasan.so", "libstdc++.so.6"], "ubsan": [], "tsan": ["libtsan.so"]}
FLAGS = {
    "asan": ["-fsanitize=address"],
    "ubsan": ["-fsanitize=undefined,float-cast-overflow"],
    "tsan": ["-fsanitize=thread"],
}
# Whether Python itself was built with it, and so brings its library.
BUILT_WITH = sysconfig.get_config_var("CONFIG_ARGS") or ""
BUILT_IN = {
    "asan": "--with-address-sanitizer" in BUILT_WITH,
    "ubsan": "--with-undefined-behavior-sanitizer" in BUILT_WITH,
    "tsan": "--with-thread-sanitizer" in BUILT_WITH,
}
SYMBOLS = {"asan": b"__asan_init", "ubsan": b"__ubsan_handle", "tsan": b"__tsan_init"}


def library(name):
    """The path of a library of gcc."""
    path = ""
    if gcc := shutil.which("gcc"):
        command = [gcc, f"-print-file-name={name}"]
        path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(path):  # gcc answers with the name alone if it has no such file
        sys.exit(f"there is no {name} of gcc here; on Debian: apt-get install gcc libstdc++6")
    return os.path.realpath(path)


def environment(sanitizer, folder, isa=None):
    """The variables of a process that loads the extension and writes its reports to a folder."""
    variables = os.environ | {
        "SANITIZER": sanitizer,
        "LD_PRELOAD": " ".join(map(library, [] if BUILT_IN[sanitizer] else LIBRARIES[sanitizer])),
        "PYTHONSAFEPATH": "1",  # the installed package, not fastbp/ in this folder
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(HERE), str(TESTS), os.environ.get("PYTHONPATH")])
        ),
    }
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # without a GIL there is only mimalloc
        variables["PYTHONMALLOC"] = "malloc"  # one block of the allocator for each object
    for name, options in OPTIONS[sanitizer].items():
        options = options | {"log_path": folder / "report"}
        variables[name] = ":".join(f"{key}={value}" for key, value in options.items())
    if isa:
        variables["FASTBP_ISA"] = isa
    return variables


def python(sanitizer, folder, code, *arguments, isa=None, **options):
    """Run code in a process with the sanitizer."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=environment(sanitizer, folder, isa), text=True, check=False, **options
    )


def check_build(sanitizer, folder):
    """End with a message if the installed extension has no sanitizer; return its ISAs."""
    code = """from fastbp import _core
isas = _core.available_isas()
print(_core.__file__, *(f"{isa}:{_core.isa_base(isa)}" for isa in isas))"""
    done = python(sanitizer, folder, code, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"the extension does not load under {sanitizer}")
    path, *isas = done.stdout.split()
    if SYMBOLS[sanitizer] not in Path(path).read_bytes():
        sys.exit(f"{path} was not built for {sanitizer}; `nox -s {sanitizer}` builds it")
    return dict(isa.split(":") for isa in isas)
