"""The end of one rank ends all, with one line that names it; an orderly end disturbs nobody."""

import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from itertools import permutations
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
from rank_cases import command, environment, on_ranks, outcomes_on_ranks

from fastbp._ranks import lifeline

pytestmark = pytest.mark.once

# Ranks without MPI, and so without a launcher that ends the others when one ends. `Abort` does so
# only where rank 0 cannot tell the others to end. Rank 0 has a pipe to each other rank.
ALONE = """
import contextlib, os, pathlib, signal, sys, time
from multiprocessing.connection import Connection
from fastbp._ranks.lifeline import Lifeline

class Comm:
    def __init__(self, rank, size, *pipes):
        self.rank, self.size = rank, size
        self.pipes = [Connection(pipe) for pipe in pipes]
        self.pids = self.allgather(os.getpid())

    def allgather(self, value):
        if self.rank > 0:
            self.pipes[0].send(value)
            return self.pipes[0].recv()
        values = [value, *(pipe.recv() for pipe in self.pipes)]
        for pipe in self.pipes:
            pipe.send(values)
        return values

    def bcast(self, value):
        return self.allgather(value)[0]

    def Abort(self, code):
        own_last = sorted(self.pids, key=lambda pid: pid == os.getpid())
        for pid in own_last if self.rank > 0 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    Get_rank, Get_size = lambda self: self.rank, lambda self: self.size
    Dup, Free = lambda self: self, lambda self: None
    Iallgather = Barrier = lambda self: self.allgather(None)
    Ibarrier, Test = lambda self: self, lambda self: True

comm = Comm(*map(int, sys.argv[1:]))
line = Lifeline(comm)
comm.Barrier()
if comm.rank in {who}:
    {does}
while True:
    time.sleep(60)
"""


def end(folder, n, who, does):
    """Run ranks without MPI. Return what is on stderr when all have ended, and their pids."""
    if os.name != "posix":
        pytest.skip("passes pipes to processes as numbers")
    script, said = folder / "alone.py", folder / "stderr"
    script.write_text(ALONE.replace("{who}", str(who)).replace("{does}", does))
    pipes = [Pipe() for _ in range(1, n)]
    ends = [[a.fileno() for a, _ in pipes], *([b.fileno()] for _, b in pipes)]
    env = environment(PYTHONWARNINGS="error")
    with said.open("wb") as stderr:
        ranks = [
            subprocess.Popen(
                [sys.executable, str(script), *map(str, (rank, n, *own))],
                pass_fds=own,
                stderr=stderr,
                env=env,
            )
            for rank, own in enumerate(ends)
        ]
    for each in (end for pipe in pipes for end in pipe):
        each.close()
    try:
        for rank in ranks:
            rank.wait(60)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return said.read_text().splitlines(), [rank.pid for rank in ranks]


def ended(rank, n, pids):
    """The line about a rank that has ended."""
    where = f"{rank} of {n} on host {socket.gethostname()} (pid {pids[rank]})"
    why = "has ended without a word, perhaps killed or out of memory"
    return f"fastbp: rank {where} {why}; the job ends"


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("does", [KILL, "os._exit(0)", "sys.exit()"])
def test_the_end_of_any_rank_ends_all(tmp_path, rng, does):
    who = int(rng.integers(1, 4))
    lines, pids = end(tmp_path, 4, (who,), does)
    assert lines == [ended(who, 4, pids)]


def test_the_end_of_rank_0_ends_all(tmp_path):
    lines, pids = end(tmp_path, 4, (0,), KILL)
    assert lines == [ended(0, 4, pids)]


def test_the_end_of_ranks_0_and_1_ends_all(tmp_path):
    # Rank 0 keeps its thread from acting on the end of rank 1.
    does = "line._claim.acquire(); os.kill(comm.pids[1], signal.SIGKILL); time.sleep(0.5); "
    lines, pids = end(tmp_path, 3, (0,), does + KILL)
    assert lines == [ended(0, 3, pids)]


@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_rank_that_gives_up_says_why(tmp_path, who):
    lines, _ = end(tmp_path, 3, (who,), r'line.give_up("ValueError: one\nthing \x1b")')
    host = socket.gethostname()
    assert lines == [f"fastbp: rank {who} of 3 ({host}): ValueError: one thing \\x1b; the job ends"]


def test_one_line_is_written_when_all_give_up(tmp_path):
    lines, _ = end(tmp_path, 3, (0, 1, 2), 'line.give_up("OSError: the disk is full")')
    assert sum(each.startswith("fastbp:") for each in lines) == 1  # others are of its Barrier


def test_a_rank_gives_up_after_rank_0_has_closed(tmp_path):
    does = "line.close() if comm.rank == 0 else line.give_up('why'); os._exit(0)"
    lines, _ = end(tmp_path, 2, (0, 1), does)
    assert lines == [f"fastbp: rank 1 of 2 ({socket.gethostname()}): why; the job ends"]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_a_forked_child_does_not_hide_the_end_of_its_parent(tmp_path):
    note = tmp_path / "child"
    does = f"""
    if os.fork() == 0:
        pathlib.Path({str(note)!r}).write_text(str(os.getpid()))
        time.sleep(600)
    while not pathlib.Path({str(note)!r}).exists():
        time.sleep(0.01)
    {KILL}"""
    lines, pids = end(tmp_path, 3, (2,), does)
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert lines == [ended(2, 3, pids)]


FORK = """
import os
from fastbp._ranks.lifeline import Lifeline

def main(comm):
    with Lifeline(comm.Dup()) as line:
        child = os.fork() if comm.rank == 1 else 1
        if child == 0:
            line.close()
            os._exit(0)
        if comm.rank == 1:
            os.waitpid(child, 0)
        comm.Barrier()
        waits = line._thread.is_alive()
        comm.Barrier()
        return waits
"""


@needs_fork
def test_a_forked_child_says_no_goodbye_for_its_parent(tmp_path):
    assert on_ranks(2, FORK, tmp_path) == [True, True]


IN_MPI = """
import os, signal, sys, time
from mpi4py import MPI
from fastbp._ranks.lifeline import Lifeline
comm = MPI.COMM_WORLD
line = Lifeline(comm.Dup())
print(f"rank {comm.rank} has pid {os.getpid()}", flush=True)
comm.Barrier()
if comm.rank == {who}:
    time.sleep(0.1)
    {does}
while True:
    comm.Barrier()
"""


@pytest.mark.parametrize("who", [0, 2])
@pytest.mark.parametrize("does", [KILL, 'line.give_up("ValueError: one thing")'])
def test_a_job_of_mpi_ends(tmp_path, who, does):
    """A launcher may be faster, and end a rank before it has written the line."""
    script = tmp_path / "job.py"
    script.write_text(IN_MPI.replace("{who}", str(who)).replace("{does}", does))
    done = subprocess.run(
        command(3, script),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    pids = {int(rank): int(pid) for rank, pid in re.findall(r"(\d) has pid (\d+)", done.stdout)}
    gave_up = f"fastbp: rank {who} of 3 ({socket.gethostname()}): ValueError: one thing"
    expected = ended(who, 3, pids) if does == KILL else f"{gave_up}; the job ends"
    lines = [each for each in done.stderr.splitlines() if each.startswith("fastbp:")]
    assert done.returncode != 0 and lines in ([], [expected])


CLOSE = """
import threading
from fastbp._ranks.lifeline import Lifeline, _lifelines

def main(comm):
    for order in {orders}:
        with Lifeline(comm.Dup()) as line:
            for rank in order:
                if rank == comm.rank:
                    line.close()
                    line.close()
                comm.Barrier()
    with Lifeline(comm.Dup()):  # all at once
        pass
    comm.Barrier()
    return threading.active_count(), len(_lifelines)
"""


def test_ranks_close_in_any_order(tmp_path):
    script = CLOSE.replace("{orders}", str(list(permutations(range(3)))))
    assert on_ranks(3, script, tmp_path, PYTHONWARNINGS="error") == [(1, 0)] * 3


def test_an_orderly_end_is_silent(tmp_path):
    assert end(tmp_path, 3, (0, 1, 2), "line.close(); sys.exit()")[0] == []


OTHER_HOSTS = """
from fastbp._ranks import lifeline

def main(comm):
    lifeline._place = lambda: lifeline._Place(f"host{comm.rank}", "", 1)
    lifeline._addresses = lambda host, others: ["host.invalid", "127.0.0.1"]
    with lifeline.Lifeline(comm.Dup()) as line:
        return sorted(line._peers)
"""


def test_ranks_of_other_hosts_try_one_address_after_another(tmp_path):
    assert on_ranks(3, OTHER_HOSTS, tmp_path) == [[1, 2], [0], [0]]


REFUSED = """
from fastbp._ranks import lifeline

def refuse(*_):
    raise ConnectionError("the network says no")

def main(comm):
    lifeline._TO_CONNECT = 1.0
    if comm.rank == 2:
        lifeline._introduce = refuse
    lifeline.Lifeline(comm.Dup())
"""


def test_an_error_in_connecting_names_rank_and_host(tmp_path):
    host = re.escape(socket.gethostname())
    for good, error in outcomes_on_ranks(3, REFUSED, tmp_path, PYTHONWARNINGS="error"):
        assert not good and isinstance(error, OSError)
        expected = rf"rank 0 of 3 \({host}\): no TCP connection within 1 s from rank 2 \({host}\); "
        assert re.match(expected, str(error))


def test_one_rank_needs_no_line():
    before = threading.active_count()
    with lifeline.Lifeline(SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: 1)) as line:
        line.give_up("ValueError: nobody else has to know")
        assert threading.active_count() == before


@pytest.fixture
def ends():
    """The two ends of a connection."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("rank, key", [(1, b"other"), (7, b"key"), (0, b"key")])
def test_strangers_are_refused(ends, rank, key):
    caller, listener = ends
    caller.sendall(struct.pack("!I", rank) + lifeline._proof(key, "rank", rank))
    with pytest.raises(ConnectionError, match="a stranger"):
        lifeline._welcome(listener, b"key", 4)


def test_a_caller_that_ends_too_early_is_refused(ends):
    caller, listener = ends
    caller.sendall(b"GET")
    caller.close()
    with pytest.raises(ConnectionError, match="has ended"):
        lifeline._welcome(listener, b"key", 4)


def test_a_rank_takes_no_other_server_for_rank_0(ends):
    caller, server = ends
    server.sendall(lifeline._proof(b"other", "welcome", 1))
    with pytest.raises(ConnectionError, match="not rank 0"):
        lifeline._introduce(caller, b"key", 1)


def test_both_sides_know_each_other(ends):
    caller, listener = ends
    listener_side = threading.Thread(target=lifeline._welcome, args=(listener, b"key", 4))
    listener_side.start()
    lifeline._introduce(caller, b"key", 3)
    listener_side.join()


def test_a_host_that_has_vanished_is_told_from_a_rank_that_has_ended(monkeypatch):
    class Silent:
        def recv(self, n):
            raise TimeoutError(errno.ETIMEDOUT, "timed out")

    def ended(self, text):
        raise SystemExit(text)

    line = lifeline.Lifeline(SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: 1))
    line._places = [lifeline._Place("a", "", 1), lifeline._Place("b", "", 2)]
    monkeypatch.setattr(lifeline.Lifeline, "_end", ended)
    with pytest.raises(SystemExit, match=r"host b \(pid 2\) does not answer, perhaps its host"):
        line._hear(1, Silent())


def test_a_listener_of_all_addresses_takes_those_of_ipv4():
    with (
        lifeline._listener("", 1) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=10),
    ):
        listener.settimeout(10)
        listener.accept()[0].close()


def test_addresses_for_other_hosts_are_not_those_of_every_host():
    found = lifeline._addresses("localhost", {"host.invalid", "localhost"})
    assert found == []
