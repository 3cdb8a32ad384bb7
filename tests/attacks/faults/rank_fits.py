"""A fit with checkpoints, on MPI ranks or in one process with the same parts: see rank_kills.py.

    mpiexec -n 4 python rank_fits.py CASE FOLDER       or: python rank_fits.py CASE FOLDER alone

FOLDER has the checkpoint. When the fit is over, rank 0 writes the file `digest` there: a checksum
over theta, the state of the optimiser and the history. Each process writes its number to pid-RANK
when it is about to fit.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import fastbp
from fastbp.callbacks import EarlyStopping
from fastbp.distributed import parts, share
from fastbp.optim import SGD, Adam, AdamW

PARTS, ROWS = 16, 700
PAUSE = 0.004  # seconds per step, so that a kill rarely comes after the end

CASES = {}


def case(make):
    """Register a case: a function of the folder and the own rows, returns (net, X, y, options)."""
    CASES[make.__name__] = make
    return make


def data(n=ROWS, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int64)


class Slow:
    """Makes an epoch take a while, and has a state that checkpoints have to keep."""

    def __init__(self, seconds):
        self.seconds, self.seen = seconds, 0

    def on_epoch_end(self, epoch, logs):
        time.sleep(self.seconds)
        self.seen += epoch
        return False

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


class SlowSteps(Slow):
    """The same for steps: every slice is then one step."""

    def on_epoch_end(self, epoch, logs):
        self.seen += epoch

    def on_batch_end(self, step, logs):
        time.sleep(self.seconds)


@case
def adam(folder, rows):
    """Clipping by the norm, an average, a schedule, dropout, validation and early stopping."""
    X, y = data()
    X_val, y_val = data(64, seed=2)
    own = rows(len(X_val))
    layers = [
        fastbp.Dense(24, "relu", dropout=0.2),
        fastbp.Dense(16, "tanh"),
        fastbp.Dense(2, "softmax"),
    ]
    net = fastbp.Network.from_layers(6, layers, loss="cross_entropy", seed=3, l2=1e-4)
    stop = EarlyStopping(patience=15, restore_best=True)
    options = {
        "optimizer": Adam(3e-3, clip_global_norm=0.5, ema=0.95),
        "schedule": fastbp.schedules.OneCycleLR(6e-3),
        "X_val": X_val[own],
        "y_val": y_val[own],
        "metrics": ["accuracy"],
        "callbacks": [stop, Slow(10 * PAUSE)],
        "every": "20 steps",
    }
    return net, *own_of(X, y, rows), options


@case
def memmap(folder, rows):
    """Rows of a file that all processes map, momentum, weights, checkpoints by epochs."""
    X, y = data()
    path = folder / "X.npy"
    if not path.exists():
        whole = folder / f"X-{os.getpid()}.npy"
        np.save(whole, X)
        whole.replace(path)
    own = rows(ROWS)
    X = np.load(path, mmap_mode="r")[own]
    net = fastbp.Network((6, 40, 1), output="sigmoid", loss="binary_cross_entropy", seed=4)
    options = {
        "optimizer": SGD(0.05, momentum=0.9, nesterov=True),
        "sample_weight": np.linspace(0.5, 2, ROWS, dtype=np.float32)[own],
        "validation_split": 0.2,
        "callbacks": [Slow(10 * PAUSE)],
        "every": "2 epochs",
    }
    return net, X, y[own], options


@case
def streams(folder, rows):
    """A stream of every part."""
    X, y = data()

    def part(p):
        own = slice(p * ROWS // PARTS, (p + 1) * ROWS // PARTS)
        return fastbp.stream(X[own], y[own], block_rows=16)

    net = fastbp.Network((6, 32, 2), output="softmax", loss="cross_entropy", seed=5)
    options = {
        "optimizer": AdamW(3e-3, weight_decay=0.01),
        "callbacks": [Slow(10 * PAUSE)],
        "every": "20 steps",
    }
    return net, parts(part), None, options


@case
def steps(folder, rows):
    """Callbacks after every batch; checkpoints by the clock."""
    X, y = data()
    net = fastbp.Network(
        (6, 20, 20, 2), output="softmax", loss="cross_entropy", seed=6, dtype="float64"
    )
    options = {
        "optimizer": Adam(1e-3, clip_norm=1.0),
        "callbacks": [SlowSteps(PAUSE)],
        "every": "0.1 s",
        "epochs": 30,
    }
    return net, *own_of(X, y, rows), options


def own_of(X, y, rows):
    own = rows(len(X))
    return X[own], y[own]


def digest(net, optimizer, history, callbacks):
    """A checksum over all that a fit has made, but for speeds."""
    found = hashlib.sha256(net.theta.tobytes())
    state = optimizer.state_dict()
    for moment in [*state.pop("moments"), state.pop("average")]:
        found.update(b"none" if moment is None else np.ascontiguousarray(moment).tobytes())
    series = {k: v for k, v in history.series().items() if k != "samples_per_second"}
    kept = [c.state_dict() for c in callbacks if isinstance(c, Slow)]
    text = [series, history.stopped_by, net._dropout_step, sorted(state), state["t"], kept]
    found.update(json.dumps(text).encode())
    return found.hexdigest()


def main(name, folder, alone=None, **more):
    folder = Path(folder)
    comm = None
    if alone is None:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    rank = 0 if comm is None else comm.rank

    def rows(n):
        return slice(0, n) if comm is None else share(n, comm, parts=PARTS)

    net, X, y, options = CASES[name](folder, rows)
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    options = {"epochs": 40, "batch_size": 32, "checkpoint": folder / "checkpoint"} | options | more
    history = net.fit(X, y, comm=comm, parts=PARTS, **options)
    if rank == 0:
        found = digest(net, options["optimizer"], history, options["callbacks"])
        (folder / "digest").write_text(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
