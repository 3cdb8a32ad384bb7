"""`Network.fit(parts=P)` in one process: threads, the reference, batches and what it refuses."""

import numpy as np
import pytest
from fit_cases import StopAt, case, classes

import fastbp
from fastbp import reference
from fastbp._training.divided import batches
from fastbp._training.part_source import PartSource


def fitted(n_threads=1, parts=16, network=fastbp.Network, dtype="float32", **options):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(1501, 60)).astype(dtype)
    y = (np.abs(X).argmax(axis=1) % 10).astype(np.int32)
    net = network((60, 300, 300, 10), output="softmax", loss="cross_entropy", seed=2, dtype=dtype)
    fit = {"epochs": 2, "batch_size": 500} | options
    history = net.fit(X, y, parts=parts, n_threads=n_threads, **fit)
    return net, history


def test_threads_change_no_bit():
    one, two, three = (fitted(n)[0].theta.tobytes() for n in (1, 2, 3))
    assert one == two == three


@pytest.mark.parametrize(
    "optimizer", ["adam", fastbp.optim.SGD(0.1, clip_global_norm=0.1), "muon", "schedulefree"]
)
def test_threads_change_no_bit_with_norms(optimizer):
    thetas = []
    for n in (1, 2):
        if not isinstance(optimizer, str):
            optimizer.reset()
        thetas.append(fitted(n, optimizer=optimizer)[0].theta.tobytes())
    assert thetas[0] == thetas[1]


def test_one_part_is_a_fit_without_parts():
    assert fitted(parts=1)[0].theta.tobytes() == fitted(parts=None)[0].theta.tobytes()


@pytest.mark.parametrize("parts", [2, 16, 64])
@pytest.mark.parametrize("rule", ["sgd", "muon", "schedulefree"])
def test_it_agrees_with_the_reference(parts, rule):
    """The same rows in every batch: sums differ by rounding alone."""
    thetas = []
    for network in (fastbp.Network, reference.Network):
        net, X, y = case(network)
        optimizer = fastbp.optim.SGD(0.1) if rule == "sgd" else rule
        net.fit(X, y, parts=parts, epochs=3, batch_size=5, optimizer=optimizer)
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[0], thetas[1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("rows", [[5, 5, 5, 5], [0, 7, 1, 0], [100, 3], [6]], ids=str)
@pytest.mark.parametrize("batch", [1, 3, 8, 1000])
def test_every_row_comes_once_and_each_part_gives_its_share(rows, batch, group):
    rows = np.array(rows) * group
    found = batches(rows, batch * group, 1, 0, 0, group, shuffle=True)
    n, ends = rows.sum(), np.cumsum(rows)
    assert sorted(np.concatenate(found).tolist()) == list(range(n))
    assert len(found) == -(-n // (batch * group))
    for chosen in found[:-1]:
        assert abs(len(chosen) - batch * group) <= len(rows) * group
        for size, end in zip(rows, ends, strict=True):
            own = ((chosen >= end - size) & (chosen < end)).sum()
            assert abs(own - min(batch * group, n) * size / n) <= 1 * group
    if group == 2:
        for chosen in found:
            assert (chosen[::2] % 2 == 0).all() and (chosen[1::2] == chosen[::2] + 1).all()


def test_equal_parts_give_batches_of_their_size():
    found = batches(np.full(16, 10), 24, 1, 0, 0, 1, shuffle=True)
    assert [len(chosen) for chosen in found] == [24] * 6 + [16]


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_rows_are_held_out_of_parts_that_are_small(labels, share):
    net, X, y = classes() if labels else case()
    history = net.fit(X, y, parts=16, epochs=2, batch_size=8, validation_split=share)
    assert len(history["val_loss"]) == 2


def test_a_share_that_holds_out_no_row():
    net, X, y = case()
    with pytest.raises(ValueError, match="into 23 to train on and 0 to score"):
        net.fit(X, y, parts=4, validation_split=0.01)


def test_data_by_a_function_of_the_part():
    net, X, y = case()
    other, _, _ = case()
    ends = np.linspace(0, len(X), 5).astype(int)
    source = PartSource(lambda p: (X[ends[p] : ends[p + 1]], y[ends[p] : ends[p + 1]]))
    net.fit(X, y, parts=4, epochs=2, batch_size=6)
    other.fit(source, parts=4, epochs=2, batch_size=6)
    np.testing.assert_array_equal(net.theta, other.theta)


def test_a_stream_is_cut_block_by_block():
    net, X, y = case()
    history = net.fit(fastbp.stream(X, y, block_rows=10), parts=4, epochs=20, batch_size=5)
    assert history.loss[-1] < history.loss[0]


def test_checkpoints_in_the_middle_of_an_epoch(tmp_path):
    net, history = fitted(epochs=3, batch_size=200)
    with pytest.raises(KeyboardInterrupt):
        fitted(epochs=3, batch_size=200, checkpoint=tmp_path, callbacks=[StopAt(11)])
    again, more = fitted(epochs=3, batch_size=200, checkpoint=tmp_path, resume=True)
    assert again.theta.tobytes() == net.theta.tobytes()
    assert more.loss == history.loss


def test_a_checkpoint_of_other_parts(tmp_path):
    fitted(epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="parts"):
        fitted(epochs=2, parts=8, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"parts": 12}, ValueError, "take 8 or 16"),
        ({"parts": 2048}, ValueError, "at most 1024"),
        ({"parts": 0}, ValueError, "parts must be at least 1"),
        ({"parts": 2.5}, TypeError, "parts"),
        ({"parts": 4, "optimizer": "lbfgs"}, TypeError, "leave out parts"),
        ({"parts": 4, "accumulate": 2}, ValueError, "leave accumulate out"),
        ({"parts": 4, "sync_every": 3}, ValueError, "pass comm"),
        ({"sync_every": 3}, ValueError, "pass comm"),
        ({"outer": fastbp.optim.SGD(1.0)}, ValueError, "pass comm"),
        ({"comm": 3}, TypeError, "communicator of mpi4py"),
    ],
    ids=str,
)
def test_what_it_refuses(options, error, message):
    net, X, y = case()
    before = net.theta.copy()
    with pytest.raises(error, match=message):
        net.fit(X, y, **options)
    np.testing.assert_array_equal(net.theta, before)


def test_a_hook_sees_whole_batches():
    net, X, y = case()
    net.on_delta(lambda l, delta: None)
    with pytest.raises(ValueError, match="a hook sees every"):
        net.fit(X, y, parts=4)


def test_data_in_parts_need_their_number():
    net, _, _ = case()
    with pytest.raises(ValueError, match="parts=16"):
        net.fit(PartSource(lambda p: None))


def test_a_part_that_is_no_data():
    net, _, _ = case()
    with pytest.raises(TypeError, match="part 0 must be"):
        net.fit(PartSource(lambda p: None), parts=4)
