"""Install a wheel of fastbp in an empty environment of each root, and use and test it there.

A root is a folder with another Linux, or the path of a Python of this machine.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

INSTALLED = "source/tests/attacks/platforms/installed.py"
LIMIT = 1800  # seconds for a command, besides the time that it is given for tests
SEARCH = ("opt/python/bin", "usr/local/bin", "usr/bin")
VERSIONS = range(30, 10, -1)  # of Python 3, the newest first
PACKAGES = ["pytest>=8", "hypothesis>=6.100", "joblib>=1.3"]  # as cibuildwheel installs
# Mounts of a root exist only for the processes in it, and the end of the first one ends all others.
ENTER = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"]
MOUNT = (
    'mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --rbind /dev "$0/dev" '
    '&& exec chroot "$0" "$@"'
)
ROOTS = """\
Roots from Debian, made by the superuser (apt-get install debootstrap):

  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv trixie ROOT

For AArch64 on x86-64, after apt-get install qemu-user-static binfmt-support, the same with
--arch=arm64. Its first stage alone, with --foreign, needs no emulator; then, to end it:

  chroot ROOT /debootstrap/debootstrap --second-stage

Debian 11 has an older glibc, but also an older Python. Compile one that fastbp supports, in the
root, from the source package of Debian 12: python3.11_3.11.2.orig.tar.gz, which is in
deb.debian.org/debian/pool/main/p/python3.11. Without /dev/shm it would have no semaphores.

  debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,make,libffi-dev,\
zlib1g-dev,libssl-dev bullseye ROOT
  tar -xf python3.11_3.11.2.orig.tar.gz -C ROOT/root
  unshare --mount sh -c 'mount --rbind /dev ROOT/dev && chroot ROOT sh -c "cd /root/Python-3.11* &&
    ./configure --prefix=/opt/python && make && make install"'

The newest Python from 3.11 in /opt/python/bin, /usr/local/bin and /usr/bin of a root is used.
"""


class Fault(Exception):
    """What went wrong in a root, with what a program printed."""


class Place:
    """A root, or a Python of this machine; its processes see the folder `here` as `inside`."""

    def __init__(self, given):
        path = Path(given).resolve()
        self.name = path.name
        if path.is_dir():
            self.root, self.enter = path, [*ENTER, MOUNT, str(path)]
            self.python = self._find_python()
            shutil.copyfile("/etc/resolv.conf", path / "etc/resolv.conf")
        elif path.is_file():
            # The name as it was given: a link may belong to an environment.
            self.root, self.enter, self.python = Path("/"), [], os.path.abspath(given)
        else:
            raise Fault(f"there is no folder and no program {given}; --help says how to make roots")
        self.here = Path(tempfile.mkdtemp(prefix="fastbp-", dir=self.root / "tmp"))
        self.inside = Path("/", self.here.relative_to(self.root))
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.inside),
            "LANG": "C.UTF-8",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        names = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
        self.environment |= {name: os.environ[name] for name in names if name in os.environ}
        if "PIP_CERT" in os.environ:
            shutil.copyfile(os.environ["PIP_CERT"], self.here / "certificates.crt")
            self.environment["PIP_CERT"] = str(self.inside / "certificates.crt")

    def _find_python(self):
        for number in VERSIONS:
            for name in (f"{folder}/python3.{number}" for folder in SEARCH):
                if os.path.lexists(self.root / name):
                    return f"/{name}"
        raise Fault(f"{self.root} has no Python from 3.11 in {', '.join(SEARCH)}; see --help")

    def run(self, *command, more=None, limit=LIMIT, statuses=(0,)):
        """Run a command in the root and return what it printed."""
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', self.inside]
        words = [str(word) for word in (*self.enter, *shell, *command)]
        try:
            done = subprocess.run(
                words,
                env=self.environment | (more or {}),
                check=False,
                timeout=limit,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
        except subprocess.TimeoutExpired as error:
            raise Fault(f"{' '.join(words)} takes longer than {error.timeout:.0f} s") from None
        if done.returncode not in statuses:
            shown = f"{' '.join(words)}\nended with {done.returncode}:\n{done.stdout[-6000:]}"
            if "Exec format error" in done.stdout:
                shown += "\nTo run programs of other machines: apt-get install qemu-user-static"
            raise Fault(shown)
        return done.stdout

    def remove(self):
        shutil.rmtree(self.here, ignore_errors=True)


def install(place, wheels, sdist):
    """Make an empty environment with NumPy, and install there the wheel that pip chooses.

    The tests, pages and installed.py are those of the source distribution, so they belong to the
    wheels. The sources of the package are left out.
    """
    (place.here / "wheels").mkdir()
    for wheel in wheels:
        shutil.copy(wheel, place.here / "wheels")
    with tarfile.open(sdist) as archive:
        archive.extractall(place.here)  # our own file; Python 3.11.2 has no argument `filter`
    (unpacked,) = place.here.glob("fastbp-*/")
    shutil.rmtree(unpacked / "fastbp")
    unpacked.rename(place.here / "source")
    place.run(place.python, "-m", "venv", "env")
    pip = ["env/bin/python", "-m", "pip", "install", "-q", "--only-binary=:all:"]
    place.run(*pip, "numpy>=1.24")
    place.run(*pip, "--no-index", "--find-links", "wheels", "fastbp")
    return pip


def check(place, wheels, sdist, seconds, paths):
    """Install, use and test fastbp in one place; return the number of tests that passed."""
    pip = install(place, wheels, sdist)
    about = json.loads(place.run("env/bin/python", INSTALLED).splitlines()[-1])
    print(
        f"{place.name}: {about['system']}, Python {about['python']}, {about['machine']}, "
        f"{about['isa']}; {about['checks']} checks of the installed package",
        flush=True,
    )
    if about["faults"]:
        raise Fault("\n".join(about["faults"]))
    place.run(*pip, *PACKAGES)
    emulated = about["machine"] != platform.machine()
    environment = {
        "PYTHONPATH": str(place.inside / "source/tests/attacks/sanitizers"),
        "SANITIZER": "qemu" if emulated else "none",
    }
    command = ["env/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not once"]
    command += ["-p", "under_sanitizer", "--counts", "counts.json", "--budget", str(seconds)]
    # pytest ends with 2 when the time is spent.
    paths = [f"source/{path}" for path in paths]
    text = place.run(*command, *paths, more=environment, limit=seconds + LIMIT, statuses=(0, 1, 2))
    counts = json.loads((place.here / "counts.json").read_text())
    print(f"{place.name}: {text.rstrip().splitlines()[-1]}", flush=True)
    if counts["failed"] or counts["error"] or not counts["passed"]:
        raise Fault(text[-20000:])
    return about["checks"] + counts["passed"]


def demand(roots):
    """End with what to install, if roots cannot be entered."""
    if sys.platform != "linux":
        sys.exit("this program needs Linux")
    if any(map(os.path.isdir, roots)):
        if os.geteuid() != 0:
            sys.exit("only the superuser can enter a root: run this with sudo")
        missing = [name for name in ("unshare", "chroot", "mount") if shutil.which(name) is None]
        if missing:
            sys.exit(
                f"missing: {', '.join(missing)}; on Debian: apt-get install util-linux coreutils"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=ROOTS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("roots", nargs="+", metavar="ROOT", help="a folder, or a program python3.N")
    parser.add_argument("--wheels", type=Path, default="build/dist", help="folder: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=60, help="for the tests in each root: %(default)s"
    )
    parser.add_argument(
        "--tests",
        nargs="+",
        default=["tests/kernels", "tests/engine"],
        metavar="PATH",
        help="what pytest runs, in an order of hashes until the time is spent: %(default)s",
    )
    chosen = parser.parse_args()
    demand(chosen.roots)
    wheels, sdists = sorted(chosen.wheels.glob("*.whl")), list(chosen.wheels.glob("*.tar.gz"))
    if not wheels or len(sdists) != 1:
        sys.exit(
            f"{chosen.wheels} has {len(wheels)} wheels and {len(sdists)} sdists: expected wheels "
            f"and their sdist, which nox -s wheels builds"
        )
    tests, faults = 0, 0
    for root in chosen.roots:
        try:
            place = Place(root)
            try:
                tests += check(place, wheels, sdists[0], chosen.seconds, chosen.tests)
            finally:
                place.remove()
        except Fault as fault:
            faults += 1
            print(f"{root}: {fault}", flush=True)
    print(f"platforms: {len(chosen.roots)} roots, {tests} tests, {faults} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
