"""What training over several ranks costs: time of a step by network, and what is sent.

    python benchmarks/many_machines.py [--jobs tab,mnist-m,wide] [--rounds 5] [--torch PYTHON]
    python benchmarks/many_machines.py --publish        # also docs/many_machines.json, .png, .md
    python benchmarks/many_machines.py --from docs/many_machines.json [--publish]

Steps with Adam in float32 and a batch of 512 rows of all ranks together, measured with one process
and with two ranks of one thread each: with shared memory, and between two network namespaces whose
link has no limit, 10 Gb/s and 1 Gb/s. All programs train in turn. --torch is a Python that has
PyTorch, for DistributedDataParallel with gloo on the same links. Namespaces need Linux and root;
the program makes and removes them, and says what it leaves out, and why.

Fits of 2, 4 and 8 ranks on this machine count what the ranks send. `many_machines_report.py` has
the tables, the model of the time of a step, and the chart; `many_machines_ranks.py` the programs.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from many_machines_report import FIGURES, publish, text
from two_hosts import ADDRESSES, TwoHosts, UnavailableError

from fastbp._config import config
from fastbp.bench._conditions import watch

PROGRAMS = Path(__file__).with_name("many_machines_ranks.py")
BATCH, PARTS, RANKS = 512, 16, 2
COUNTED = (2, 4, 8)  # ranks of the fits that are counted
SHARES = (2, 4, 8)  # of a batch, for the model of the computation
RATES = {"no limit": None, "10 Gb/s": 10, "1 Gb/s": 1}
START = 30.0  # seconds until a process must have begun
SETTLE = 0.01  # seconds for the threads of the program before to stop spinning


@dataclass(frozen=True)
class Job:
    """A network, its data, and the epochs of a round."""

    widths: tuple[int, ...]
    loss: str
    rows: int
    epochs: int

    @property
    def sent(self):
        """What the programs need."""
        return {"widths": self.widths, "loss": self.loss, "rows": self.rows}


JOBS = {
    "tab": Job((30, 64, 32, 1), "mse", 64 * BATCH, 20),
    "mnist-m": Job((784, 512, 512, 10), "cross_entropy", 16 * BATCH, 2),
    "wide": Job((784, 1024, 1024, 1024, 10), "cross_entropy", 6 * BATCH, 1),
}


# ---- processes ----------------------------------------------------------------------------


class Worker:
    """The processes of a program, one per rank; they wait for requests without using a core."""

    def __init__(self, folder, n, commands, environment=None):
        self.n, self.connections, self.pids = n, {}, {}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - until `end`
        self._processes = []
        path = tempfile.mktemp(dir=folder)  # of a socket, in a folder of this program
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(n)
            listener.settimeout(0.2)
            for command, more in commands:
                self._processes.append(
                    subprocess.Popen(
                        [*command(path)],
                        stdin=subprocess.DEVNULL,
                        stdout=self._errors,
                        stderr=self._errors,
                        env=os.environ | {"FASTBP_NUM_THREADS": "1"} | (environment or {}) | more,
                    )
                )
            try:
                self._accept(listener)
            except BaseException:
                self.end(0.0)
                raise

    def _accept(self, listener):
        deadline = time.monotonic() + START
        while len(self.connections) < self.n:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if any(each.poll() is not None for each in self._processes):
                    raise UnavailableError(self._reason()) from None
                if time.monotonic() > deadline:
                    message = f"it has not begun after {START:.0f} s"
                    raise UnavailableError(message) from None
                continue
            connection.settimeout(None)
            lines = connection.makefile("rw", encoding="utf-8")
            connection.close()  # the file keeps it open
            hello = json.loads(lines.readline())
            self.connections[hello["rank"]] = lines
            self.pids[hello["rank"]] = hello["pid"]

    def ask(self, **request):
        """The replies of all ranks, in their order."""
        time.sleep(SETTLE)
        for lines in self.connections.values():
            lines.write(json.dumps(request) + "\n")
            lines.flush()
        replies = [self.connections[rank].readline() for rank in range(self.n)]
        if not all(replies):
            raise UnavailableError(self._reason())
        return [json.loads(reply) for reply in replies]

    def _reason(self):
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else "it ended"

    def end(self, patience=10.0):
        for lines in self.connections.values():
            with contextlib.suppress(OSError):
                lines.close()
        for process in self._processes:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
        self._errors.close()


def python(program, executable=sys.executable):
    """A function from the path of a socket to the command of a program."""
    return lambda path: [executable, str(PROGRAMS), path, program]


def mpiexec(n, *options):
    """A function from the path of a socket to a command that starts ranks."""
    folders = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    found = shutil.which("mpiexec", path=folders) or shutil.which("mpiexec")
    if found is None:
        raise UnavailableError('mpiexec is not installed: pip install "fastbp[mpi]"')
    return lambda path: [found, *options, "-n", str(n), *python("ranks")(path)]


def inside(words, command):
    """The same command within a namespace."""
    return lambda path: [*words, *command(path)]


class Workers:
    """All programs that this machine can run, by name.

    Attributes
    ----------
    found : dict of {str: Worker}
    skipped : list of str
        What is left out, and why.
    hosts : TwoHosts or None
    """

    def __init__(self, stack, torch):
        self._stack, self.found, self.skipped, self.hosts = stack, {}, [], None
        self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastbp"))
        self._add("alone", lambda: self._start(1, [(python("fastbp"), {})]))
        self._add("ranks", lambda: self.ranks(RANKS))
        try:
            self.hosts = stack.enter_context(TwoHosts())
        except UnavailableError as error:
            self.skipped.append(f"links between namespaces: {error}")
        else:
            self._add("ranks on a link", self._ranks_on_link)
        if torch is None:
            self.skipped.append("PyTorch: no --torch PYTHON")
            return
        self._add("torch", lambda: self._start(1, [(python("torch", torch), {})]))
        if "torch" in self.found:
            self._add("ddp", lambda: self._ddp(torch, None))
            if self.hosts is not None:
                self._add("ddp on a link", lambda: self._ddp(torch, self.hosts))

    def _add(self, name, start):
        try:
            self.found[name] = start()
        except UnavailableError as error:
            self.skipped.append(f"{name}: {error}")

    def _start(self, n, commands, environment=None):
        worker = Worker(self._folder, n, commands, environment)
        self._stack.callback(worker.end)
        return worker

    def ranks(self, n):
        """Ranks of this machine, which share memory."""
        return self._start(n, [(mpiexec(n), {})])

    def _ranks_on_link(self):
        launcher = ("-launcher", "ssh", "-launcher-exec", self.hosts.launcher(self._folder))
        hosts = ("-hosts", ",".join(ADDRESSES), "-ppn", "1")
        command = inside(self.hosts.inside(0), mpiexec(RANKS, *launcher, *hosts))
        # Both processes are on one machine, where MPICH would find shared memory.
        return self._start(RANKS, [(command, {})], {"UCX_TLS": "tcp", "FI_PROVIDER": "tcp"})

    def _ddp(self, torch, hosts):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1" if hosts is None else ADDRESSES[0]}
        place |= {"MASTER_PORT": port, "WORLD_SIZE": str(RANKS)}
        commands = []
        for rank in range(RANKS):
            command, device = python("torch", torch), "lo"
            if hosts is not None:
                command, device = inside(hosts.inside(rank), command), hosts.devices[rank]
            commands.append((command, {"RANK": str(rank), "GLOO_SOCKET_IFNAME": device}))
        return self._start(RANKS, commands, place)


# ---- measurements -------------------------------------------------------------------------


@dataclass
class Lane:
    """A way to train: a program, a link, and what has been measured for one job."""

    name: str
    worker: str
    request: dict
    rate: str = ""
    seconds: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    crossed: list = field(default_factory=list)  # bytes on the link, per step
    last: dict = field(default_factory=dict)

    def run(self, workers, job):
        """One round."""
        on_link, hosts = bool(self.rate), workers.hosts
        if on_link:
            hosts.limit(RATES[self.rate])
            before = hosts.sent()
        peer = "parts" not in self.request and self.worker != "alone"
        epochs = max(1, job.epochs // 10) if peer else job.epochs  # as long, but slower
        train = {"do": "train", "job": job.sent, "batch": BATCH, "epochs": epochs}
        replies = workers.found[self.worker].ask(**(train | self.request))
        self.last = replies[0]
        if on_link and "steps" in self.last:
            self.crossed.append((hosts.sent() - before) / self.last["steps"])
        self.seconds.append(self.last["seconds"])
        self.cpu.append(self.last["cpu"])

    def result(self):
        """What is stored."""
        found = {"us": [1e6 * s for s in self.seconds], "cpu_us": [1e6 * s for s in self.cpu]}
        steps = self.last.get("steps")
        if "bytes" in self.last:
            found |= {name: 1e6 * self.last[name] / steps for name in ("sums", "parameters")} | {
                "bytes": self.last["bytes"] / steps
            }
        if self.crossed:
            found["crossed"] = statistics.median(self.crossed)
        return found


def lanes(workers):
    """All ways to train that this machine has."""
    found = []
    for threads in (1, 2):
        found += [
            Lane(f"fastbp, {threads} threads", "alone", {"threads": threads}),
            Lane(f"parts=16, {threads} threads", "alone", {"threads": threads, "parts": PARTS}),
        ]
    for share in SHARES:
        request = {"parts": PARTS // share, "batch": BATCH // share}
        found.append(Lane(f"1/{share} of a batch", "alone", request))
    ranks = {"parts": PARTS}
    found.append(Lane("2 ranks, shared memory", "ranks", ranks))
    found += [Lane(f"2 ranks, {rate}", "ranks on a link", ranks, rate) for rate in RATES]
    found += [
        Lane(f"torch, {threads} threads", "torch", {"threads": threads}) for threads in (1, 2)
    ]
    found.append(Lane("ddp, loopback", "ddp", {}))
    limited = [rate for rate in RATES if RATES[rate] is not None]
    found += [Lane(f"ddp, {rate}", "ddp on a link", {}, rate) for rate in limited]
    return [lane for lane in found if lane.worker in workers.found]


def measure(options):
    """Everything, as a dict for JSON."""
    began = time.monotonic()
    machine = {name: config()[name] for name in ("cpu", "cores", "isa", "fastbp")}
    found = {"date": str(date.today()), "machine": machine, "batch": BATCH, "parts": PARTS}
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, end))
        workers = Workers(stack, options.torch)
        found |= {"skipped": workers.skipped, "jobs": {}}
        found["delay"] = "" if workers.hosts is None else workers.hosts.delayed
        pids = [pid for worker in workers.found.values() for pid in worker.pids.values()]
        with watch(pids) as conditions:
            for name in options.jobs:
                found["jobs"][name] = steps(name, workers, options.rounds)
        found["conditions"] = conditions
        found["networks"] = networks(workers)
        if "ranks" in workers.found:
            found["counts"] = [counts(workers, name, n) for name in options.jobs for n in COUNTED]
    found["seconds"] = round(time.monotonic() - began)
    return found


def steps(name, workers, rounds):
    """The times of a step of a job in all ways."""
    job, ways = JOBS[name], lanes(workers)
    for turn in range(rounds):
        for lane in ways[:: 1 if turn % 2 == 0 else -1]:
            lane.run(workers, job)
        print(f"{name}: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return {
        "widths": job.widths,
        "params": ways[0].last["params"],
        "lanes": {lane.name: lane.result() for lane in ways},
    }


def networks(workers):
    """{network: latency and bandwidth}, by MPI between two ranks."""
    found = {}
    if "ranks" in workers.found:
        found["shared memory"] = best_speed(workers.found["ranks"])
    if "ranks on a link" in workers.found:
        for name, rate in RATES.items():
            workers.hosts.limit(rate)
            found[name] = best_speed(workers.found["ranks on a link"])
    return found


def best_speed(worker, times=3):
    """The least seconds, and the most bytes per second."""
    found = [worker.ask(do="speed")[0] for _ in range(times)]
    best = {"bandwidth": max}
    return {name: best.get(name, min)(each[name] for each in found) for name in found[0]}


def counts(workers, name, n):
    """What n ranks of this machine send, and which share of the optimiser's state they have."""
    job = JOBS[name]
    sent = job.sent | {"rows": 2 * BATCH}
    ranks = workers.ranks(n)
    replies = ranks.ask(do="train", job=sent, batch=BATCH, parts=PARTS, epochs=1)
    ranks.end()
    size = 4 * replies[0]["params"]
    return {
        "job": name,
        "ranks": n,
        "bytes": max(reply["bytes"] / reply["steps"] for reply in replies),
        "formula": 2 * (n - 1) / n * size,
        "messages": max(reply["messages"] / reply["steps"] for reply in replies),
        "state": max(reply["state"] for reply in replies) / (2 * size),
    }


# ---- the program --------------------------------------------------------------------------


def end(number, frame):
    """SIGTERM ends the program as Ctrl-C does: namespaces and processes are removed."""
    raise SystemExit(128 + number)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", default=",".join(JOBS), help="names, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch")
    parser.add_argument("--from", dest="source", metavar="JSON", help="measure nothing, read this")
    parser.add_argument("--json", metavar="JSON", help="write the figures")
    parser.add_argument("--publish", action="store_true", help="write figures, chart and page")
    options = parser.parse_args(arguments)
    options.jobs = options.jobs.split(",")
    for name in options.jobs:
        if name not in JOBS:
            parser.error(f"--jobs: unknown {name!r}; known: {', '.join(JOBS)}")
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1; got {options.rounds}")
    if options.source is not None:
        found = json.loads(Path(options.source).read_text(encoding="utf-8"))
    else:
        found = measure(options)
    print(text(found))
    for path in (options.json, FIGURES if options.publish else None):
        if path is not None:
            Path(path).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.publish:
        publish(found)


if __name__ == "__main__":
    main()
