"""What ranks must agree on before a fit, and failures on one rank between two averages."""

import pytest
from rank_cases import on_ranks, outcomes_on_ranks

pytestmark = pytest.mark.once

START = """
import numpy as np
import fastbp
from fastbp import optim, schedules

def main(comm):
    first = comm.rank == 0
    rng = np.random.default_rng(comm.rank)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    net = fastbp.Network((3, 8, 1), seed=0)
    options = dict(epochs=2, batch_size=16, comm=comm)
"""


@pytest.mark.parametrize(
    "differs, message",
    [
        ("options['batch_size'] = 16 if first else 17", "same batch_size: rank 0 has 16, rank 1"),
        ("options['schedule'] = 'cosine' if first else 'one_cycle'", "same schedule"),
        ("options['schedule'] = schedules.ExponentialLR(0.5 if first else 0.9)", "same schedule"),
        ("options['optimizer'] = optim.Adam(0.1 if first else 0.2)", "same optimizer"),
        ("net = fastbp.Network((3, 8 if first else 9, 1))", "of the network"),
        ("net = fastbp.Network((3, 8, 1), l2=0.1 * first)", "same l2 of the network"),
        ("options['parts'] = 16 if first else 32", "same parts"),
        ("options['sample_weight'] = np.ones(40) if first else None", "same sample_weight"),
        ("options['shuffle'] = first", "same shuffle"),
        ("options['sync_every'] = 2 if first else None", "same sync_every"),
        ("X = X if first else X[:, :2]", "rank 1 of 2 .*X has 2 columns"),
        ("y[3] = 0.0 if first else np.nan", "rank 1 of 2"),
        ("X, y = (fastbp.stream(X, y), None) if first else (X, y)", "same data"),
        ("options['optimizer'] = 'muon'", "Muon needs all parameters and their state at once"),
        ("options['optimizer'] = optim.ScheduleFree()", "ScheduleFree needs all parameters and"),
    ],
)
def test_what_differs_between_ranks(differs, message, tmp_path):
    script = f"{START}    before = net.theta.copy()\n    {differs}\n    net.fit(X, y, **options)\n"
    for good, error in outcomes_on_ranks(2, script, tmp_path):
        assert not good
        assert type(error) in (ValueError, TypeError)
        pytest.raises(type(error), _raise, error).match(message)


def _raise(error):
    raise error


def test_a_loss_that_fails_on_one_rank_between_two_averages(tmp_path):
    script = """
import numpy as np
import fastbp
from fastbp import losses

def main(comm):
    calls = []
    def squares(a, y):
        calls.append(1)
        if comm.rank == 1 and len(calls) == 5:
            raise ValueError("my loss failed")
        return ((a - y) ** 2).sum(axis=1), 2 * (a - y)
    X = np.random.default_rng(comm.rank).normal(size=(200, 3))
    net = fastbp.Network((3, 8, 1), loss=losses.CustomLoss(squares), seed=0)
    net.fit(X, X[:, :1], epochs=2, batch_size=20, comm=comm, sync_every={every})
"""
    for every in ("3", "None"):
        for good, error in outcomes_on_ranks(2, script.replace("{every}", every), tmp_path):
            assert not good
            assert str(error).startswith("rank 1 of 2") and "my loss failed" in str(error)


def test_a_rank_without_weights_in_an_epoch_of_averages(tmp_path):
    script = """
import numpy as np
import fastbp

def main(comm):
    rng = np.random.default_rng(comm.rank)
    def blocks():
        X = rng.normal(size=(30, 3))
        yield X, X[:, :1], np.full(30, float(comm.rank == 0))
    net = fastbp.Network((3, 8, 1), seed=0)
    history = net.fit(fastbp.stream(blocks), epochs=2, batch_size=20, comm=comm, sync_every=2)
    return net.theta.tobytes(), history.loss
"""
    found = on_ranks(2, script, tmp_path)
    assert found[0] == found[1]
    assert all(loss > 0 for loss in found[0][1])


def test_outer_and_checkpoints(tmp_path):
    script = (
        START
        + """
    try:
        net.fit(X, y, sync_every=2, outer=optim.SGD(0.7), checkpoint="never made", **options)
    except ValueError as error:
        return str(error)
"""
    )
    for found in on_ranks(2, script, tmp_path):
        assert "does not hold the state of outer" in found
