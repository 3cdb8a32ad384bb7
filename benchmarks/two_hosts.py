"""Two network namespaces of this machine with a link between them, whose rate can be limited.

Linux only, and only as root: the programs `ip` and `tc` of iproute2 make the namespaces, a pair of
virtual Ethernet devices (veth) and their limits. Processes in the namespaces share files with all
others, but reach each other by TCP over the link alone.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

PREFIX = "fastbp-"
ADDRESSES = "198.18.0.1", "198.18.0.2"  # of the range for benchmarks (RFC 2544)


class UnavailableError(Exception):
    """This machine cannot have such namespaces, and why.

    reason : str
        The last part of the message: what a program has said.
    """

    def __init__(self, message, reason=None):
        super().__init__(message)
        self.reason = reason or message


class TwoHosts:
    """Namespaces that exist within a with block.

    Attributes
    ----------
    names : tuple of str
        The names of the namespaces.
    devices : tuple of str
        The names of the ends of the link.
    delayed : str
        How the link delays packets, or why it does not.
    """

    def __init__(self, delay_us=50):
        pid = os.getpid()
        self.names = tuple(f"{PREFIX}{pid}-{i}" for i in range(2))
        self.devices = tuple(f"fb{pid}{end}" for end in "ab")
        self.delay_us, self.delayed = delay_us, ""

    def __enter__(self):
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            raise UnavailableError("network namespaces need root")
        for program, package in (("ip", "iproute2"), ("tc", "iproute2"), ("unshare", "util-linux")):
            if shutil.which(program) is None:
                raise UnavailableError(f"{program} is not installed (Debian: {package})")
        remove_left()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        for name, device in zip(self.names, self.devices, strict=True):
            with contextlib.suppress(UnavailableError):
                for pid in call("ip", "netns", "pids", name).split():  # of a launcher that failed
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(UnavailableError):
                call("ip", "-n", name, "link", "del", device)
            with contextlib.suppress(UnavailableError):
                call("ip", "netns", "del", name)

    def _make(self):
        for name in self.names:
            call("ip", "netns", "add", name)
        (first, second), (name, peer) = self.names, self.devices
        ends = ("netns", first, "type", "veth", "peer", "name", peer, "netns", second)
        call("ip", "link", "add", name, *ends)
        for name, device, address in zip(self.names, self.devices, ADDRESSES, strict=True):
            call("ip", "-n", name, "addr", "add", f"{address}/30", "dev", device)
            call("ip", "-n", name, "link", "set", device, "up")
            call("ip", "-n", name, "link", "set", "lo", "up")
        self._wait_until_up()
        self._try_delay()

    def _wait_until_up(self, seconds=5.0):
        """The first packets of a link that is coming up may get no answer."""
        deadline = time.monotonic() + seconds
        while not all(self._read(i, "operstate") == "up" for i in range(2)):
            if time.monotonic() > deadline:
                raise UnavailableError(f"the link is not up after {seconds:.0f} s")
            time.sleep(0.02)

    def _read(self, i, name):
        """A file of an end of the link."""
        path = f"/sys/class/net/{self.devices[i]}/{name}"
        return call("ip", "netns", "exec", self.names[i], "cat", path).strip()

    def _try_delay(self):
        try:
            self._discipline("netem", "delay", f"{self.delay_us}us")
        except UnavailableError as error:
            self.delayed = f"not delayed, since this kernel has no netem: {error.reason}"
        else:
            self.delayed = f"delayed by {self.delay_us} µs each way"
        self.limit(None)

    def _discipline(self, *words, parent=("root",)):
        for name, device in zip(self.names, self.devices, strict=True):
            call("tc", "-n", name, "qdisc", "replace", "dev", device, *parent, *words)

    def limit(self, gbit):
        """Limit both directions to some Gb/s, with the delay if there is netem; None: no limit.

        Raises UnavailableError if the kernel has no token bucket filter.
        """
        for name, device in zip(self.names, self.devices, strict=True):
            with contextlib.suppress(UnavailableError):  # there is none yet
                call("tc", "-n", name, "qdisc", "del", "dev", device, "root")
        if gbit is None:
            return
        bucket = ("tbf", "rate", f"{gbit}gbit", "burst", "256kb", "latency", "20ms")
        self._discipline("handle", "1:", *bucket)
        if self.delayed.startswith("delayed"):
            delay = ("netem", "delay", f"{self.delay_us}us", "limit", "100000")
            self._discipline(*delay, parent=("parent", "1:1"))

    def inside(self, i):
        """The words before a command that runs in namespace i, with a host name of its own."""
        rename = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
        named = ("unshare", "--uts", "sh", "-c", rename, ADDRESSES[i])
        return ["ip", "netns", "exec", self.names[i], *named]

    def sent(self):
        """Bytes that have crossed the link so far, in both directions."""
        return sum(int(self._read(i, "statistics/tx_bytes")) for i in range(2))

    def launcher(self, folder):
        """Write the program that mpiexec calls in place of ssh, `PROGRAM [-x] HOST COMMAND …`."""
        path = Path(folder) / "launcher"
        cases = [
            f'{address}) exec {shlex.join(self.inside(i))} sh -c "$*";;'
            for i, address in enumerate(ADDRESSES)
        ]
        skip = 'while [ "${1#-}" != "$1" ]; do shift; done'
        lines = ["#!/bin/sh", skip, "host=$1; shift", "case $host in", *cases, "esac", ""]
        path.write_text("\n".join(lines))
        path.chmod(0o700)
        return str(path)


def remove_left():
    """Remove namespaces of runs that were killed."""
    for line in call("ip", "netns", "list").splitlines():
        name = line.split()[0] if line.split() else ""
        pid = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            call("ip", "netns", "del", name)


def call(*command):
    """What a command prints; UnavailableError with its message if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = lines[0].removeprefix("Error: ").rstrip(".")
        raise UnavailableError(f"{' '.join(command)}: {reason}", reason)
    return done.stdout
