"""Use the installed fastbp as its README says, in an environment that has only it and NumPy.

run_in.py calls this program. Its last line is JSON: the system, the ISA, the checks, the faults.
"""

import doctest
import importlib.metadata
import json
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
INSTALLERS = {"pip", "setuptools"}
BEST = {"x86_64": {"avx2", "avx512", "avx512_bf16", "amx"}, "aarch64": {"neon"}}


class Report:
    """Counts checks and keeps the faults."""

    def __init__(self):
        self.checks, self.faults = 0, []

    def check(self, holds, fault):
        self.checks += 1
        if not holds:
            self.faults.append(fault)


def check_package(report):
    """Where fastbp comes from, what is beside it, and which kernels it has chosen."""
    import fastbp

    found = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()} - INSTALLERS
    report.check(found == {"fastbp", "numpy"}, f"the environment has {sorted(found)}")
    report.check(sys.prefix in fastbp.__file__, f"fastbp is that of {fastbp.__file__}")
    machine = platform.machine()
    report.check(fastbp.isa() in BEST[machine], f"the ISA on {machine} is {fastbp.isa()}")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        report.check(not sys._is_gil_enabled(), "the import of fastbp has turned the GIL on")
    return fastbp.isa()


def check_commands(report):
    """Each command of the first page ends with 0, prints what it should, and writes its model."""
    for arguments, expected in [
        (["--version"], importlib.metadata.version("fastbp")),
        (["info"], "isa_available"),
        (["train", "-o", "digits.safetensors"], "test accuracy: 9"),
        (["predict", "digits.safetensors", "digits"], "\n"),
    ]:
        done = subprocess.run(
            [Path(sys.executable).with_name("fastbp"), *arguments],
            check=False,
            capture_output=True,
            text=True,
        )
        report.check(
            done.returncode == 0 and expected in done.stdout,
            f"fastbp {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}",
        )


def check_page(path, report):
    """Each example of a page prints what the page says."""
    text = re.sub(r"^```.*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)
    printed = []
    result = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=printed.append)
    report.checks += result.attempted
    report.check(result.attempted > 0, f"{path.name} has no examples")
    if result.failed:
        report.faults.append("".join(printed))


def system_name():
    """The name of the distribution, such as "Debian GNU/Linux 13 (trixie)", and its C library."""
    libc = " ".join(platform.libc_ver()) or "musl"
    return f"{platform.freedesktop_os_release().get('PRETTY_NAME', 'Linux')}, {libc.strip()}"


def main():
    report = Report()
    isa = check_package(report)
    check_commands(report)
    check_page(Path(__file__).parents[3] / "README.md", report)
    about = {
        "system": system_name(),
        "python": sys.version.split()[0] + sys.abiflags,
        "machine": platform.machine(),
        "isa": isa,
        "checks": report.checks,
        "faults": report.faults,
    }
    print(json.dumps(about))


if __name__ == "__main__":
    main()
