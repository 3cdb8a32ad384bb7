"""Training from streams: order of samples, the same bits as in memory, errors, read-ahead."""

import threading
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from thread_cases import eventually

import fastbp
from fastbp import reference
from fastbp._training.blocks import Reader
from fastbp._training.shuffle import STREAM_BLOCKS, permutation
from fastbp.optim import LBFGS, SGD, Adam
from fastbp.schedules import ExponentialLR

N, WIDTHS = 50, (4, 9, 3)
KINDS = {"engine": fastbp.Network, "reference": reference.Network}


@pytest.fixture
def data(rng):
    X = rng.normal(size=(N, WIDTHS[0])).astype(np.float32)
    return X, rng.integers(3, size=N), rng.uniform(0.2, 2, size=N)


@pytest.fixture(params=KINDS)
def make(request):
    def network(widths=WIDTHS, **options):
        options = {"output": "softmax", "loss": "cross_entropy", "seed": 3} | options
        return KINDS[request.param](widths, dtype="float32", **options)

    return network


def cut(arrays, rows):
    """Divide arrays into blocks of `rows` rows."""
    return [tuple(a[i : i + rows] for a in arrays) for i in range(0, len(arrays[0]), rows)]


class Sliced:
    """An object with only a shape and slices, like a data set of h5py; records what is read."""

    def __init__(self, array):
        self._array, self.shape, self.reads = array, array.shape, []

    def __len__(self):
        return len(self._array)

    def __getitem__(self, rows):
        self.reads.append((rows.start, rows.stop))
        return self._array[rows].copy()


# ---- the same bits as in memory -----------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_a_stream_of_one_block_equals_the_arrays(make, data, weighted):
    X, y, s = data
    s = s if weighted else None
    whole, streamed = make(), make()
    adam, other = Adam(0.01), Adam(0.01)
    expected = whole.fit(X, y, sample_weight=s, epochs=3, batch_size=8, optimizer=adam)
    found = streamed.fit(fastbp.stream(X, y, s), epochs=3, batch_size=8, optimizer=other)
    assert found.loss == expected.loss
    np.testing.assert_array_equal(streamed.theta, whole.theta)
    np.testing.assert_array_equal(other.moments, adam.moments)
    assert other.t == adam.t


def test_unshuffled_blocks_of_whole_batches_equal_the_arrays(make, data):
    X, y, _ = data
    whole = make()
    expected = whole.fit(X, y, epochs=3, batch_size=8, shuffle=False)
    blocks = cut((X, y), 16)
    sources = {
        "arrays": fastbp.stream(X, y, block_rows=16),
        "slices": fastbp.stream(Sliced(X), Sliced(y), block_rows=16),
        "list of blocks": fastbp.stream(blocks),
        "function": fastbp.stream(lambda: iter(blocks)),
    }
    for name, source in sources.items():
        streamed = make()
        found = streamed.fit(source, epochs=3, batch_size=8, shuffle=False)
        assert found.loss == expected.loss, name
        np.testing.assert_array_equal(streamed.theta, whole.theta, name)


def test_samples_are_visited_in_the_documented_order(make, data):
    """The order of blocks depends on (seed, epoch), that of their rows on (seed, epoch, block)."""
    X, y, s = data
    streamed, stepped, sgd = make(), make(), SGD(0.1)
    source = fastbp.stream(X, y, s, block_rows=20)
    history = streamed.fit(source, epochs=2, batch_size=6, optimizer=SGD(0.1))
    for epoch in range(2):
        total = weight = 0.0
        for block in permutation(3, epoch, 3, stream=STREAM_BLOCKS):
            first, n = 20 * block, min(20, N - 20 * block)
            order = first + permutation(3, epoch, n, block=int(block))
            for rows in np.split(order, range(6, n, 6)):
                S = s[rows].astype(np.float32).astype(np.float64).sum()
                total += S * stepped.train_batch(X[rows], y[rows], sgd, sample_weight=s[rows])
                weight += S
        # the reference adds the weights of a batch in float32
        np.testing.assert_allclose(history.loss[epoch], total / weight, rtol=6 * 2.0**-23)
    np.testing.assert_array_equal(streamed.theta, stepped.theta)


def test_engine_and_reference_agree_on_streams(data):
    nets = [
        kind(WIDTHS, output="softmax", loss="cross_entropy", dtype="float64", seed=3)
        for kind in KINDS.values()
    ]
    losses = [
        net.fit(fastbp.stream(*data, block_rows=16), epochs=3, batch_size=5).loss for net in nets
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("given", ["uint8", "float16", "float64", ">f4"])
def test_blocks_of_other_dtypes(data, given):
    X = (10 + 3 * data[0]).astype(given)
    nets = [fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", seed=3) for _ in "ab"]
    for net, array in zip(nets, (X, X.astype(np.float32)), strict=True):
        net.fit(fastbp.stream(array, data[1], block_rows=16), epochs=2, batch_size=8)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


def test_blocks_of_growing_sizes(make, data):
    """Blocks and batches with more rows than the session had buffers for."""
    X, y, s = data
    ends = [0, 3, 20, 21, N]
    blocks = [(X[a:b], y[a:b], s[a:b]) for a, b in pairwise(ends)]
    net, stepped, sgd = make(), make(), SGD(0.1)
    net.fit(fastbp.stream(blocks), epochs=1, batch_size=16, optimizer=SGD(0.1), shuffle=False)
    for a, b in ((0, 3), (3, 19), (19, 20), (20, 21), (21, 37), (37, N)):
        stepped.train_batch(X[a:b], y[a:b], sgd, sample_weight=s[a:b])
    np.testing.assert_array_equal(net.theta, stepped.theta)


def test_dense_targets_and_mixed_blocks(data):
    X = data[0]
    net = fastbp.Network((4, 5, 4), seed=0)
    blocks = [(X[:20], X[:20]), (X[20:].astype(np.float64), X[20:], np.ones(N - 20))]
    assert net.fit(fastbp.stream(blocks), epochs=4).epochs == 4


def test_memmaps(data, tmp_path):
    X, y, _ = data
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", np.float32, "r", shape=X.shape)
    nets = [fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", seed=3) for _ in "abc"]
    sources = [(X, y), (mapped, y), (fastbp.stream(mapped, y, block_rows=N),)]
    for net, source in zip(nets, sources, strict=True):
        net.fit(*source, epochs=2)
        np.testing.assert_array_equal(net.theta, nets[0].theta)


# ---- validation, callbacks and weights ----------------------------------------------------


def test_validation_callbacks_and_stopping(make, data):
    X, y, _ = data
    steps, epochs = [], []

    class Watch:
        def on_batch_end(self, step, logs):
            steps.append(step)

        def on_epoch_end(self, epoch, logs):
            epochs.append(logs)
            return epoch == 1

    source = fastbp.stream(X, y, block_rows=20)
    history = make().fit(
        source, epochs=9, batch_size=6, validation_data=(X, y), callbacks=[Watch()]
    )
    assert history.epochs == 2
    assert history.stopped_by == "callback"
    assert steps == [*range(10), *range(10)]  # 4 + 4 + 2 batches
    assert [logs["val_loss"] for logs in epochs] == history.val_loss
    assert all(logs["samples_per_second"] > 0 for logs in epochs)


def test_metrics_are_those_of_the_validation_rows(make, data):
    X, y, _ = data
    source = fastbp.stream(X, y, block_rows=20)
    history = make().fit(source, epochs=2, metrics=["accuracy"], validation_data=(X, y))
    assert set(history.series()) >= {"loss", "val_loss", "val_accuracy"}
    assert "accuracy" not in history.series()


def test_accumulate_with_streams(make, data):
    """The first block may have fewer rows than a part of the batch."""
    X, y, _ = data
    ends = [0, 4, 20, N]
    blocks = [(X[a:b], y[a:b]) for a, b in pairwise(ends)]
    net, stepped = make(), make()
    options = {"epochs": 1, "shuffle": False, "optimizer": SGD(0.1)}
    net.fit(fastbp.stream(blocks), batch_size=6, accumulate=2, **options)
    for a, b in pairwise([0, 4, 16, 20, 32, 44, N]):
        stepped.fit(X[a:b], y[a:b], batch_size=6, accumulate=2, **options)
    np.testing.assert_array_equal(net.theta, stepped.theta)


def test_a_time_budget_ends_an_epoch_early(make, data):
    source = fastbp.stream(lambda: (data for _ in range(10**6)))
    history = make().fit(source, epochs=3, batch_size=8, time_budget=0.03)
    assert history.epochs == 1
    assert history.stopped_by == "time_budget"


def test_blocks_with_zero_weights_are_skipped(make, data):
    X, y, s = data
    some, other = make(), make()
    blocks = [(X[:20], y[:20], s[:20]), (X[20:30], y[20:30], np.zeros(10)), (X[30:], y[30:])]
    loss = some.fit(fastbp.stream(blocks), epochs=1, batch_size=64, shuffle=False).loss
    rest = [blocks[0], blocks[2]]
    assert loss == other.fit(fastbp.stream(rest), epochs=1, batch_size=64, shuffle=False).loss
    np.testing.assert_array_equal(some.theta, other.theta)
    none = "no row of the stream counts in epoch 0: its sample weights are all 0$"
    with pytest.raises(ValueError, match=none):
        make().fit(fastbp.stream(blocks[1:2]))


def test_blocks_of_unknown_targets_are_skipped(make, data):
    X = data[0]
    y = X[:, :3].copy()
    options = {"output": "identity", "loss": "mse(ignore_nan=True)"}
    some, other = make(**options), make(**options)
    unknown = (X[20:30], np.full((10, 3), np.nan))
    rest = [(X[:20], y[:20]), (X[30:], y[30:])]
    for net, blocks in ((some, [rest[0], unknown, rest[1]]), (other, rest)):
        net.fit(fastbp.stream(blocks), epochs=2, batch_size=64, shuffle=False)
    np.testing.assert_array_equal(some.theta, other.theta)
    with pytest.raises(ValueError, match="counts in epoch 0: its targets are all NaN$"):
        make(**options).fit(fastbp.stream([unknown]))
    weighted = (*unknown, np.zeros(10))
    with pytest.raises(ValueError, match="sample weights are all 0, or its targets are all NaN$"):
        make(**options).fit(fastbp.stream([weighted]))


def test_blocks_of_classes_without_weight_are_skipped(make, data):
    X, y, s = data
    options = {"loss": "cross_entropy(class_weight=[1, 2, 0])"}
    some, other = make(**options), make(**options)
    ignored = (X[20:30], np.full(10, 2), s[20:30])
    rest = [(X[:20], y[:20], s[:20]), (X[30:], y[30:], s[30:])]
    for net, blocks in ((some, [rest[0], ignored, rest[1]]), (other, rest)):
        net.fit(fastbp.stream(blocks), epochs=2, batch_size=64, shuffle=False)
    np.testing.assert_array_equal(some.theta, other.theta)
    with pytest.raises(ValueError, match="the class_weight of cross_entropy is 0 for its classes$"):
        make(**options).fit(fastbp.stream([ignored[:2]]))


def test_blocks_of_one_row_give_batch_norm_nothing(make, data):
    X = data[0]
    layers = [fastbp.Dense(9, "relu", norm="batch"), fastbp.Dense(3)]
    net = type(make()).from_layers(4, layers, seed=0)
    blocks = [(X[i : i + 1], X[i : i + 1, :3]) for i in range(5)]
    with pytest.raises(ValueError, match="its blocks have 1 row, and batch norm needs at least 2"):
        net.fit(fastbp.stream(blocks))


def test_divergence_names_the_step_of_the_epoch(make):
    X = np.ones((40, 2), np.float32)
    net = make((2, 1), output="identity", loss="mse")
    source = fastbp.stream(X, X[:, :1], block_rows=4)
    with pytest.raises(fastbp.DivergenceError) as caught:
        net.fit(source, epochs=2, batch_size=2, optimizer=SGD(1e6))
    assert 2 < caught.value.step < 20
    assert np.isfinite(net.theta).all()
    assert_no_reader()


# ---- read-ahead ---------------------------------------------------------------------------


def assert_no_reader():
    """Wait until the reader thread, which has been asked to end, has ended."""
    eventually(lambda: all(t.name != "fastbp reader" for t in threading.enumerate()))


def test_a_source_may_reuse_its_memory(make, data):
    X, y, _ = data

    def blocks():
        room = np.empty((10, 4), np.float32)
        labels = np.empty(10, np.int32)
        for i in range(0, N, 10):
            room[...] = X[i : i + 10]
            labels[...] = y[i : i + 10]
            yield room, labels

    expected, found = make(), make()
    expected.fit(fastbp.stream(cut((X, y), 10)), epochs=3, batch_size=4)
    found.fit(fastbp.stream(blocks), epochs=3, batch_size=4)
    np.testing.assert_array_equal(found.theta, expected.theta)


def test_at_most_one_block_is_read_ahead():
    made = []
    reader = Reader(made.append(i) or i for i in range(5))
    try:
        for i in range(4):
            assert reader.take() == i
            eventually(lambda expected=i + 2: len(made) >= expected)

            assert len(made) == i + 2, f"block {i}"
    finally:
        reader.close()
    assert_no_reader()


def test_every_block_is_read_once_per_epoch(data):
    X, y, _ = data
    sliced = Sliced(X)
    net = fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", seed=3)
    net.fit(fastbp.stream(sliced, y, block_rows=20), epochs=2)
    assert sorted(sliced.reads) == sorted(2 * [(0, 20), (20, 40), (40, 50)])
    assert_no_reader()


def test_a_stream_needs_the_memory_of_two_blocks(tmp_path):
    shape, rows = (40_000, 50), 2000
    X = np.memmap(tmp_path / "X", np.float32, "w+", shape=shape)
    y = np.zeros((shape[0], 1), np.float32)
    net = fastbp.Network((50, 1), init="zeros")
    tracemalloc.start()
    try:
        net.fit(fastbp.stream(X, y, block_rows=rows), epochs=2, batch_size=500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    block = rows * 51 * 4
    assert 2 * block <= peak < 3 * block


def test_an_error_of_the_source_is_raised(make, data):
    X, y, _ = data

    def broken():
        yield X, y
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        make().fit(fastbp.stream(broken))
    assert_no_reader()


def test_an_interrupt_ends_the_reader_thread(make, data):
    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().fit(fastbp.stream(*data, block_rows=10), epochs=5, callbacks=[interrupt])
    assert_no_reader()


# ---- threads that do not start --------------------------------------------------------------


def test_a_stream_is_read_without_another_thread_if_the_system_refuses_one(make, data, monkeypatch):
    expected, found = make(), make()
    expected.fit(fastbp.stream(*data, block_rows=20), epochs=3, batch_size=4)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    found.fit(fastbp.stream(*data, block_rows=20), epochs=3, batch_size=4)
    np.testing.assert_array_equal(found.theta, expected.theta)


def test_a_reader_that_ends_without_memory_is_an_error(make, data, monkeypatch):
    """Without memory, Python may end a thread before its first line, and can only print that."""
    monkeypatch.setattr(Reader, "_work", lambda self: None)
    net = make()
    theta = net.theta.copy()
    with pytest.raises(MemoryError, match="for the thread that reads the stream"):
        net.fit(fastbp.stream(*data, block_rows=20), epochs=3)
    np.testing.assert_array_equal(net.theta, theta)


# ---- errors -------------------------------------------------------------------------------

X, Y = np.ones((6, 4), np.float32), np.zeros(6, int)
BAD_X = np.where(np.arange(6)[:, None] == 5, np.nan, X)


@pytest.mark.parametrize(
    ("make_stream", "error", "message"),
    [
        (lambda: fastbp.stream(X), TypeError, r"an array needs its targets: write stream\(X, y\)"),
        (lambda: fastbp.stream(3), TypeError, "an iterable of blocks .* got int"),
        (lambda: fastbp.stream([], block_rows=3), TypeError, "block_rows belongs to arrays"),
        (lambda: fastbp.stream([], sample_weight=Y), TypeError, "sample_weight belongs to arrays"),
        (lambda: fastbp.stream(X, Y[1:]), ValueError, "y has 5 rows; X has 6"),
        (lambda: fastbp.stream(X, Y, Y[1:]), ValueError, "sample_weight has 5 rows; X has 6"),
        (lambda: fastbp.stream(X[:0], Y[:0]), ValueError, "X has no rows"),
        (lambda: fastbp.stream(X[0], Y), ValueError, r"X must be 2-D.*got shape \(4,\)"),
        (lambda: fastbp.stream(X, Y, block_rows=0), ValueError, "block_rows must be at least 1"),
    ],
)
def test_bad_streams_are_refused(make_stream, error, message):
    with pytest.raises(error, match=message):
        make_stream()


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ((X, Y), {"y": Y}, TypeError, "a stream has its own y; pass None, and y to stream"),
        ((X, Y), {"sample_weight": Y}, TypeError, "a stream has its own sample_weight"),
        ((X, Y), {"validation_split": 0.2}, TypeError, "validation_split is for arrays"),
        ((X, Y), {"class_weight": "balanced"}, TypeError, "class_weight is for arrays"),
        ((X, Y), {"optimizer": "rprop"}, TypeError, "Rprop needs all rows at once, and a stream"),
        ((X, Y), {"optimizer": LBFGS()}, TypeError, "LBFGS needs all rows at once, and a stream"),
        ((iter([(X, Y)]),), {"epochs": 2}, ValueError, "gives its blocks once, not in 2 epochs"),
        ((list,), {}, ValueError, "the stream gave no blocks in epoch 0"),
        (([X],), {}, TypeError, r"block 0 of the stream must be \(X, y\).*got ndarray"),
        (([(X, Y), (X[:, 1:], Y)],), {}, ValueError, "X of block 1 has 3 columns; the network"),
        (([(X, Y[1:])],), {}, ValueError, "y has 5 rows; X of block 0 has 6"),
        (([(X, Y + 3)],), {}, ValueError, "y holds class index 3"),
        (([(X, Y, -np.ones(6))],), {}, ValueError, "sample_weight must not be negative"),
        ((BAD_X, Y, None, 4), {}, ValueError, r"X\[4:6\] holds NaN or infinity, first in row 1"),
        (
            ([(X, Y), (1e39 * X.astype(float), Y)],),
            {},
            ValueError,
            "X of block 1 holds 1e.39 in row 0, beyond float32",
        ),
    ],
)
def test_bad_arguments_with_a_stream_are_refused(source, options, error, message):
    rows = {"block_rows": source[3]} if len(source) == 4 else {}
    stream = fastbp.stream(*source[:3], **rows)
    net = fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", seed=3)
    with pytest.raises(error, match=message):
        net.fit(stream, **options)
    assert_no_reader()


def test_arrays_need_targets(make):
    with pytest.raises(TypeError, match=r"fit takes X and y, or a stream: see fastbp\.stream"):
        make().fit(X)


def test_the_default_of_block_rows():
    assert fastbp.stream(X, Y).block_rows == 2**19
    assert fastbp.stream(np.zeros((5, 784), np.uint8), Y[:5]).block_rows == 2**13
    assert fastbp.stream(np.broadcast_to(1.0, (5, 2**30)), Y[:5]).block_rows == 1


# ---- schedules ----------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_schedules_count_the_steps_of_all_blocks(make, data, per):
    X, y, _ = data
    blocks = fastbp.stream(X, y, block_rows=16)
    assert blocks.n_steps(6) == 3 + 3 + 3 + 1
    seen = []

    class Watch:
        def on_batch_end(self, step, logs):
            seen.append(logs["lr"])

    make().fit(
        blocks,
        epochs=2,
        batch_size=6,
        optimizer=SGD(0.1),
        schedule=ExponentialLR(0.9, per=per),
        callbacks=[Watch()],
    )
    counts = np.arange(20) if per == "step" else np.repeat([0, 1], 10)
    np.testing.assert_allclose(seen, 0.1 * 0.9**counts)


def test_rates_reach_the_steps_of_every_block(make, data):
    """Without shuffling, so that the arrays give the same batches."""
    X, y, _ = data
    nets = [make(), make(), make()]
    sources = [(X, y), (fastbp.stream(X, y, block_rows=16),), (fastbp.stream(cut((X, y), 16)),)]
    for net, source in zip(nets, sources, strict=True):
        per = "step" if net is not nets[2] else "epoch"
        schedule = ExponentialLR(0.8, per=per)
        net.fit(
            *source, epochs=2, batch_size=8, optimizer=SGD(0.1), shuffle=False, schedule=schedule
        )
    np.testing.assert_array_equal(nets[1].theta, nets[0].theta)
    again = make()
    again.fit(
        X,
        y,
        epochs=2,
        batch_size=8,
        optimizer=SGD(0.1),
        shuffle=False,
        schedule=ExponentialLR(0.8),
    )
    np.testing.assert_array_equal(nets[2].theta, again.theta)
    with pytest.raises(ValueError, match="a schedule by step needs a stream of arrays"):
        make().fit(*sources[2], schedule=ExponentialLR(0.8, per="step"))
    assert_no_reader()
