"""Training on many machines: every rank of an MPI job reads and trains on its own rows.

Data: the 1,797 handwritten digits that come with fastbp (`fastbp.datasets.load_digits`; UCI,
Alpaydin & Kaynak 1998, CC BY 4.0). Rank 0 writes the training rows as .npy files to a folder that
all machines see; with data of your own, the files are there already. Each rank maps them into
memory and reads its share of the rows only.

The rows are cut into 16 parts. The result depends on this number, but not on the number of ranks:
1, 2, 8 or 16 ranks give the same bits. A job that is ended early, by the time limit of the cluster
or by a machine that fails, continues from its last checkpoint when it is started again, on any
number of ranks up to 16.

Expected: about 97 % of the 449 test images right, in a few seconds.

    mpiexec -n 4 python examples/many_machines.py

`examples/slurm.sh` starts it on a cluster with Slurm, and a single rank needs no launcher:

    python examples/many_machines.py

This needs mpi4py and an MPI: pip install "fastbp[mpi]"
"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

import fastbp
from fastbp.datasets import digits_split
from fastbp.distributed import share

PARTS = 16


def prepare(folder):
    """Write the training rows, as rank 0 does where all machines can see them."""
    X, y, _, _ = digits_split()
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "X.npy", (X / 16).astype(np.float32))
    np.save(folder / "y.npy", y)


def own_rows(folder, comm):
    """Read the rows of this rank; the others are not read from the disk."""
    X = np.load(folder / "X.npy", mmap_mode="r")
    y = np.load(folder / "y.npy", mmap_mode="r")
    rows = share(len(X), comm, parts=PARTS)
    return X[rows], y[rows]


def main(folder="many_machines"):
    """Train on all ranks; rank 0 prints, saves the network, and returns its accuracy."""
    comm, folder = MPI.COMM_WORLD, Path(folder)
    if comm.rank == 0:
        prepare(folder)
    comm.Barrier()  # the files are complete
    X, y = own_rows(folder, comm)

    # The same seed on each rank: all begin with the same weights, and keep the same weights.
    net = fastbp.Network((64, 100, 10), output="softmax", loss="cross_entropy", seed=0, l2=1e-4)
    net.fit(
        X,
        y,
        comm=comm,
        parts=PARTS,
        epochs=60,
        batch_size=64,
        optimizer=fastbp.optim.Adam(2e-3),
        checkpoint=folder / "checkpoint",
        every="5 min",
        on_signal=True,  # write one more before the time limit: see slurm.sh
    )
    if comm.rank > 0:
        return None
    _, _, X_test, y_test = digits_split()
    predicted = net.predict(X_test / 16).argmax(axis=1)
    accuracy = float((predicted == y_test).mean())
    print(f"{comm.size} ranks, {PARTS} parts: test accuracy {accuracy:.1%}")
    net.save(folder / "digits.safetensors")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
