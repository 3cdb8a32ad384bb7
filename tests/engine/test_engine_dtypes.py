"""Inputs of other dtypes are read in place, with the same bits as converted inputs."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from engine_cases import DTYPES, in_child
from test_engine_memory import Guarded, count_allocator_calls, needs_elf, needs_mprotect

import fastbp
from fastbp import _core, reference
from fastbp._checks import arguments as check
from fastbp.optim import Adam

READ = sorted(check.READ, key=str)
N, WIDTHS = 43, (19, 12, 3)  # 19 columns: whole vectors and a tail on every ISA


def network(dtype, widths=WIDTHS, **options):
    return fastbp.Network(
        widths, output="softmax", loss="cross_entropy", dtype=dtype, seed=0, **options
    )


def samples(given, rng, shape=(N, WIDTHS[0])):
    """Numbers of any dtype that are small enough for training."""
    low = 0 if given.kind in "bu" else -3
    X = rng.integers(low, 2 if given.kind == "b" else 4, size=shape)
    return (X + 0.3 * (given.kind == "f")).astype(given)


def linear(n_in, dtype, W):
    """A network with z = x W, whose predictions show the numbers that it read."""
    net = fastbp.Network((n_in, 1), dtype=dtype, init="zeros")
    net.layers[0].W = W
    return net


# ---- values -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_float16_is_read_exactly(dtype):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    X = np.repeat(halves[:, None], 37, axis=1)
    exact = halves.astype(dtype)
    finite = np.isfinite(exact)
    for column in (0, 17, 36):
        W = np.zeros((37, 1))
        W[column] = 1
        read = linear(37, dtype, W).predict(X)[:, 0]
        np.testing.assert_array_equal(read[finite], exact[finite], f"column {column}")
    # the sum of 37 equal infinities or NaN is that infinity or NaN
    sums = linear(37, dtype, np.ones((37, 1))).predict(X)[:, 0]
    np.testing.assert_array_equal(sums[~finite], exact[~finite])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", READ, ids=str)
def test_numbers_are_rounded_as_astype_rounds(given, dtype, rng):
    if given.kind == "f":
        largest = np.finfo(np.float16).max
        X = np.append(rng.normal(size=60), [0.1, 1 / 3, 1e-6, -largest, largest]).astype(given)
    elif given.kind == "b":
        X = np.array([False, True])
    else:
        low, high = np.iinfo(given).min, np.iinfo(given).max
        drawn = rng.integers(low, high, size=60, dtype=given, endpoint=True)
        X = np.append(drawn, np.array([low, low + 1, 0, 1, high - 1, high], given))
    X = np.repeat(X[:, None], 17, axis=1)
    for column in (0, 15, 16):
        W = np.zeros((17, 1))
        W[column] = 1
        read = linear(17, dtype, W).predict(X)[:, 0]
        np.testing.assert_array_equal(read, X[:, 0].astype(dtype), f"column {column}")


# ---- the same bits ------------------------------------------------------------------------


def everything(net, X, y, s):
    """Results of every call that takes X, as {name: result}."""
    found = {"predict": net.predict(X), "row": net.predict(X[:1]), "loss": net.loss(X, y, s)}
    net.forward(X)
    found["J"] = net.backward(y, s)
    found |= {"grad": net.grad.copy(), "slope": net.input_gradient()}
    found["value"], found["value_grad"] = net.value_and_grad(X, y)
    adam = Adam(0.01)
    found["batch"] = [
        net.train_batch(X[:k], y[:k], adam, sample_weight=s[:k]) for k in (N, 1, 9, 20)
    ]
    for weights in (None, s):
        history = net.fit(
            X, y, epochs=2, batch_size=10, sample_weight=weights, validation_data=(X, y)
        )
        found[f"history {weights is None}"] = history.loss, history.val_loss
    return found | {"theta": net.theta.copy()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", READ, ids=str)
def test_all_calls_give_the_bits_of_converted_inputs(given, dtype, rng):
    X = samples(given, rng)
    y, s = rng.integers(3, size=N), rng.uniform(0.1, 2, size=N)
    expected = everything(network(dtype), X.astype(dtype), y, s)
    found = everything(network(dtype), X, y, s)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("given", ["uint8", "float16", "float64"])
def test_rows_and_columns_may_have_any_stride(given, rng):
    wide = samples(np.dtype(given), rng, (2 * N, 30))
    y = rng.integers(3, size=N)
    views = [wide[::2, 4:23], wide[N - 1 :: -1, :19], np.asfortranarray(wide[:N, :19])]
    views.append(wide[:, ::-1][:N, :19])
    for X in views:
        expected, found = (network("float32") for _ in range(2))
        expected.fit(np.ascontiguousarray(X, np.float32), y, epochs=2, batch_size=8)
        found.fit(X, y, epochs=2, batch_size=8)
        np.testing.assert_array_equal(found.theta, expected.theta, f"strides {X.strides}")
    broadcast = np.broadcast_to(wide[:1, :19], (N, 19))
    np.testing.assert_array_equal(
        network("float32").predict(broadcast),
        network("float32").predict(broadcast.astype(np.float32)),
    )


@pytest.mark.parametrize("given", [">f4", ">u2", "longdouble"])
def test_other_dtypes_are_converted_first(given, rng):
    X = samples(np.dtype("float32"), rng).round().clip(0).astype(given)
    assert check.as_inputs(X, WIDTHS[0], np.dtype("float32")).dtype == np.float32
    np.testing.assert_array_equal(
        network("float32").predict(X), network("float32").predict(X.astype(np.float32))
    )


def test_any_number_of_threads_gives_the_same_bits(rng):
    X = rng.integers(256, size=(600, 200), dtype=np.uint8)
    y = rng.integers(3, size=600)
    thetas = []
    for n_threads in (1, 2, 3):
        net = network("float32", (200, 300, 3))
        net.layers[0].W /= 255
        net.fit(X, y, epochs=2, batch_size=256, n_threads=n_threads)
        thetas.append(net.theta)
    np.testing.assert_array_equal(thetas[1:], thetas[:1] * 2)


def test_the_reference_takes_the_same_dtypes(rng):
    X, y = samples(np.dtype("uint8"), rng), rng.integers(3, size=N)
    options = {"output": "softmax", "loss": "cross_entropy", "seed": 0}
    twin, engine = reference.Network(WIDTHS, **options), network("float64")
    history = twin.fit(X, y, epochs=3, batch_size=10)
    np.testing.assert_allclose(engine.fit(X, y, epochs=3, batch_size=10).loss, history.loss)


def test_explain_takes_inputs_of_another_dtype(rng):
    X, y = samples(np.dtype("uint8"), rng), rng.integers(3, size=N)
    assert network("float32").explain(X, y, batch_size=16, seconds=0.01).steps > 0


# ---- checks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "bad", "message"),
    [
        ("float16", np.inf, "X holds NaN or infinity, first in row 5;"),
        ("float16", np.nan, "X holds NaN or infinity, first in row 5;"),
        ("float64", 1e39, r"X holds -?1e\+39 in row 5, beyond float32, which ends at"),
        ("float64", -1e39, r"X holds -?1e\+39 in row 5, beyond float32, which ends at"),
        ("float64", np.nan, "X holds NaN or infinity, first in row 5;"),
        ("float32", np.nan, "X holds NaN or infinity, first in row 5;"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(given, bad, message, rng):
    X, y = samples(np.dtype(given), rng), rng.integers(3, size=N)
    X[5, 7] = bad
    with pytest.raises(ValueError, match=message):
        network("float32").fit(X, y)


def test_large_finite_numbers_are_accepted():
    y = np.zeros((300, 1))
    for X in (
        np.full((300, 2), 6e4, np.float16),
        np.full((300, 2), 3e38, np.float64),
        np.full((300, 2), 3e38, np.float32),
        np.full((3, 2), 3e38, np.float64),
    ):
        check.check_finite(X, "X", np.dtype("float32"))
    net = fastbp.Network((2, 1), init="zeros")
    net.fit(np.full((300, 2), 6e4, np.float16), y, epochs=1)


def test_predict_does_not_check_for_nan():
    net = fastbp.Network((2, 1), seed=0)
    X = np.array([[np.nan, 1], [1, 1]], np.float16)
    assert np.isnan(net.predict(X)[:, 0]).tolist() == [True, False]


# ---- memory -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["uint8", "float16", "int16"])
def test_the_data_set_is_not_copied(given, tmp_path):
    shape = (20_000, 100)
    data = np.memmap(tmp_path / "X", given, "w+", shape=shape)
    data[...] = 1
    data.flush()
    X = np.memmap(tmp_path / "X", given, "r", shape=shape)
    y = np.zeros((shape[0], 1))
    net = fastbp.Network((100, 1), init="zeros")
    net.fit(X[:100], y[:100], epochs=1)
    tracemalloc.start()
    try:
        net.fit(X, y, epochs=1, batch_size=1000)
        net.predict(X[:50])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 2


def read_beside_guards(given):
    rng = np.random.default_rng(3)
    for at_end in (True, False):
        for n_in, n in ((1, 1), (17, 9), (31, 8), (33, 70)):
            X = Guarded(at_end)(samples(np.dtype(given), rng, (n, n_in)))
            net = network("float32", (n_in, 5, 3))
            y = rng.integers(3, size=n)
            net.predict(X)
            net.forward(X)
            net.backward(y)
            net.fit(X, y, epochs=1, batch_size=7)
            net.train_batch(X, y, Adam())


@needs_mprotect
@pytest.mark.parametrize("given", ["uint8", "float16", "float64"])
def test_only_the_rows_are_read(given):
    in_child(read_beside_guards, given)


def train_narrow_and_count():
    calls = count_allocator_calls(Path(_core.__file__).resolve())
    rng = np.random.default_rng(3)
    net = network("float32")
    X, y = samples(np.dtype("uint8"), rng), rng.integers(3, size=N).astype(np.int32)
    optimizer = Adam()
    optimizer.bind(net.theta.size, net.dtype)
    fit = _core.Fit(net._backend.net, net.theta, X, y, None, optimizer, 8, True, 0)
    calls.clear()
    while not fit.run(0.0)[1]:
        pass
    assert calls == []


@needs_elf
def test_a_step_allocates_nothing():
    in_child(train_narrow_and_count)
