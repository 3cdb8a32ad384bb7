"""Whole networks at "high" and "medium": every option, loss, activation and rule.

Passes and trainings are compared with the references of all precisions (`check_nearest`). Their
batches have more than 12 rows, so that all of their products are made in the same way.
"""

import copy

import numpy as np
import pytest
from engine_cases import HIDDEN, OUTPUTS
from fit_cases import StopAt
from loss_cases import SPECS, WIDTH, outputs_of, prepare, targets_of
from product_cases import ROUNDED, check_nearest
from test_optim_rules import RULES

import fastbp
from fastbp import Dense, Norm
from fastbp.losses import resolve
from fastbp.optim import SGD, Adam

pytestmark = pytest.mark.products
PRECISIONS = pytest.mark.parametrize("precision", ROUNDED)

OPTIONS = {
    "plain": [Dense(40, "tanh"), Dense(33, "gelu"), Dense(4)],
    "norms": [Dense(40, "tanh", norm="layer"), Dense(33, "silu", norm=Norm("rms")), Dense(4)],
    "residual": [Dense(24, "tanh"), Dense(24, "tanh", residual=True), Dense(4)],
    "dropout": [Dense(40, "tanh", dropout=0.3), Dense(33, "tanh", dropout=0.1), Dense(4)],
    "no bias": [Dense(40, "tanh", bias=False), Dense(4, max_norm=1.0)],
    "frozen": [Dense(40, "tanh", trainable=False), Dense(33, "tanh"), Dense(4, non_negative=True)],
}


@pytest.mark.parametrize("accumulate", [1, 2])
@PRECISIONS
@pytest.mark.parametrize("case", OPTIONS)
def test_options_of_layers(case, precision, accumulate):
    """Three steps: each step may round more of the factors another way than the step before."""

    def run(module, dtype, precision):
        net = module.Network.from_layers(
            24, OPTIONS[case], matmul_precision=precision, l2=1e-3, dtype=dtype, seed=2,
            input_dropout=0.1 * (case == "dropout"),
        )  # fmt: skip
        rng = np.random.default_rng(3)
        X, y = (rng.normal(size=(90, n)).astype(np.float32) for n in (24, 4))
        s = rng.choice([0.5, 1, 2], 90)  # powers of 2: `fit` rounds s δ, as the reference rounds δ
        options = {"batch_size": 30, "sample_weight": s, "accumulate": accumulate}
        net.fit(X, y, epochs=1, optimizer=SGD(0.05, 0.9), **options)
        return np.concatenate([net.theta.astype(np.float64), net.predict(X).ravel()])

    check_nearest(run, precision, 30)


@PRECISIONS
@pytest.mark.parametrize("spec", [*SPECS, "margin_ranking", "margin_ranking(0.5)"])
def test_losses(spec, precision):
    pairs, n_out = spec.startswith("margin"), 1 if spec.startswith("margin") else WIDTH
    output = "identity" if pairs else resolve(spec).pair or next(outputs_of(spec))

    def run(module, dtype, precision):
        rng = np.random.default_rng(7)  # no δ above 20, also of gaussian_nll
        options = {"activation": "tanh", "output": output, "loss": spec, "seed": 3}
        net = module.Network((6, 20, n_out), dtype=dtype, matmul_precision=precision, **options)
        if not pairs:
            prepare(rng, net)
            net.theta = net.theta.astype(np.float32)
        X = rng.normal(size=(28, 6)).astype(np.float32)
        y = None if pairs else targets_of(rng, spec, 28, n_out)
        grad = net.value_and_grad(X, y)[1].astype(np.float64)
        net.fit(X, y, epochs=1, batch_size=14, optimizer=SGD(1e-3))
        return np.concatenate([grad, net.theta, net.predict(X).ravel()])

    check_nearest(run, precision, 14)


@PRECISIONS
@pytest.mark.parametrize("name", OUTPUTS)
def test_activations(name, precision):
    def run(module, dtype, precision):
        rng = np.random.default_rng(5)
        net = module.Network(
            (6, 20, 17, 3), activation=name if name in HIDDEN else "tanh", output=name,
            loss="mse", dtype=dtype, matmul_precision=precision, seed=4,
        )  # fmt: skip
        net.theta = (net.theta * 0.5).astype(np.float32)
        X, y = (rng.normal(size=(28, n)).astype(np.float32) for n in (6, 3))
        grad = net.value_and_grad(X, y)[1].astype(np.float64)
        net.fit(X, y, epochs=1, batch_size=14, optimizer=SGD(0.01))
        return np.concatenate([grad, net.theta, net.predict(X).ravel()])

    check_nearest(run, precision, 14)


@PRECISIONS
@pytest.mark.parametrize("rule", RULES)
def test_rules(rule, precision):
    """Averages are compared too, and predictions: some rules take only the signs of a gradient."""

    def run(module, dtype, precision):
        rng = np.random.default_rng(6)
        options = {"dtype": dtype, "matmul_precision": precision, "seed": 5}
        net = module.Network((6, 20, 17, 3), activation="tanh", **options)
        X, y = (rng.normal(size=(28, n)).astype(np.float32) for n in (6, 3))
        averages = not rule.startswith("schedule-free")  # whose theta is an average itself
        optimizer = RULES[rule](**({"ema": 0.5} if averages else {}))
        net.fit(X, y, epochs=1 if rule != "rprop" else 2, batch_size=14, optimizer=optimizer)
        parts = [net.theta, net.predict(X).ravel(), *([optimizer.average] if averages else [])]
        return np.concatenate([part.astype(np.float64) for part in parts])

    check_nearest(run, precision, 14)


def halve(l, delta):
    return 0.5 * delta


@PRECISIONS
def test_a_hook_that_changes_delta(precision):
    def run(module, dtype, precision):
        rng = np.random.default_rng(7)
        options = {"dtype": dtype, "matmul_precision": precision, "seed": 5}
        net = module.Network((6, 20, 17, 3), activation="tanh", **options)
        X, y = (rng.normal(size=(28, n)).astype(np.float32) for n in (6, 3))
        net.forward(X)
        net.backward(y, hook=halve)
        grad = net.grad.astype(np.float64)
        net.on_delta(halve)
        net.fit(X, y, epochs=1, batch_size=14, optimizer=SGD(0.01))
        return np.concatenate([grad, net.theta])

    check_nearest(run, precision, 14)


# ---- the same bits ------------------------------------------------------------------------------


def problem(precision, n, widths=(6, 20, 17, 3)):
    rng = np.random.default_rng(8)
    net = fastbp.Network(widths, activation="tanh", matmul_precision=precision, seed=5)
    X, y = (rng.normal(size=(n, width)).astype(np.float32) for width in (widths[0], widths[-1]))
    return net, X, y


@PRECISIONS
@pytest.mark.parametrize("n", [7, 24])
def test_a_hook_that_only_reads_does_not_change_the_bits(precision, n):
    net, X, y = problem(precision, n)
    net.forward(X)
    net.backward(y)
    grad, seen = net.grad.copy(), []
    net.backward(y, hook=lambda l, delta: seen.append(l))
    assert seen == [3, 2, 1] and net.grad.tobytes() == grad.tobytes()


@PRECISIONS
@pytest.mark.parametrize("batch_size", [8, 16])
def test_a_stream_equals_the_arrays(precision, batch_size):
    """Blocks of whole batches, with rounded W that outlive a block; the last batch has 4 rows."""
    net, X, y = problem(precision, 52)
    streamed = copy.deepcopy(net)
    options = {"epochs": 2, "batch_size": batch_size, "shuffle": False}
    net.fit(X, y, optimizer=Adam(0.01), **options)
    source = fastbp.stream(X, y, block_rows=2 * batch_size)
    streamed.fit(source, optimizer=Adam(0.01), **options)
    assert streamed.theta.tobytes() == net.theta.tobytes()


@PRECISIONS
@pytest.mark.parametrize("steps", [2, 7])
@pytest.mark.parametrize("batch_size", [8, 16])
def test_a_fit_that_stopped_within_an_epoch_is_resumed(precision, steps, batch_size, tmp_path):
    options = {"epochs": 3, "batch_size": batch_size}
    whole, X, y = problem(precision, 52)
    whole.fit(X, y, optimizer=Adam(0.01), **options)
    with pytest.raises(KeyboardInterrupt):
        problem(precision, 52)[0].fit(
            X, y, optimizer=Adam(0.01), callbacks=[StopAt(steps)], checkpoint=tmp_path, **options
        )
    resumed = problem(precision, 52)[0]
    resumed.fit(X, y, optimizer=Adam(0.01), checkpoint=tmp_path, resume=True, **options)
    assert resumed.theta.tobytes() == whole.theta.tobytes()


@pytest.fixture(autouse=True)
def threads_as_before():
    n = fastbp.get_num_threads()
    yield
    fastbp.set_num_threads(n)


@PRECISIONS
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(7, 1), (200, 1), (131, 1), (99, 2)])
def test_bits_do_not_depend_on_the_number_of_threads(precision, batch_size, accumulate, kind):
    """The last batches have 1, 200, 7 and 4 rows."""
    net, X, y = problem(precision, 400, (200, 300, 100))
    if kind == "sparse":
        sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
        X = sparse.csr_matrix(X * (np.random.default_rng(1).random(X.shape) < 0.2))
    found = set()
    for n_threads in (1, 2, 3, 7):
        each, adam = copy.deepcopy(net), Adam(0.001)
        options = {"batch_size": batch_size, "accumulate": accumulate, "n_threads": n_threads}
        each.fit(X, y, epochs=1, optimizer=adam, **options)
        fastbp.set_num_threads(n_threads)
        state = [each.theta, *adam.moments, each.predict(X)]
        found.add(b"".join(array.tobytes() for array in state))
    assert len(found) == 1
