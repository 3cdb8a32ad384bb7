"""Training steps of networks with embeddings of categories, beside PyTorch and one-hot inputs.

    python benchmarks/categories.py [--rounds 5] [--rows 8192]

The network is 8 numbers and some categories, 64-64 hidden units with relu, 2 classes. fastbp has
embeddings with sparse gradients and Adam. PyTorch has a `torch.nn.Embedding` for each category, as
it is ("dense", fused Adam) and with `sparse=True` ("sparse", SparseAdam for the tables and fused
Adam for the rest). "one-hot" is fastbp without embeddings: the first product reads the rows of W
for each sparse row, if SciPy is installed. One thread each; an epoch is timed at a time, in turn,
in processor time. The output is the median, in µs per step.
"""

import argparse
import importlib.util
import time
from itertools import pairwise

import numpy as np

from fastbp import Categories, Dense, Network
from fastbp.optim import Adam

HIDDEN, N_NUMBERS = (64, 64), 8
# levels of the categories, width of their vectors, batch size
CASES = (
    ([12, 300], 8, 256),
    ([20] * 8, 8, 32),
    ([20] * 8, 8, 256),
    ([12, 300, 5_000, 100_000], 8, 256),
    ([1_000_000] * 2, 16, 256),
)


def data(levels, rows):
    """Numbers and codes, (rows, N_NUMBERS + categories), and classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, N_NUMBERS + len(levels))).astype(np.float32)
    X[:, N_NUMBERS:] = rng.integers(levels, size=(rows, len(levels)))
    return X, rng.integers(2, size=rows).astype(np.int32)


def fitted(net, X, y, batch):
    """A function that trains for an epoch."""
    options = {"epochs": 1, "batch_size": batch, "optimizer": Adam(1e-3), "n_threads": 1}
    return lambda: net.fit(X, y, **options)


def embedded(levels, width, batch, rows):
    X, y = data(levels, rows)
    first = Dense(HIDDEN[0], "relu", categories=Categories(levels, width))
    layers = [first, *(Dense(n, "relu") for n in HIDDEN[1:]), Dense(2, "softmax")]
    net = Network.from_layers(X.shape[1], layers, loss="cross_entropy", seed=0)
    return fitted(net, X, y, batch)


def one_hot(levels, width, batch, rows):
    from scipy.sparse import csr_array, hstack

    X, y = data(levels, rows)
    every = np.arange(rows)
    parts = [csr_array(X[:, :N_NUMBERS])]
    for codes, n in zip(X[:, N_NUMBERS:].T.astype(int), levels, strict=True):
        parts.append(csr_array((np.ones(rows, np.float32), (every, codes)), shape=(rows, n)))
    widths = (N_NUMBERS + sum(levels), *HIDDEN, 2)
    net = Network(widths, output="softmax", loss="cross_entropy", seed=0)
    return fitted(net, hstack(parts).tocsr(), y, batch)


def torch_steps(levels, width, batch, rows, *, sparse):
    import torch
    from torch import nn

    torch.set_num_threads(1)
    X, y = data(levels, rows)
    numbers, classes = torch.tensor(X[:, :N_NUMBERS]), torch.tensor(y.astype(np.int64))
    codes = torch.tensor(X[:, N_NUMBERS:].astype(np.int64))
    tables = nn.ModuleList(nn.Embedding(n, width, sparse=sparse) for n in levels)
    units = [N_NUMBERS + width * len(levels), *HIDDEN]
    hidden = [nn.Sequential(nn.Linear(m, n), nn.ReLU()) for m, n in pairwise(units)]
    net, loss = nn.Sequential(*hidden, nn.Linear(units[-1], 2)), nn.CrossEntropyLoss()
    if sparse:
        adam = torch.optim.Adam(net.parameters(), fused=True)
        optimizers = [torch.optim.SparseAdam(list(tables.parameters())), adam]
    else:
        everything = [*tables.parameters(), *net.parameters()]
        optimizers = [torch.optim.Adam(everything, fused=True)]

    def epoch():
        order = torch.randperm(rows)
        for i in range(0, rows, batch):
            at = order[i : i + batch]
            vectors = [table(codes[at, c]) for c, table in enumerate(tables)]
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss(net(torch.cat([numbers[at], *vectors], 1)), classes[at]).backward()
            for optimizer in optimizers:
                optimizer.step()

    return epoch


PROGRAMS = {
    "fastbp": (embedded, "fastbp"),
    "one-hot": (one_hot, "scipy"),
    "torch dense": (lambda *case: torch_steps(*case, sparse=False), "torch"),
    "torch sparse": (lambda *case: torch_steps(*case, sparse=True), "torch"),
}


def measured(case, rounds, rows):
    """The median µs per step of each program that is installed."""
    programs = {
        name: make(*case, rows)
        for name, (make, package) in PROGRAMS.items()
        if importlib.util.find_spec(package)
    }
    seconds = {name: [] for name in programs}
    for i in range(rounds + 1):  # the first one warms up
        for name, epoch in programs.items():
            began = time.process_time()
            epoch()
            if i > 0:
                seconds[name].append(time.process_time() - began)
    steps = -(-rows // case[2])
    return {name: 1e6 * np.median(each) / steps for name, each in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="timed epochs of each (default: 5)")
    parser.add_argument("--rows", type=int, default=8192, help="rows of an epoch (default: 8192)")
    args = parser.parse_args()
    for levels, width, batch in CASES:
        found = measured((levels, width, batch), args.rounds, args.rows)
        figures = ", ".join(f"{name} {value:,.1f}" for name, value in found.items())
        print(f"levels {levels}, width {width}, batch {batch}: {figures} µs per step", flush=True)


if __name__ == "__main__":
    main()
