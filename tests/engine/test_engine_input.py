"""Input that a Network refuses without changing anything, and input in every layout."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_cases import DTYPES

import fastbp
from fastbp import Network
from fastbp.losses import Loss
from fastbp.optim import SGD, Adam

N = 12


@pytest.fixture
def ready():
    """A 4-5-3 classifier after forward and backward of N samples, with the samples."""
    rng = np.random.default_rng(8)
    net = Network((4, 5, 3), output="softmax", loss="cross_entropy", seed=2)
    X, y = rng.normal(size=(N, 4)), rng.integers(3, size=N)
    net.forward(X)
    net.backward(y)
    return net, X, y


def state(net):
    """Copies of everything that a call could change."""
    arrays = [net.theta, net.grad]
    for layer in net.layers:
        arrays += [layer.z, layer.a, layer.delta]
    return [None if array is None else array.copy() for array in arrays]


def assert_refused(net, call, error, message):
    before = state(net)
    with pytest.raises(error, match=message):
        call()
    for now, kept in zip(state(net), before, strict=True):
        np.testing.assert_array_equal(now, kept)


# ---- arrays that are refused --------------------------------------------------------------

BAD_X = [
    (np.ones(4), ValueError, r"X must be 2-D; got 1-D: write X\[None, :\] for one sample"),
    (np.ones(5), ValueError, r"X must be 2-D, \(samples, 4\); got 1-D, shape \(5,\)"),
    (np.ones((2, 3, 4)), ValueError, "X must be 2-D"),
    (1.0, ValueError, "X must be 2-D"),
    (np.ones((6, 5)), ValueError, r"X has 5 columns; the network takes 4 \(widths\[0\]\)"),
    (np.ones((0, 4)), ValueError, "X has no rows; give at least one sample"),
    (np.ones((2, 4), complex), TypeError, "X must hold real numbers; got dtype complex128"),
    (np.full((2, 4), "a", object), TypeError, "X must hold real numbers; columns 0, 1, 2, 3 hold"),
    ([["1", "2", "3", "4"]], TypeError, "X must hold real numbers; got dtype <U1"),
    ([[1, 2, 3, 4], [1, 2]], ValueError, "X has rows of different lengths"),
    (None, TypeError, "X must hold real numbers"),
]


@pytest.mark.parametrize(("X", "error", "message"), BAD_X)
def test_bad_inputs_are_refused(ready, X, error, message):
    net, _, y = ready
    for call in (
        lambda: net.forward(X),
        lambda: net.predict(X),
        lambda: net.loss(X, y),
        lambda: net.value_and_grad(X, y),
        lambda: net.fit(X, y),
    ):
        assert_refused(net, call, error, message)


BAD_Y = [
    (np.full(N, 3), ValueError, r"y holds class index 3; they run from 0 to 2 \(widths\[-1\] is 3"),
    (np.arange(N) - 1, ValueError, "y holds class index -1; they run from 0 to 2"),
    (np.zeros(N), TypeError, r"class indices of an integer dtype; got float64: write y.astype\("),
    (np.zeros(N, bool), TypeError, "y of dtype bool names 2 classes; the network has 3"),
    (np.zeros(N - 1, int), ValueError, "y has 11 rows; {rows} has 12"),
    (["cat"] * N, TypeError, "y must hold real numbers; got dtype <U3: encode classes with"),
    (np.zeros((N, 1), int), ValueError, r"y has 1 column; .* write y\[:, 0\] for class indices"),
    (np.full((N, 3), 0.5), ValueError, "each row of y must sum to 1 for cross_entropy; row 0"),
    (np.full((N, 3), np.nan), ValueError, "y holds NaN or infinity, first in row 0"),
    (np.tile([2.0, -1.0, 0.0], (N, 1)), ValueError, "y must hold probabilities, none negative"),
    (0, ValueError, "y must have one entry per sample; got a single value"),
]


@pytest.mark.parametrize(("y", "error", "message"), BAD_Y)
def test_bad_targets_are_refused(ready, y, error, message):
    net, X, _ = ready
    forwarded = message.format(rows="the last forward")
    assert_refused(net, lambda: net.backward(y), error, forwarded)
    message = message.format(rows="X")
    for call in (
        lambda: net.loss(X, y),
        lambda: net.value_and_grad(X, y),
        lambda: net.fit(X, y),
    ):
        assert_refused(net, call, error, message)


BAD_WEIGHTS = [
    (-np.ones(N), ValueError, "sample_weight must not be negative; got -1"),
    (np.full(N, np.nan), ValueError, "sample_weight holds NaN or infinity, first in row 0"),
    (np.full(N, np.inf), ValueError, "sample_weight holds NaN or infinity"),
    (np.zeros(N), ValueError, r"sample_weight must have a positive, finite sum; it is 0\.0"),
    (np.full(N, 3e38), ValueError, "sample_weight must have a positive, finite sum"),
    (np.ones(5), ValueError, "sample_weight has 5 rows; .* has 12"),
    (np.ones((N, 1)), ValueError, "sample_weight must be 1-D, one weight per sample"),
    (["1"] * N, TypeError, "sample_weight must hold real numbers"),
]


@pytest.mark.parametrize(("s", "error", "message"), BAD_WEIGHTS)
def test_bad_weights_are_refused(ready, s, error, message):
    net, X, y = ready
    for call in (
        lambda: net.backward(y, s),
        lambda: net.backward_from(np.ones((N, 3)), sample_weight=s),
        lambda: net.loss(X, y, s),
        lambda: net.fit(X, y, sample_weight=s),
    ):
        assert_refused(net, call, error, message)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, X, y: n.backward_from(X), ValueError, r"delta_L has 4 columns; .* has 3 \(wid"),
        (lambda n, X, y: n.backward_from(X[:5, :3]), ValueError, "delta_L has 5 rows; the last f"),
        (lambda n, X, y: n.value_and_grad(X, y, [1.0]), ValueError, r"theta has shape \(1,\); the"),
        (
            lambda n, X, y: n.step("ftrl"),
            ValueError,
            "unknown optimizer 'ftrl'; known: sgd, adam",
        ),
        (lambda n, X, y: n.step(0.1), TypeError, "optimizer must be a name or an Optimizer object"),
        (lambda n, X, y: n.fit(X, y, epochs=0), ValueError, "epochs must be at least 1; got 0"),
        (lambda n, X, y: n.fit(X, y, epochs=2.0), TypeError, "epochs must be a whole number"),
        (lambda n, X, y: n.fit(X, y, batch_size=0), ValueError, "batch_size must be at least 1"),
        (lambda n, X, y: n.fit(X, y, n_threads=0), ValueError, "n_threads must be at least 1"),
        (lambda n, X, y: n.fit(X, y, callbacks=print), TypeError, r"write callbacks=\[callback\]"),
        (lambda n, X, y: n.fit(X, y, callbacks=[3]), TypeError, "callback 3 is neither callable"),
        (lambda n, X, y: n.fit(X, y, validation_data=X), TypeError, r"validation_data must be \(X"),
        (
            lambda n, X, y: n.fit(X, y, validation_data=(X, y[1:])),
            ValueError,
            r"validation_data\[1\] has 11 rows; validation_data\[0\] has 12",
        ),
        (lambda n, X, y: n.fit(X / 0.0, y), ValueError, "X holds NaN or infinity, first in row 0"),
        (lambda n, X, y: n.fit(X, y, optimizer="ftrl"), ValueError, "unknown optimizer 'ftrl'"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_other_bad_arguments_are_refused(ready, call, error, message):
    net, X, y = ready
    assert_refused(net, lambda: call(net, X, y), error, message)


def test_an_optimizer_with_the_state_of_another_network_is_refused(ready):
    net, X, y = ready
    adam, other = Adam(), Network((4, 5, 3), dtype="float64", seed=0)
    other.fit(X, np.ones((N, 3)), epochs=1, optimizer=adam)
    moments = [moment.copy() for moment in adam.moments]
    message = "holds the state of 43 parameters of float64; the network has 43 of float32"
    for call in (lambda: net.step(adam), lambda: net.fit(X, y, optimizer=adam)):
        assert_refused(net, call, ValueError, message)
    assert adam.t == 1
    np.testing.assert_array_equal(adam.moments, moments)
    adam.reset()
    net.step(adam)


def test_calls_in_the_wrong_order_are_refused(ready):
    _, X, y = ready
    net = Network((4, 5, 3), output="softmax", loss="cross_entropy", seed=2)
    first, then = r"call forward\(X\) first", r"call backward\(y\) first"
    assert_refused(net, lambda: net.backward(y), RuntimeError, first)
    assert_refused(net, lambda: net.backward_from(np.ones((N, 3))), RuntimeError, first)
    assert_refused(net, net.input_gradient, RuntimeError, then)
    assert_refused(net, lambda: net.step("sgd"), RuntimeError, then)
    net.forward(X)
    assert_refused(net, net.input_gradient, RuntimeError, then)
    assert_refused(net, lambda: net.step("sgd"), RuntimeError, then)


def test_a_batch_that_does_not_fit_in_memory(ready):
    net, X, y = ready
    theta, endless = net.theta.copy(), np.broadcast_to(np.float32(1), (2**44, 4))
    with pytest.raises(MemoryError):
        net.forward(endless)
    with pytest.raises(MemoryError):
        net.predict(endless)
    np.testing.assert_array_equal(net.theta, theta)
    net.forward(X)
    assert np.isfinite(net.backward(y))


def test_a_batch_size_above_the_number_of_samples_is_one_batch(ready):
    _, X, y = ready
    huge, whole = (Network((4, 3), loss="mse", seed=1) for _ in range(2))
    targets = np.eye(3)[y]
    huge.fit(X, targets, epochs=2, batch_size=2**70)
    whole.fit(X, targets, epochs=2, batch_size=N)
    np.testing.assert_array_equal(huge.theta, whole.theta)


# ---- constructors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "options", "error", "message"),
    [
        ((4,), {}, ValueError, "widths must have at least 2 entries"),
        ((4, 0), {}, ValueError, r"widths\[1\] must be at least 1; got 0"),
        ((4, 2.0), {}, TypeError, r"widths\[1\] must be a whole number; got 2.0"),
        ((2**31, 2**31), {}, ValueError, "widths ask for .* parameters, more than an address spa"),
        ((2**62, 2**62), {}, ValueError, "more than an address space holds; use fewer units"),
        ((2, 3, 2), {"activation": "softmax"}, ValueError, "softmax is for the output layer only"),
        ((2, 3, 2), {"activation": "swish"}, ValueError, "unknown activation 'swish'; known: iden"),
        ((2, 3, 2), {"activation": ["relu"] * 2}, ValueError, "lists 2 names; .* 1 hidden layer"),
        ((2, 2), {"output": "leaky_relu(-1)"}, ValueError, "alpha of leaky_relu must not be neg"),
        ((2, 2), {"output": "elu(0)"}, ValueError, "alpha of elu must be greater than 0"),
        ((2, 2), {"output": "relu(0.1)"}, ValueError, "relu takes no parameter; got 0.1"),
        ((2, 2), {"loss": "magic"}, ValueError, "unknown loss 'magic'; known: squared_error, mse"),
        ((2, 2), {"init": "xavier"}, ValueError, "unknown init 'xavier'; known: auto, he"),
        ((2, 2), {"dtype": "float16"}, TypeError, "dtype must be 'float32' or 'float64'; got 'flo"),
        ((2, 2), {"l1": -1}, ValueError, "l1 must not be negative; got -1"),
        ((2, 2), {"l2": np.nan}, ValueError, "l2 must be finite; got nan"),
        ((2, 2), {"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_bad_arguments_of_the_constructor_are_refused(widths, options, error, message):
    with pytest.raises(error, match=message):
        Network(widths, **options)


@pytest.mark.parametrize("network", [fastbp.Network, fastbp.reference.Network])
def test_softmax_without_a_loss_warns_and_names_the_loss(network, recwarn):
    message = "loss='cross_entropy' for classes, or loss='squared_error' to keep this one"
    with pytest.warns(UserWarning, match=message) as caught:
        net = network((2, 3), output="softmax", seed=0)
    assert caught[0].filename == __file__
    assert net.criterion == Loss("squared_error")
    with pytest.warns(UserWarning, match=message):
        network.from_layers(2, [fastbp.Dense(3, "softmax")])
    for loss in ("squared_error", "mse", "cross_entropy"):  # what the caller names stands
        network((2, 3), output="softmax", loss=loss)
    for output in ("sigmoid", "identity", "tanh"):
        assert network((2, 3), output=output).criterion == Loss("squared_error")
    copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    assert not recwarn.list


def test_unpaired_logarithm_warns_and_names_the_pair():
    with pytest.warns(UserWarning, match="use output='softmax'") as caught:
        Network((2, 3), loss="cross_entropy")
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="use output='softmax'") as caught:
        Network.from_layers(2, [fastbp.Dense(3)], loss="cross_entropy")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("network", [fastbp.Network, fastbp.reference.Network])
def test_softmax_of_one_output_warns_that_it_is_constant(network, recwarn):
    with pytest.warns(UserWarning, match="is always 1.*output='sigmoid' with loss=") as caught:
        net = network((4, 8, 1), output="softmax", loss="cross_entropy", seed=0)
    assert caught[0].filename == __file__ and len(caught) == 1
    assert (net.predict(np.ones((3, 4))) == 1).all()
    with pytest.warns(UserWarning, match="is always 1"):
        network.from_layers(4, [fastbp.Dense(1, "softmax")], loss="mse")
    network((4, 8, 1), output="sigmoid", loss="binary_cross_entropy")
    assert not recwarn.list


# ---- layouts that are accepted ------------------------------------------------------------


def misaligned(array):
    room = np.empty(array.nbytes + 1, np.uint8)
    shifted = room[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    assert not shifted.flags.aligned
    return shifted


def read_only(array):
    locked = array.copy()
    locked.flags.writeable = False
    return locked


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "every other column": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "every other row": lambda array: np.repeat(array, 2, axis=0)[::2],
    "rows backwards": lambda array: array[::-1].copy()[::-1],
    "columns backwards": lambda array: array[..., ::-1].copy()[..., ::-1],
    "padded rows": lambda array: np.concatenate([array, array], axis=-1)[..., : array.shape[-1]],
    "read-only": read_only,
    "misaligned": misaligned,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "a list": lambda array: array.tolist(),
    "long double": lambda array: array.astype(np.longdouble if array.dtype.kind == "f" else "i8"),
    "small numbers": lambda array: array.astype("f2" if array.dtype.kind == "f" else "i1"),
    "a memory map": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
}


def results(net, X, y, s, delta, theta):
    """All results of a copy of the network for these arrays."""
    twin = Network.__new__(Network)
    twin.__setstate__(net.__getstate__())
    found = [twin.predict(X), twin.forward(X), twin.backward(y, s), twin.grad.copy()]
    found += [twin.input_gradient(), twin.loss(X, y, s), *twin.value_and_grad(X, y)]
    found += twin.value_and_grad(X, y, theta)
    twin.forward(X)
    twin.backward_from(delta, sample_weight=s)
    found += [twin.grad.copy(), twin.input_gradient()]
    options = {"epochs": 2, "batch_size": 5, "optimizer": SGD(0.1), "sample_weight": s}
    found.append(twin.fit(X, y, validation_data=(X, y, s), **options).val_loss)
    return [*found, twin.theta.copy()]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("labels", [False, True])
def test_any_layout_gives_the_same_bits(rng, layout, dtype, labels):
    """The numbers are multiples of 1/4, which are exact in every dtype."""
    net = Network((4, 5, 3), output="softmax", loss="cross_entropy", dtype=dtype, seed=2)
    X = (rng.integers(-8, 9, (N, 4)) / 4).astype(dtype)
    y = rng.integers(3, size=N).astype(np.int32)
    s = (rng.integers(1, 9, N) / 4).astype(dtype)
    delta = (rng.integers(-8, 9, (N, 3)) / 4).astype(dtype)
    theta = (rng.integers(-8, 9, net.theta.size) / 4).astype(dtype)
    y = y if labels else np.eye(3, dtype=dtype)[y]
    expected = results(net, X, y, s, delta, theta)
    laid_out = [LAYOUTS[layout](array) for array in (X, y, s, delta, theta)]
    for i, (got, wanted) in enumerate(zip(results(net, *laid_out), expected, strict=True)):
        np.testing.assert_array_equal(got, wanted, f"result {i}")


def test_broadcast_rows_are_accepted(rng):
    net = Network((4, 5, 3), seed=2)
    row, target = rng.normal(size=(1, 4)), rng.normal(size=(1, 3))
    many, targets = np.broadcast_to(row, (40, 4)), np.broadcast_to(target, (40, 3))
    expected = net.value_and_grad(many.copy(), targets.copy())
    J, grad = net.value_and_grad(many, targets)
    assert J == expected[0]
    np.testing.assert_array_equal(grad, expected[1])


def test_lists_integers_and_booleans_are_accepted():
    net = fastbp.Network((2, 2), output="sigmoid", loss="binary_cross_entropy", seed=0)
    X, y = [[0, 1], [1, 1]], [[True, False], [False, True]]
    expected = net.value_and_grad(np.array(X, float), np.array(y, float))
    J, grad = net.value_and_grad(X, y)
    assert J == expected[0]
    np.testing.assert_array_equal(grad, expected[1])
    np.testing.assert_array_equal(net.predict(np.array(X, bool)), net.predict(X))


# ---- attributes that cannot be set --------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["widths", "dtype", "activations", "criterion", "l1", "l2", "seed"]
)
def test_attributes_of_a_network_are_read_only(name):
    net = fastbp.Network((3, 4, 2), seed=0)
    before = getattr(net, name)
    with pytest.raises(AttributeError, match=name):
        setattr(net, name, before)


def test_attributes_of_a_layer_are_read_only():
    layer = fastbp.Network((3, 4, 2), seed=0).layers[0]
    ways = {
        "dW": r"write into the view, layer.dW\[...\] = …",
        "db": r"write into the view, layer.db\[...\] = …",
        "dscale": r"write into the view, layer.dscale\[...\] = …",
        "dconstants": r"layer.dconstants\['alpha'\]\[...\] = …",
        "embedding": r"write into the view, layer.embedding\['phases'\]\[...\] = …",
        "dembedding": r"layer.dembedding\['phases'\]\[...\] = …",
        "tables": r"write into a view, layer.tables\[0\]\[...\] = …",
        "dtables": r"write into a view, layer.dtables\[0\]\[...\] = …",
        "z": "forward makes it",
        "a": "forward makes it",
        "activation": "make a network with other layers",
        "dense": "make a network with other layers",
    }
    for name, way in ways.items():
        with pytest.raises(AttributeError, match=f"^{name} of a layer cannot be set: .*{way}"):
            setattr(layer, name, None)
    members = {name: getattr(type(layer), name, None) for name in dir(type(layer))}
    fixed = {name for name, of in members.items() if isinstance(of, property) and of.fset is None}
    assert fixed == {*ways, "dgain", "dshift", "delta"}
    with pytest.raises(AttributeError, match="backward_from"):
        layer.delta = np.zeros((1, 4))
    for name in ("w", "bias", "forget"):
        with pytest.raises(
            AttributeError, match=f"no {name} to set; W, b, gain, shift, .*constants and"
        ):
            setattr(layer, name, np.zeros(3))


def test_a_penalty_too_large_for_a_float_is_an_error():
    with pytest.raises(ValueError, match="l2 must be finite"):
        fastbp.Network((3, 2), l2=10**400)


def test_python_threads_may_share_a_network(rng):
    """Calls wait for each other; otherwise the engine would read rows that have been freed."""
    net, optimizer = fastbp.Network((6, 40, 3), seed=0), fastbp.optim.SGD(1e-3)
    sizes = rng.integers(1, 300, 60).tolist()

    def work(rows):
        X, y = np.ones((rows, 6), np.float32), np.zeros((rows, 3), np.float32)
        net.value_and_grad(X, y)
        net.train_batch(X, y, optimizer)
        return net.forward(X).shape == (rows, 3)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, sizes))
    assert np.isfinite(net.theta).all()
    assert optimizer.t == len(sizes)


@pytest.mark.parametrize("letter", [c for c in "ilq" if np.dtype(c).itemsize == 4])
def test_int32_may_have_any_letter(rng, letter):
    """int32 of NumPy is `int` on most systems and `long` on Windows, where `intc` is `int`."""
    X, y = rng.normal(size=(30, 4)), rng.integers(3, size=30)
    sparse = pytest.importorskip("scipy.sparse").csr_array(X * (X > 0))
    first, second = (
        fastbp.Network((4, 5, 3), output="softmax", loss="cross_entropy", seed=0) for _ in range(2)
    )
    for net, labels in ((first, y), (second, y.astype(letter))):
        net.fit(X, labels, epochs=2, batch_size=10)
        net.fit(sparse, labels, epochs=2, batch_size=10)
    assert first.theta.tobytes() == second.theta.tobytes()
