"""norm="batch": statistics of the batch in training, running ones elsewhere.

`textbook` computes a step with the formulas of torch.nn.BatchNorm1d, by sums over rows and units;
the reference is checked against it and against differences, the engine against the reference.
"""

import copy
import json
import pickle

import numpy as np
import pytest
from engine_cases import DTYPES
from layer_cases import NORMED, case, check, training
from thread_cases import assert_same_bits_on_any_number_of_threads

import fastbp
from fastbp import Dense, Norm, reference
from fastbp.callbacks import EarlyStopping, ModelCheckpoint, TerminateOnNaN
from fastbp.errors import DivergenceError, ModelFileError
from fastbp.optim import SGD, Adam, AdamW, Muon, ScheduleFree

KINDS = pytest.mark.parametrize(
    "kind", [fastbp.Network, reference.Network], ids=["engine", "reference"]
)
NAMES = pytest.mark.parametrize("name", NORMED)
ONE_ROW = "batch norm needs at least 2 rows in training"


def net_of(kind=fastbp.Network, *, dtype="float64", eps=1e-5, momentum=0.1, **options):
    """5-4-1 with batch norm and tanh, and a squared error."""
    norm = Norm("batch", eps, momentum)
    layers = [Dense(4, "tanh", norm=norm, **options), Dense(1)]
    return kind.from_layers(5, layers, dtype=dtype, seed=2)


def samples(n=12, dtype="float64"):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, 5)) * [1, 2, 0.1, 5, 1] + [0, 3, -1, 10, 0]
    return X.astype(dtype), rng.normal(size=(n, 1)).astype(dtype)


def textbook(net, X, y, s, lr, momentum, eps):
    """One SGD step of `net_of` with loops: new values of all parameters and statistics."""
    first, last = net.layers
    W, b, gain, shift = (first.parameters()[name] for name in ("W", "b", "gain", "shift"))
    V, c = last.W, last.b
    N, S = len(X), s.sum()
    z = X @ W + b
    mean, var = np.zeros(4), np.zeros(4)
    for j in range(4):
        mean[j] = sum(z[i, j] for i in range(N)) / N
        var[j] = sum((z[i, j] - mean[j]) ** 2 for i in range(N)) / N
    root = np.sqrt(var + eps)
    x = (z - mean) / root
    a = np.tanh(x * gain + shift)
    error = a @ V + c - y  # of ½ Σ (a − y)²
    J = (s[:, None] * error**2 / 2).sum() / S
    delta = s[:, None] * error / S
    dn = delta @ V.T * (1 - a**2)
    dx = dn * gain
    # Ioffe & Szegedy 2015, the equations before algorithm 2
    dvar = (dx * (z - mean) * -0.5 * (var + eps) ** -1.5).sum(axis=0)
    dmean = (-dx / root).sum(axis=0) + dvar * (-2 * (z - mean)).mean(axis=0)
    dz = dx / root + dvar * 2 * (z - mean) / N + dmean / N
    new = {
        "W": W - lr * X.T @ dz,
        "b": b,  # whose gradient is 0
        "gain": gain - lr * (dn * x).sum(axis=0),
        "shift": shift - lr * dn.sum(axis=0),
        "running_mean": (1 - momentum) * first.running_mean + momentum * mean,
        "running_var": (1 - momentum) * first.running_var + momentum * var * N / (N - 1),
    }
    return J, new, {"W": V - lr * a.T @ delta, "b": c - lr * delta.sum(axis=0)}


# ---- values -----------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_steps_are_those_of_the_textbook(kind, momentum):
    """float64, 20 steps: the errors of sums of 12 terms."""
    net, (X, y) = net_of(kind, eps=1e-3, momentum=momentum), samples()
    s = np.arange(12) % 3 + 0.5
    for step in range(20):
        J, *new = textbook(net, X, y, s, 0.1, momentum, 1e-3)
        if step % 2:
            assert net.train_batch(X, y, SGD(0.1), sample_weight=s) == pytest.approx(J, rel=1e-12)
        else:
            net.forward(X, training=True)
            assert net.backward(y, s) == pytest.approx(J, rel=1e-12)
            net.step(SGD(0.1))
        for layer, blocks in zip(net.layers, new, strict=True):
            for name, value in blocks.items():
                own = layer.parameters()[name]
                np.testing.assert_allclose(own, value, rtol=1e-11, atol=1e-12, err_msg=name)


@KINDS
def test_evaluation_is_an_affine_map(kind):
    net, (X, y) = net_of(kind), samples()
    net.fit(X, y, epochs=3, batch_size=4)
    layer, last = net.layers
    z = X @ layer.W + layer.b
    n = (z - layer.running_mean) / np.sqrt(layer.running_var + 1e-5) * layer.gain + layer.shift
    out = np.tanh(n) @ last.W + last.b
    before = net.theta.copy()
    for found, expected in (
        (net.predict(X), out),
        (net.forward(X), out),
        (net.predict(X[:1]), out[:1]),
        (net.forward(X[3:4]), out[3:4]),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert net.loss(X, y) == pytest.approx(float(((out - y) ** 2).mean() / 2), rel=1e-12)
    net.value_and_grad(X, y)
    np.testing.assert_array_equal(net.theta, before)  # nothing has moved


def train_pass(net, X, y, s=None):
    """All results of a forward for training and what follows it."""
    found = {"out": net.forward(X, training=True), "J": np.array([net.backward(y, s)])}
    found |= {"grad": net.grad.copy(), "input": net.input_gradient()}
    found["pulled"] = net.pull_back(1, np.cos(np.arange(net.layers[0].z.size)).reshape(len(X), -1))
    for i, layer in enumerate(net.layers):
        found |= {f"{name} {i}": getattr(layer, name).copy() for name in ("z", "a", "delta")}
        if layer.running_var is not None:
            found |= {f"mean {i}": layer.running_mean.copy(), f"var {i}": layer.running_var.copy()}
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [9, 23, 150])
@NAMES
def test_training_passes_equal_those_of_the_reference(name, n, dtype):
    check(train_pass, NORMED[name], dtype, n=n, l2=0.01, loss="squared_error")


@pytest.mark.parametrize("dtype", DTYPES)
@NAMES
def test_weighted_training_passes(name, dtype):
    s = np.arange(23) % 3 + 0.5
    check(lambda *given: train_pass(*given, s), NORMED[name], dtype, loss="squared_error")


@NAMES
def test_delta_from_outside(name):
    """δ^L = ∂J_i/∂z^L of the loss gives its gradient, with weights and without."""
    for s in (None, np.arange(23) % 3 + 0.5):
        net, X, y = case(NORMED[name], loss="squared_error")
        net.forward(X, training=True)
        net.backward(y, s)
        grad = net.grad.copy()
        net.backward_from(net.layers[-1].a - y, sample_weight=s)
        np.testing.assert_allclose(net.grad, grad, rtol=1e-12, atol=1e-15)


RULES = {
    "sgd": lambda: SGD(0.01, momentum=0.9),
    "adam": lambda: Adam(0.01, eps=1e-2),
    "decay": lambda: AdamW(0.01, eps=1e-2, weight_decay=0.1),
    "value": lambda: SGD(0.05, clip_value=0.01),
    "norm": lambda: SGD(0.1, clip_norm=0.05),
    "global norm": lambda: SGD(0.1, clip_global_norm=0.1),
    "average": lambda: SGD(0.01, ema=0.5),
    "factors": lambda: AdamW(0.01, eps=1e-2, lr_factors={"bias": 0.1, "norm": 2.0}),
    "muon": lambda: Muon(0.01, eps=1e-2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@NAMES
def test_trajectories_equal_those_of_the_reference(name, rule, dtype):
    run = training(RULES[rule], epochs=2, batch_size=9)
    check(run, NORMED[name], dtype, loss="squared_error", l1=0.001)


@pytest.mark.parametrize("options", [{"batch_size": 5, "accumulate": 2}, {"batch_size": 11}])
@NAMES
def test_parts_of_a_batch_have_their_own_statistics(name, options):
    """23 rows: parts of 5, 5 and 1 row of a batch of 11 or 10; the single rows are left out."""
    check(training(lambda: SGD(0.05), epochs=2, **options), NORMED[name], "float64")


@KINDS
def test_statistics_move_once_for_each_part(kind):
    net, (X, y) = net_of(kind, momentum=0.25), samples(12)
    one = net.copy()
    net.fit(X, y, epochs=1, batch_size=4, accumulate=3, shuffle=False)
    for rows in (X[:4], X[4:8], X[8:]):
        one.forward(rows, training=True)
    for name in ("running_mean", "running_var"):
        own, other = (getattr(each.layers[0], name) for each in (net, one))
        np.testing.assert_allclose(own, other, rtol=1e-13)


@KINDS
@NAMES
def test_the_gradient_is_the_derivative(name, kind):
    """By differences of J along random directions, with the masks and statistics of training."""
    net, X, y = case(NORMED[name], kind=kind, n=15, loss="squared_error")
    theta, rng = net.theta.copy(), np.random.default_rng(1)
    _, grad = net.value_and_grad(X, y, theta, training=True)
    for blocks in net.blocks(grad):
        for statistic in ("running_mean", "running_var"):
            assert not blocks.get(statistic, np.zeros(1)).any()
    for _ in range(3):
        v = rng.normal(size=theta.size)

        def J(t, v=v):
            net.dropout_step = 1
            return net.value_and_grad(X, y, theta + t * v, training=True)[0]

        net.dropout_step = 1
        _, grad = net.value_and_grad(X, y, theta, training=True)
        h = 1e-5
        slope = (8 * (J(h) - J(-h)) - (J(2 * h) - J(-2 * h))) / (12 * h)
        assert v @ grad == pytest.approx(slope, rel=1e-6)
    np.testing.assert_array_equal(net.theta, theta)  # theta= moves no statistics


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_of_a_long_batch_far_from_zero(dtype):
    """100,000 rows of mean 1000 and standard deviation 1: sums in parts lose few digits."""
    rng = np.random.default_rng(0)
    X = (1000 + rng.normal(size=(100_000, 1))).astype(dtype)
    net = fastbp.Network.from_layers(
        1, [Dense(1, norm=Norm("batch", momentum=1), bias=False), Dense(1)], dtype=dtype, seed=0
    )
    net.layers[0].W = [[1.0]]
    net.forward(X, training=True)
    exact = X.astype(np.float64)
    eps = np.finfo(dtype).eps
    rows = 64 + len(X) / 64  # of a part, and parts
    np.testing.assert_allclose(net.layers[0].running_mean, exact.mean(), rtol=rows * eps / 10)
    np.testing.assert_allclose(net.layers[0].running_var, exact.var(ddof=1), rtol=rows * eps)


@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.products
def test_rounded_products(precision):
    """The factors are rounded, the norm is not: against the reference."""
    found = []
    for kind in (fastbp.Network, reference.Network):
        net, X, y = case(
            NORMED["all"], kind=kind, dtype="float32", n=64, matmul_precision=precision
        )
        found.append(train_pass(net, X, y))
    for name, value in found[1].items():
        # roundings at a half of a unit in the last place may differ by the order of sums
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[0][name], value, atol=0.02 * scale, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_rows(dtype):
    sparse = pytest.importorskip("scipy.sparse")
    found = []
    for kind in (np.asarray, sparse.csr_array):
        net, X, y = case(NORMED["batch"], dtype=dtype)
        X = kind(np.where(X > 0.5, X, 0))
        net.fit(X, y, epochs=2, batch_size=9)
        found.append(np.concatenate([net.theta, net.predict(X).ravel()]))
    np.testing.assert_allclose(*found, rtol=0, atol=300 * np.finfo(dtype).eps)


# ---- bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_on_any_number_of_threads(dtype):
    hidden = [
        Dense(300, "relu", norm="batch"),
        Dense(257, "tanh", norm="batch", dropout=0.1),
        Dense(257, "gelu", norm="batch", residual=True),
    ]

    def compute():
        net, X, y = case(hidden, dtype=dtype, n=700)
        s = np.arange(700) % 4 * 0.5
        found = list(train_pass(net, X, y, s).values())
        net.fit(X, y, epochs=2, batch_size=300, sample_weight=s)
        net.fit(X, y, epochs=1, batch_size=300, accumulate=2, optimizer=Adam(clip_norm=0.1))
        return [*found, net.theta.copy(), net.predict(X)]

    assert_same_bits_on_any_number_of_threads(compute)


@NAMES
def test_a_loop_by_hand_and_a_hook_have_the_bits_of_train_batch(name):
    nets, owns = [case(NORMED[name])[0] for _ in range(3)], [SGD(0.1) for _ in range(3)]
    _, X, y = case(NORMED[name])
    for _ in range(4):
        nets[0].train_batch(X, y, owns[0])
        nets[1].forward(X, training=True)
        nets[1].backward(y)
        nets[1].step(owns[1])
        nets[2].train_batch(X, y, owns[2], hook=lambda l, delta: None)
    for net in nets[1:]:
        assert net.theta.tobytes() == nets[0].theta.tobytes()


def test_pull_back_in_a_hook_leaves_the_gradient_alone():
    def pull(l, delta):
        net.pull_back(l, np.ones_like(delta))

    grads = []
    for hook in (None, pull):
        net, X, y = case(NORMED["batch"])
        net.forward(X, training=True)
        net.backward(y, hook=hook)
        grads.append(net.grad.copy())
    assert grads[0].tobytes() == grads[1].tobytes()


def test_a_fit_with_a_hook_leaves_out_a_last_row():
    thetas = []
    for hook in (None, lambda l, delta: None):
        net, X, y = case(NORMED["batch"], n=19)
        net.on_delta(hook)
        net.fit(X, y, epochs=2, batch_size=6, optimizer=SGD(0.1))
        thetas.append(net.theta.copy())
    assert thetas[0].tobytes() == thetas[1].tobytes()


def test_members_of_a_population_have_the_bits_they_have_alone():
    nets = [case(NORMED[name], n=40)[0] for name in ("all", "batch", "all")]
    _, X, y = case(NORMED["all"], n=40)
    together = [net.copy() for net in nets]
    fastbp.Population(together).fit(X, y, epochs=3, batch_size=13, optimizer="adam")
    for alone, member in zip(nets, together, strict=True):
        alone.fit(X, y, epochs=3, batch_size=13, optimizer="adam")
        assert alone.theta.tobytes() == member.theta.tobytes()


def test_a_stream_has_the_bits_of_its_blocks():
    thetas = []
    for streamed in (True, False):
        net, X, y = case(NORMED["batch"], n=40)
        source = (fastbp.stream(X, y, block_rows=40),) if streamed else (X, y)
        net.fit(*source, epochs=2, batch_size=9, shuffle=False)
        thetas.append(net.theta.copy())
    assert thetas[0].tobytes() == thetas[1].tobytes()


# ---- state --------------------------------------------------------------------------------------


def test_views_are_of_theta():
    net = net_of()
    layer = net.layers[0]
    assert layer.running_mean.tolist() == [0] * 4
    assert layer.running_var.tolist() == [1] * 4
    layer.running_mean, layer.running_var = [1, 2, 3, 4], [5, 6, 7, 8]
    assert net.theta[32:40].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(layer.parameters()) == ["W", "b", "gain", "shift", "running_mean", "running_var"]
    assert net.layers[1].running_mean is None
    with pytest.raises(ValueError, match="running_var must not be negative"):
        layer.running_var = [1, 1, -1, 1]
    for other in (None, "wide", ["1", "2", "3", "4"]):
        with pytest.raises(TypeError, match="running_var must hold real numbers"):
            layer.running_var = other
    with pytest.raises(AttributeError, match="this layer has no running_mean"):
        net.layers[1].running_mean = [0]


def test_copies_and_files_have_the_statistics(tmp_path):
    net, (X, y) = net_of(momentum=0.3), samples()
    net.fit(X, y, epochs=2, batch_size=5)
    net.save(tmp_path / "net")
    metadata = fastbp.io.read_safetensors(tmp_path / "net")[1]
    assert metadata["version"] == "6"
    assert json.loads(metadata["architecture"])["layers"][0]["norm"] == "batch(1e-05, momentum=0.3)"
    for other in (
        fastbp.load(tmp_path / "net"),
        net.copy(),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
    ):
        assert other.theta.tobytes() == net.theta.tobytes()
        assert other.dense == net.dense
        assert other.predict(X).tobytes() == net.predict(X).tobytes()


def test_a_file_keeps_the_names_of_inputs(tmp_path):
    net = net_of()
    net.feature_names = list("abcde")
    net.save(tmp_path / "net")
    assert fastbp.load(tmp_path / "net").feature_names == tuple("abcde")


def test_a_file_with_a_negative_variance_is_refused(tmp_path):
    net_of().save(tmp_path / "net")
    tensors, metadata = fastbp.io.read_safetensors(tmp_path / "net")
    name = next(name for name in tensors if name.endswith("running_var"))
    forged = {**tensors, name: tensors[name] - 2}
    fastbp.io.write_safetensors(tmp_path / "forged", forged, metadata)
    with pytest.raises(ModelFileError, match=f"{name} is a variance, and has -1"):
        fastbp.load(tmp_path / "forged")


def test_a_population_file(tmp_path):
    nets = [case(NORMED["batch"])[0], fastbp.Network((17, 3), seed=0)]
    fastbp.Population(nets).save(tmp_path / "nets")
    for own, other in zip(nets, fastbp.load(tmp_path / "nets"), strict=True):
        assert own.theta.tobytes() == other.theta.tobytes()


def test_a_resumed_fit_has_the_bits_of_an_uninterrupted_one(tmp_path):
    thetas = []
    for stops in ((6,), (2, 6)):
        for epochs in stops:
            net, X, y = case(NORMED["all"], n=40)
            folder = tmp_path / str(len(stops))
            net.fit(X, y, epochs=epochs, batch_size=9, checkpoint=folder)
        thetas.append(net.theta.copy())
    assert thetas[0].tobytes() == thetas[1].tobytes()


def test_early_stopping_restores_the_statistics_of_the_best_epoch():
    net, X, y = case(NORMED["batch"], n=40)
    states = []

    class Watch:
        def on_epoch_end(self, epoch, logs):
            states.append((logs["val_loss"], net.theta.copy()))

    stop = EarlyStopping("val_loss", patience=2)
    net.fit(
        X,
        np.random.default_rng(0).permutation(y),
        epochs=40,
        batch_size=9,
        optimizer=SGD(0.5),
        validation_data=(X[::-1], y),
        callbacks=[Watch(), stop],
    )
    best = min(states, key=lambda state: state[0])[1]
    assert best.tobytes() != states[-1][1].tobytes()
    assert net.theta.tobytes() == best.tobytes()


@KINDS
def test_averages_have_the_current_statistics(kind):
    net, (X, y) = net_of(kind), samples()
    adam = Adam(0.01, ema=0.9)
    for rows in (slice(0, 6), slice(6, 12)):
        net.train_batch(X[rows], y[rows], adam)
        for blocks, own in zip(net.blocks(adam.average), net.layers, strict=True):
            if own.running_mean is not None:
                assert blocks["running_mean"].tobytes() == own.running_mean.tobytes()
                assert blocks["running_var"].tobytes() == own.running_var.tobytes()
    net.forward(X, training=True)
    net.backward(y)
    net.step(adam)
    assert (
        net.blocks(adam.average)[0]["running_var"].tobytes() == net.layers[0].running_var.tobytes()
    )
    assert net.blocks(adam.average)[0]["W"].tobytes() != net.layers[0].W.tobytes()


@KINDS
def test_moments_of_statistics_stay_0(kind):
    net, (X, y) = net_of(kind), samples()
    adam = AdamW(0.1, weight_decay=0.5)
    net.fit(X, y, epochs=2, batch_size=5, optimizer=adam)
    for moment in adam.moments:
        assert not net.blocks(moment)[0]["running_var"].any()
        assert not net.blocks(moment)[0]["b"].any()  # its gradient is 0, exactly


@KINDS
def test_a_diverging_step_moves_nothing(kind):
    net, (X, y) = net_of(kind), samples()
    y[3] = np.finfo("float64").max
    before = net.theta.copy()
    for call in (lambda: net.train_batch(X, y, SGD(0.1)), lambda: net.fit(X, y, batch_size=12)):
        with pytest.raises(DivergenceError):
            call()
        np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("value", [-1.0, -1e-30])
@KINDS
def test_a_negative_running_variance_is_refused_where_it_is_used(kind, value):
    net, (X, y) = net_of(kind), samples()
    before, bad = net.theta.copy(), net.theta.copy()
    net.blocks(bad)[0]["running_var"][1] = value
    message = f"layers\\[0\\].running_var has {value:g}, and a variance is not negative"
    for call in (
        lambda: setattr(net, "theta", bad),
        lambda: net.value_and_grad(X, y, theta=bad),
    ):
        with pytest.raises(ValueError, match=f"theta: {message}"):
            call()
    np.testing.assert_array_equal(net.theta, before)
    net.layers[0].running_var[1] = value
    adam = Adam()
    for call in (
        lambda: net.predict(X),
        lambda: net.predict(X[:1]),
        lambda: net.forward(X),
        lambda: net.value_and_grad(X, y),
        lambda: net.loss(X, y),
        lambda: net.jacobian(X),
        lambda: net.hvp(X, y, net.theta),
    ):
        with pytest.raises(ValueError, match="running_var has .*, and a variance is not negative"):
            call()
    for call in (
        lambda: net.fit(X, y, optimizer=adam),
        lambda: net.fit(fastbp.stream(X, y), epochs=1, optimizer=adam),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(net.theta, bad)
    assert adam.t == 0
    net.layers[0].running_var[1] = 0.0
    assert np.isfinite(net.predict(X)).all()


@KINDS
def test_a_running_variance_that_overflows_is_divergence(kind):
    """Two updates of a variance of (1e20)² are beyond float32; PyTorch keeps an infinity."""
    net, (X, y) = net_of(kind, dtype="float32"), samples(dtype="float32")
    X[0, 0] = 1e20
    with pytest.raises(
        DivergenceError, match=r"\[0\].running_var has inf after epoch 1.*_var\[:\] ="
    ):
        net.fit(X, y, epochs=2)


@pytest.mark.parametrize("epochs", [1, 5])
@KINDS
def test_a_divergence_reaches_a_fit_that_saves(kind, epochs, tmp_path):
    X, y = samples(dtype="float32")
    X[0, 0] = 1e20
    nets = [net_of(kind, dtype="float32") for _ in range(2)]
    keep = ModelCheckpoint(tmp_path / "net{epoch}")
    with pytest.raises(DivergenceError, match="running_var has inf after epoch 0"):
        nets[0].fit(X, y, epochs=epochs, callbacks=[keep])
    history = nets[1].fit(X, y, epochs=epochs, callbacks=[keep, TerminateOnNaN()])
    assert history.stopped_by == "divergence" and len(history.loss) == 1
    assert keep.last_path is None and not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
@KINDS
def test_no_training_begins_with_statistics_that_are_not_finite(kind, value, name):
    net, (X, y) = net_of(kind), samples()
    statistics = getattr(net.layers[0], name)
    statistics[1] = value
    before, adam = net.theta.copy(), Adam()
    calls = {
        "fit": lambda: net.fit(X, y, epochs=1, optimizer=adam),
        "stream": lambda: net.fit(fastbp.stream(X, y), epochs=1, optimizer=adam),
        "partial_fit": lambda: net.partial_fit(X, y, optimizer=adam),
        "train_batch": lambda: net.train_batch(X, y, adam),
        "hook": lambda: net.train_batch(X, y, adam, hook=lambda l, delta: None),
    }
    if kind is fastbp.Network:
        calls["population"] = lambda: fastbp.Population([net]).fit(X, y, epochs=1, optimizer=adam)
    message = rf"layers\[0\].{name} has {value:g}, .*running_var\[:\] = 1 .* or make a new network"
    for call in calls.values():
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(net.theta, before)
    assert adam.t == 0
    statistics[:] = 1
    for call in calls.values():
        call()


@KINDS
def test_a_frozen_layer_uses_and_keeps_its_running_statistics(kind):
    net, (X, y) = net_of(kind), samples()
    net.fit(X, y, epochs=2, batch_size=5)
    net.layers[0].trainable = False
    before = net.theta.copy()
    evaluated = net.predict(X)
    np.testing.assert_allclose(net.forward(X, training=True), evaluated, rtol=1e-13)
    net.fit(X, y, epochs=1, batch_size=1, optimizer=SGD(0.1))
    net.train_batch(X[:1], y[:1], SGD(0.1))
    first = net.layers[1].W.size + 1
    np.testing.assert_array_equal(net.theta[:-first], before[:-first])
    assert (net.theta[-first:] != before[-first:]).all()


def thaws(net, method):
    """A callback that lets a layer with batch norm be trained from then on."""

    def thaw(*of_callback):
        net.layers[0].trainable = True

    return type("Thaw", (), {method: staticmethod(thaw)})()


@pytest.mark.parametrize("method", ["on_fit_begin", "on_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("streams", [False, True])
@KINDS
def test_a_layer_that_a_callback_thaws_is_checked_again(kind, streams, method):
    net, (X, y) = net_of(kind), samples()
    data = (fastbp.stream(X, y),) if streams else (X, y)
    for options, epoch, optimizer, error, message in (
        ({"batch_size": 1}, 12, SGD(0.1), ValueError, ONE_ROW),
        ({"batch_size": 1, "accumulate": 4}, 3, SGD(0.1), ValueError, ONE_ROW),
        ({"batch_size": 4}, 3, ScheduleFree(0.1), TypeError, "running statistics would be unknown"),
    ):
        net.layers[0].trainable = False
        statistics = net.layers[0].running_var.copy()
        with pytest.raises(error, match=message):
            net.fit(*data, optimizer=optimizer, callbacks=[thaws(net, method)], **options)
        np.testing.assert_array_equal(net.layers[0].running_var, statistics)
        assert optimizer.t == {"on_fit_begin": 0, "on_batch_end": 1, "on_epoch_end": epoch}[method]


def test_freezing_after_the_forward_changes_nothing_in_its_backward():
    grads = []
    for freeze in (False, True):
        net, X, y = case(NORMED["batch"])
        net.forward(X, training=True)
        net.layers[0].trainable = not freeze
        net.backward(y)
        grads.append(net.grad.copy())
    assert grads[0].tobytes() == grads[1].tobytes()


# ---- what is refused, and what warns ------------------------------------------------------


@KINDS
def test_a_single_row_is_refused(kind):
    net, (X, y) = net_of(kind), samples()
    before = net.theta.copy()
    for call in (
        lambda: net.forward(X[:1], training=True),
        lambda: net.value_and_grad(X[:1], y[:1], training=True),
        lambda: net.train_batch(X[:1], y[:1], SGD(0.1)),
        lambda: net.train_batch(X[:1], y[:1], SGD(0.1), hook=lambda l, d: None),
        lambda: net.fit(X[:1], y[:1]),
        lambda: net.fit(X, y, batch_size=1),
        lambda: net.fit(X, y, batch_size=1, accumulate=4),
        lambda: net.partial_fit(X[:1], y[:1]),
        lambda: fastbp.lr_finder(net, X, y, batch_size=1),
        lambda: fastbp.lr_finder(net, X[:1], y[:1]),
    ):
        with pytest.raises(ValueError, match=ONE_ROW):
            call()
    np.testing.assert_array_equal(net.theta, before)
    assert net.predict(X[:1]).shape == (1, 1)


@KINDS
def test_parts_and_lbfgs_are_refused(kind):
    net, (X, y) = net_of(kind), samples()
    with pytest.raises(ValueError, match="with batch norm it depends on the whole batch"):
        net.fit(X, y, parts=4)
    with pytest.raises(ValueError, match="LBFGS cannot use batch norm"):
        net.fit(X, y, optimizer="lbfgs")


def test_a_step_after_evaluation_warns_once():
    net, (X, y) = net_of(), samples()
    net.value_and_grad(X, y)
    with pytest.warns(UserWarning, match="this network has batch norm, and a step by hand used"):
        net.step(SGD(0.1))
    net.value_and_grad(X, y)
    net.step(SGD(0.1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Norm("batch", momentum=0), ValueError, "momentum of batch norm must be greater"),
        (lambda: Norm("batch", momentum=1.5), ValueError, "must be at most 1; got 1.5"),
        (lambda: Norm("batch", momentum="a"), TypeError, "momentum of batch norm must be a number"),
        (lambda: Norm("rms", momentum=0.1), ValueError, "momentum is of norm 'batch'"),
        (lambda: Norm("batch", 0), ValueError, "eps of batch must be greater than 0"),
        (lambda: Dense(2, norm="batch(1, momentum=x)"), ValueError, "norm 'batch"),
    ],
)
def test_bad_norms_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_texts_of_norms():
    for norm in (
        Norm("batch"),
        Norm("batch", 1e-3),
        Norm("batch", 1e-8, 0.01),
        Norm("batch", 2, 1),
    ):
        assert Dense(2, norm=str(norm)).norm == norm
    assert Dense(3, norm="batch").norm == Norm("batch", 1e-5, 0.1)
