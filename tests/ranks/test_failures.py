"""What ends a fit on several ranks ends all of them within seconds, with one message."""

import os
import signal
import subprocess
import time

import pytest
from rank_cases import command, environment

pytestmark = pytest.mark.once

FIT = """
import os, sys, time
import numpy as np
from mpi4py import MPI
import fastbp
from fastbp.distributed import parts, share
from fastbp.losses import CustomLoss

comm, who, what = MPI.COMM_WORLD, int(sys.argv[1]), sys.argv[2]
X = np.random.default_rng(0).normal(size=(320, 4)).astype(np.float32)
y, options, net = X[:, :1] ** 2, {}, fastbp.Network((4, 8, 1), seed=0)
own, here, calls = share(len(X), comm, parts=16), comm.rank == who, []
X, y = X[own], y[own]

def fail(*_):
    raise LookupError("it is gone")

def loss(a, t):
    calls.append(1)
    if here and len(calls) == 7:
        fail()
    return ((a - t) ** 2).sum(1), 2 * (a - t)

def metric(outputs, targets, weights):
    return fail() if here else 0.0

def blocks():
    yield rows[0][:10], rows[1][:10]
    if here:
        fail()
    yield rows[0][:10], rows[1][:10]

if what.startswith("on_"):
    options["callbacks"] = [type("Failing", (), {what: fail})()]
elif what == "loss":
    net = fastbp.Network((4, 8, 1), loss=CustomLoss(loss), seed=0)
elif what == "metric":
    options |= {"metrics": {"m": metric}, "validation_split": 0.2}
elif what == "stream":
    rows = X, y
    X, y = parts(lambda p: fastbp.stream(blocks)), None
elif what == "columns" and here:
    X = X[:, :3]
elif what == "divergence":
    options["optimizer"] = fastbp.optim.SGD(1e30)
elif what == "spoilt":
    options |= {"optimizer": fastbp.optim.SGD(1e40), "time_budget": 1e-9}
elif what == "folder":
    options["checkpoint"] = sys.executable + "/folder"
fit = lambda: net.fit(X, y, comm=comm, epochs=4, batch_size=32, **options)
"""


def run(folder, script, *arguments, n=3):
    """(exit status, stderr) of ranks that all end within seconds."""
    path = folder / "failing.py"
    path.write_text(FIT + script)
    done = subprocess.run(
        command(n, path, *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("what", "who"),
    [("on_epoch_end", 0), ("on_batch_end", 0), ("loss", 2), ("metric", 0), ("stream", 1)],
)
def test_an_error_of_one_rank_is_printed_once(tmp_path, what, who):
    status, said = run(tmp_path, "fit()", who, what)
    assert status == 1
    last = [line for line in said.splitlines() if line.startswith("LookupError: ")]
    assert last and "it is gone" in last[-1], said
    assert said.count("in fail") == 1, said  # the traceback of the rank that has had it
    if what != "on_epoch_end":
        assert f"rank {who} of 3" in last[-1], said


@pytest.mark.parametrize(
    ("what", "who", "message"),
    [
        ("columns", 1, "X has 3 columns; the network takes 4 (widths[0])"),
        ("divergence", 0, "DivergenceError: the loss is"),
        ("spoilt", 0, "DivergenceError: layers[0].W has"),
        ("folder", 0, "NotADirectoryError: "),
    ],
)
def test_a_fit_that_cannot_be_says_so_once(tmp_path, what, who, message):
    status, said = run(tmp_path, "fit()", who, what)
    assert status == 1 and message in said
    assert said.rstrip().splitlines()[-1].count("Error: ") == 1
    raised = [line for line in said.splitlines() if "Error: " in line and not line.startswith(" ")]
    assert len(raised) <= 2, said  # with its cause, on the rank that has had it


@pytest.mark.parametrize("what", ["on_fit_begin", "on_fit_end"])
def test_an_error_that_others_cannot_learn_of_ends_the_job(tmp_path, what):
    status, said = run(tmp_path, "fit()", 0, what)
    assert status != 0
    assert said.count("in fail") == 1 and "LookupError: 'it is gone'" not in said
    assert said.count("fastbp: rank 0 of 3") == 1, said


def test_a_program_may_catch_the_error_and_go_on(tmp_path):
    script = """
try:
    fit()
except LookupError as error:
    assert f"rank {who} of 3" in str(error)
options.clear()
net = fastbp.Network((4, 8, 1), seed=0)
assert fit().epochs == 4
for rank in range(comm.size):  # one after another, or the launcher mixes what they print
    if rank == comm.rank:
        try:
            raise ValueError("of each rank by itself")
        except ValueError as error:
            sys.excepthook(ValueError, error, error.__traceback__)
        time.sleep(0.1)
    comm.Barrier()
sys.exit(1)
"""
    status, said = run(tmp_path, script, 1, "loss")
    assert status == 1
    assert said.count("ValueError: of each rank by itself") == 3, said  # no other error is hidden


def test_fits_on_parts_of_a_communicator_at_the_same_time(tmp_path):
    script = """
sub = comm.Split(comm.rank % 2, comm.rank)
X = np.random.default_rng(0).normal(size=(320, 4)).astype(np.float32)
found = []
for of in (sub, sub, MPI.COMM_SELF):
    net = fastbp.Network((4, 8, 1), seed=0)
    own = share(len(X), of, parts=16)
    net.fit(X[own], X[own, :1], comm=of, epochs=2)
    found.append(net.theta.tobytes())
assert len({each for of in comm.allgather(found) for each in of}) == 1
try:
    net.fit(X, X[:, :1], comm=MPI.COMM_NULL)
except ValueError as error:
    assert "COMM_NULL" in str(error)
else:
    raise AssertionError("COMM_NULL is no communicator")
"""
    status, said = run(tmp_path, script, 0, "nothing")
    assert status == 0, said


SIGNALLED = """
class Slow:
    def on_epoch_end(self, epoch, logs):
        time.sleep(0.01)
open(f"{sys.argv[3]}/{comm.rank}.part", "w").write(str(os.getpid()))
os.replace(f"{sys.argv[3]}/{comm.rank}.part", f"{sys.argv[3]}/{comm.rank}.pid")
options = {"epochs": 30, "callbacks": [Slow()], "batch_size": 32, "on_signal": True}
net.fit(X, y, comm=comm, checkpoint=sys.argv[3] + "/run", every="1 h", **options)
np.save(sys.argv[3] + "/theta.npy", net.theta) if comm.rank == 0 else None
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_rank_leaves_a_checkpoint(tmp_path, number):
    script = tmp_path / "signalled.py"
    epochs = SIGNALLED.replace('"epochs": 30', '"epochs": 5000')
    script.write_text(FIT + epochs)
    job = subprocess.Popen(
        command(3, script, 0, "nothing", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        notes = [tmp_path / f"{rank}.pid" for rank in range(3)]
        until = time.monotonic() + 60
        while not all(note.exists() for note in notes) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(1.0)
        os.kill(int(notes[2].read_text()), number)
        _, said = job.communicate(timeout=30)
    finally:
        job.kill()
        job.wait()
    assert job.returncode != 0
    assert "fastbp: rank" not in said, said  # it has ended in order
    assert said.count("Traceback") <= 1, said
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["checkpoint-1.safetensors"]
