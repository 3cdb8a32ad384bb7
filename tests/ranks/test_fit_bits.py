"""`Network.fit(comm=…)`: the bits are those of one process, whatever the number of ranks."""

import runpy
from pathlib import Path

import numpy as np
import part_cases
import pytest
from rank_cases import on_ranks

import fastbp

TESTS = Path(__file__).parents[1]
ALL = """
import sys
sys.path.insert(0, {tests!r})
import part_cases

def main(comm):
    return part_cases.run_all(comm, {all_cases})
"""


@pytest.fixture(scope="module")
def alone():
    return part_cases.run_all()


# 3 ranks do not divide the parts evenly; more than 2 share the processors of a small machine
@pytest.mark.parametrize(
    "n_ranks, all_cases",
    [
        (2, True),
        pytest.param(3, False, marks=pytest.mark.once),
        pytest.param(8, False, marks=pytest.mark.once),
    ],
)
def test_all_ranks_end_with_the_bits_of_one_process(n_ranks, all_cases, alone, tmp_path):
    script = ALL.format(tests=str(TESTS), all_cases=all_cases)
    for each in on_ranks(n_ranks, script, tmp_path):
        assert each == {name: alone[name] for name in each}


THREADS = """
import numpy as np
import fastbp

def main(comm):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2048, 200)).astype(np.float32), rng.integers(10, size=2048)
    n = len(X) // comm.size
    rows = slice(comm.rank * n, (comm.rank + 1) * n)
    net = fastbp.Network((200, 256, 256, 10), output="softmax", loss="cross_entropy", seed=0)
    net.fit(X[rows], y[rows], epochs=1, batch_size=512, comm=comm, n_threads={threads})
    return net.theta.tobytes()
"""


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_the_number_of_threads_changes_no_bit(n_ranks, tmp_path):
    found = set()
    for threads in (1, 2):
        script = THREADS.replace("{threads}", str(threads))
        found |= set(on_ranks(n_ranks, script, tmp_path, FASTBP_NUM_THREADS="2"))
    assert len(found) == 1


STREAMS = """
import numpy as np
import fastbp
from fastbp._training.part_source import PartSource

def part(p):
    rng = np.random.default_rng(p)
    n = 40 + 3 * p
    return fastbp.stream(rng.normal(size=(n, 5)), rng.normal(size=(n, 2)), block_rows=32)

def main(comm):
    net = fastbp.Network((5, 9, 2), seed=0)
    history = net.fit(PartSource(part), epochs=3, batch_size=50, comm=comm)
    return net.theta.tobytes(), history.loss
"""


def test_streams_of_parts(tmp_path):
    """Parts of different sizes, whose streams end at different blocks."""
    (tmp_path / "streams.py").write_text(STREAMS)
    space = runpy.run_path(str(tmp_path / "streams.py"))
    net = fastbp.Network((5, 9, 2), seed=0)
    source = space["PartSource"](space["part"])
    history = net.fit(source, epochs=3, batch_size=50, parts=16)
    for n_ranks in (2, 3):
        for each in on_ranks(n_ranks, STREAMS, tmp_path):
            assert each == (net.theta.tobytes(), history.loss)


def test_a_rank_may_have_rows_of_its_own_choice(tmp_path):
    """Ranks with other numbers of rows than an even cut gives."""
    script = """
import numpy as np
import fastbp

def main(comm):
    rng = np.random.default_rng(comm.rank)
    n = 10 + 90 * comm.rank
    net = fastbp.Network((3, 8, 1), seed=0)
    X = rng.normal(size=(n, 3))
    history = net.fit(X, X[:, :1], epochs=30, batch_size=20, comm=comm, optimizer="adam")
    return net.theta.tobytes(), history.loss[0], history.loss[-1]
"""
    found = on_ranks(2, script, tmp_path)
    assert found[0] == found[1]
    assert found[0][2] < found[0][1]


CALLBACKS = """
import numpy as np
import fastbp
from fastbp import optim

class Bounds:
    def __init__(self, net, adam):
        self.net, self.adam, self.steps = net, adam, []

    def on_batch_end(self, step, logs):
        self.steps.append(step)
        np.clip(self.net.theta, -0.2, 0.2, out=self.net.theta)
        self.adam.lr *= 0.99

def main(comm):
    X = np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32)
    n = len(X) // comm.size
    rows = slice(comm.rank * n, (comm.rank + 1) * n)
    found = []
    for where in ({"comm": comm}, {"parts": 16}):
        net, adam = fastbp.Network((3, 16, 1), seed=1), optim.Adam(0.1)
        own = rows if "comm" in where else slice(None)
        bounds = Bounds(net, adam)
        net.fit(X[own], X[own, :1] * 3, epochs=2, batch_size=32, optimizer=adam,
                callbacks=[bounds], **where)
        found.append((net.theta.tobytes(), adam.lr, bounds.steps))
    return found
"""


@pytest.mark.once
def test_what_a_callback_changes_after_a_batch(tmp_path):
    first, second = on_ranks(2, CALLBACKS, tmp_path)
    assert first[0] == first[1]
    assert first[0][2] == [0, 1, 2, 3] * 2
    assert second[0][:2] == first[0][:2]
    assert second[0][2] == []  # callbacks are called on rank 0


GROWING = """
import numpy as np
import fastbp
from fastbp.distributed import parts

def blocks(p):
    rng = np.random.default_rng(p)
    for n in (2, 100 if p else 2, 100 if p else 2):
        X = rng.normal(size=(n, 5))
        yield X, np.sin(X[:, :2])

def fit(**where):
    net = fastbp.Network((5, 40, 30, 2), seed=0)
    source = parts(lambda p: fastbp.stream(lambda: blocks(p)))
    history = net.fit(source, epochs=2, batch_size=64, **where)
    return net.theta.tobytes(), history.loss

def main(comm):
    return fit(parts=2, comm=comm) == fit(parts=2)
"""


@pytest.mark.once
def test_blocks_that_grow_on_another_rank(tmp_path):
    """Large batches need copies of W, which small ones of the first block did not."""
    assert on_ranks(2, GROWING, tmp_path) == [True] * 2


AGAIN = """
import numpy as np
import fastbp
from fastbp import optim

def fits(X, y, **where):
    net, adam = fastbp.Network((1, 1), seed=1), optim.Adam(ema=0.9)
    for _ in range(3):
        net.fit(X, y, optimizer=adam, epochs=2, batch_size=16, **where)
    state = [net.theta, *adam.moments, adam.average]
    return [array.tobytes() for array in state], adam.t

def main(comm):
    X = np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32)
    n = len(X) // comm.size
    rows = slice(comm.rank * n, (comm.rank + 1) * n)
    return fits(X[rows], 2 * X[rows], comm=comm) == fits(X, 2 * X, parts=16)
"""


@pytest.mark.once
def test_a_second_fit_continues_with_the_state_of_the_first(tmp_path):
    """Also for ranks that update no parameter, because there are only two."""
    assert on_ranks(4, AGAIN, tmp_path) == [True] * 4


APART = """
import numpy as np
import fastbp

def main(comm):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6))
    y = np.sin(X[:, :2]) + X[:, 2:3]
    n = len(X) // comm.size
    rows = slice(comm.rank * n, (comm.rank + 1) * n)
    found = []
    for outer in (None, fastbp.optim.SGD(0.7, momentum=0.9, nesterov=True)):
        net = fastbp.Network((6, 20, 2), activation="tanh", seed=0)
        history = net.fit(
            X[rows], y[rows], epochs=8, batch_size=40, comm=comm, sync_every={every}, outer=outer
        )
        found.append((net.theta.tobytes(), history.loss))
    return found
"""


def test_local_steps_between_averages(tmp_path):
    script = APART.replace("{every}", "3")
    found, again = (on_ranks(2, script, tmp_path) for _ in range(2))
    assert found[0] == found[1] == again[0]  # the same for a given number of ranks
    for theta, losses in found[0]:
        assert np.isfinite(np.frombuffer(theta, np.float32)).all()
        assert losses[-1] < 0.8 * losses[0]
    assert found[0][0][0] != found[0][1][0]


def test_an_average_after_every_step_of_sgd_is_a_step_of_the_whole_batch(tmp_path):
    """The mean of steps of plain SGD is the step of the mean gradient."""
    script = """
import numpy as np
import fastbp
from fastbp import optim

def main(comm):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(320, 6))
    y = np.sin(X[:, :2])
    n = len(X) // comm.size
    rows = slice(comm.rank * n, (comm.rank + 1) * n)
    found = []
    for every in (None, 1):
        net = fastbp.Network((6, 20, 2), activation="tanh", seed=0, dtype="float64")
        net.fit(
            X[rows], y[rows], epochs=2, batch_size=32, comm=comm, sync_every=every,
            optimizer=optim.SGD(0.1),
        )
        found.append(net.theta)
    return found
"""
    together, apart = on_ranks(2, script, tmp_path)[0]
    np.testing.assert_allclose(apart, together, rtol=1e-12, atol=1e-13)
