"""Losses with ignore_nan: NaN in the targets has no loss, no gradient and no part in S."""

import copy
import pickle

import numpy as np
import pytest
from engine_cases import DTYPES
from loss_cases import outputs_of, prepare, targets_of

import fastbp
from fastbp import Population, reference
from fastbp.losses import NAMES, Loss, resolve
from fastbp.testing import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*takes the logarithm:UserWarning")

NETWORKS = (fastbp.Network, reference.Network)
MASKABLE = [name for name in NAMES if Loss(name).entry.maskable]
SPECS = [
    *MASKABLE,
    "huber(0.25)",
    "poisson(log_input=false)",
    "binary_cross_entropy(pos_weight=[1, 2, 0.5, 3])",
    "binary_cross_entropy(2.5)",
    "binary_focal(1.5, 0.75)",
    "quantile(0.1, 0.9)",
]
WIDTH = 4
OUTPUTS = ("identity", "sigmoid", "tanh", "softplus", "exp")  # pairs, ranges, and slopes by z
CASES = [(spec, output) for spec in SPECS for output in outputs_of(spec) if output in OUTPUTS]


def masked(spec):
    loss = resolve(spec)
    return Loss(loss.name, ignore_nan=True, **loss.options)


def network(kind, loss, output, dtype="float64", n_out=WIDTH, **options):
    return kind(
        (3, 5, n_out), activation="tanh", output=output, loss=loss, dtype=dtype, seed=3, **options
    )


def with_holes(rng, y, share=0.4):
    """The targets with some NaN, one row without any target, and one that is complete."""
    y = y.astype(float)
    holes = rng.uniform(size=y.shape) < share
    holes[0], holes[1] = True, False
    return np.where(holes, np.nan, y)


def passed(net, X, y, s):
    """(J, its gradient)."""
    net.forward(X)
    J = net.backward(y, s)
    return J, net.grad.copy()


def data(rng, spec, n=21):
    return (
        rng.normal(size=(n, 3)),
        with_holes(rng, targets_of(rng, spec, n, WIDTH)),
        rng.uniform(0.5, 2.0, n),
    )


def of_each_target(net, loss, X, y, s):
    """J of a masked loss from that of one network for each target, over the rows that have it."""
    total, S, K = 0.0, 0.0, y.shape[1]
    plain = resolve(loss)
    for j in range(K):
        at = plain.outputs_of(j, K)
        options = dict(plain.options)
        weights = options.get("pos_weight")
        if isinstance(weights, tuple) and len(weights) > 1:
            options["pos_weight"] = weights[j]
        own = network(
            reference.Network, Loss(plain.name, **options), net.activations[-1], n_out=len(at)
        )
        own.layers[0].W, own.layers[0].b = net.layers[0].W, net.layers[0].b
        own.layers[1].W, own.layers[1].b = net.layers[1].W[:, at], net.layers[1].b[at]
        rows = ~np.isnan(y[:, j])
        weight = s[rows].sum()
        part = own.loss(X[rows], y[rows, j : j + 1], s[rows]) * weight
        total += part if plain.entry.summed else part / K
        S += weight / K
    return total / S


@pytest.mark.parametrize(("spec", "output"), CASES)
def test_the_reference_is_the_mean_over_known_targets(rng, spec, output):
    net = network(reference.Network, masked(spec), output)
    prepare(rng, net)
    X, y, s = data(rng, spec)
    J = net.loss(X, y, s)
    assert J == pytest.approx(of_each_target(net, spec, X, y, s), rel=1e-12)
    assert passed(net, X, y, s)[0] == pytest.approx(J, rel=1e-14)
    assert gradcheck(net, X, y, s, max_per_block=4)
    assert (net.layers[-1].delta[0] == 0).all()


def test_a_mean_over_the_entries_as_pytorch_users_write_it(rng):
    """((a − y)²)[known].mean(), and the same of binary cross-entropy, times K."""
    X, y, _ = data(rng, "mse")
    known = ~np.isnan(y)
    net = network(fastbp.Network, "mse(ignore_nan=true)", "identity")
    assert net.loss(X, y) == pytest.approx(((net.predict(X) - y) ** 2)[known].mean(), rel=1e-13)
    net = network(fastbp.Network, Loss("binary_cross_entropy", ignore_nan=True), "sigmoid")
    y = np.where(known, y > 0, np.nan)
    p = net.predict(X)
    terms = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert net.loss(X, y) == pytest.approx(WIDTH * terms[known].mean(), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("spec", "output"), CASES)
def test_the_engine_agrees_with_the_reference(rng, spec, output, dtype):
    nets = [network(kind, masked(spec), output, dtype) for kind in NETWORKS]
    prepare(rng, nets[1])
    nets[0].theta = nets[1].theta
    X, y, s = (x.astype(dtype) for x in data(rng, spec))
    found = [passed(net, X, y, s) for net in nets]
    eps = float(np.finfo(dtype).eps)
    # sums of 21 rows and 5 + 3 products; slopes of logarithms are up to 1/a
    size = 1 + 3 / max(abs(nets[1].layers[-1].a).min(), 1e-3) if "e" in output else 10
    tolerance = float(64 * eps * size * 10)
    assert found[0][0] == pytest.approx(found[1][0], rel=tolerance)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0, atol=tolerance)
    assert (nets[0].layers[-1].delta[0] == 0).all()
    assert nets[0].loss(X, y, s) == pytest.approx(found[0][0], rel=64 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("spec", "output"), CASES)
def test_complete_targets_have_the_bits_of_the_loss_without_the_option(rng, spec, output, dtype):
    X, y = rng.normal(size=(30, 3)), targets_of(rng, spec, 30, WIDTH)
    start = network(fastbp.Network, spec, output, dtype)
    prepare(rng, start)
    thetas = []
    for loss in (resolve(spec), masked(spec)):
        net = network(fastbp.Network, loss, output, dtype)
        net.theta = start.theta
        net.fit(X, y, epochs=2, batch_size=8, optimizer=fastbp.optim.SGD(0.01))
        thetas.append(net.theta)
    np.testing.assert_array_equal(*thetas)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("spec", ["mse", "gaussian_nll", "quantile(0.1, 0.9)", "binary_focal"])
def test_curvature(rng, spec, kind):
    """The product with the Hessian is the difference of two gradients."""
    output = "sigmoid" if "focal" in spec else "identity"
    net = network(kind, masked(spec), output)
    X, y, s = data(rng, spec)
    v = rng.normal(size=net.theta.size)
    product, theta, h = net.hvp(X, y, v, s), net.theta.copy(), 1e-5
    grads = []
    for sign in (1, -1):
        net.theta = theta + sign * h * v
        grads.append(passed(net, X, y, s)[1].copy())
    np.testing.assert_allclose(product, (grads[0] - grads[1]) / (2 * h), rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", ["plain", "weights", "accumulate", "parts", "stream", "few rows"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_fits(rng, kind, how):
    """A batch whose rows have no target makes no step; J of an epoch is weighted by S."""
    X, y, s = data(rng, "mse", 40)
    y[8:16] = np.nan
    y[16:32] = np.nan if how == "stream" else y[16:32]  # a block of it has no target
    net = network(kind, "mse(ignore_nan=true)", "identity")
    twin = copy.deepcopy(net)
    options = {"epochs": 2, "batch_size": 8, "shuffle": False, "sample_weight": None}
    options |= {"weights": {"sample_weight": s}, "accumulate": {"accumulate": 2}}.get(how, {})
    options |= {"parts": {"parts": 2, "batch_size": 40}, "few rows": {"batch_size": 2}}.get(how, {})
    given = (X, y)
    if how == "stream":
        given = (fastbp.stream(X, y, block_rows=16), None)
    sgd = fastbp.optim.SGD(0.1)
    history = net.fit(*given, optimizer=sgd, **options)
    size = options["batch_size"] * options.get("accumulate", 1)
    means, own = [], fastbp.optim.SGD(0.1)
    for _ in range(2):
        total = weight = 0.0
        for first in range(0, 40, size):
            rows = slice(first, first + size)
            known = (~np.isnan(y[rows])).mean(axis=1)
            weights = None if options["sample_weight"] is None else s[rows]
            S = known.sum() if weights is None else known @ weights
            if S == 0:
                continue
            total += S * twin.train_batch(X[rows], y[rows], own, sample_weight=weights)
            weight += S
        means.append(total / weight)
    assert sgd.t == own.t
    np.testing.assert_allclose(net.theta, twin.theta, rtol=0, atol=1e-12)
    np.testing.assert_allclose(history.loss, means, rtol=1e-12)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_members_have_the_bits_that_they_have_alone(rng, n_threads):
    X, y, _ = data(rng, "mse", 40)
    y = y.astype("f4")

    def make():
        losses = ("mse", "mse(ignore_nan=true)", "mse(ignore_nan=true)", "huber(ignore_nan=true)")
        return [
            fastbp.Network((3, 6, WIDTH), loss=loss, seed=k) for k, loss in enumerate(losses[1:])
        ]

    alone, together = make(), make()
    for net in alone:
        net.fit(X, y, epochs=3, batch_size=8)
    Population(together).fit(X, y, epochs=3, batch_size=8, n_threads=n_threads)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.theta, other.theta)


def test_members_on_rows_of_their_own(rng):
    X, y, _ = data(rng, "mse", 40)
    y[:20] = np.nan
    nets = [fastbp.Network((3, 6, WIDTH), loss="mse(ignore_nan=true)", seed=k) for k in range(2)]
    with pytest.raises(ValueError, match="y is NaN everywhere: no target is known"):
        Population(nets).fit(X, y, rows=[range(20, 40), range(20)])
    Population(nets).fit(X, y, rows=[range(20, 40), range(30)])


def test_validation_and_metrics_count_the_known_targets(rng):
    X, y, s = data(rng, "mse", 40)
    net = network(fastbp.Network, "mse(ignore_nan=true)", "identity")
    metrics = ["mae", "r2", "rmse"]
    history = net.fit(X, y, epochs=1, X_val=X, y_val=y, sample_weight_val=s, metrics=metrics)
    a = net.predict(X)
    by_target = {name: [] for name in metrics}
    for j in range(WIDTH):
        rows = ~np.isnan(y[:, j])
        e, w, mean = a[rows, j] - y[rows, j], s[rows], np.average(y[rows, j], weights=s[rows])
        by_target["mae"].append(np.average(abs(e), weights=w))
        by_target["rmse"].append(np.average(e**2, weights=w) ** 0.5)
        by_target["r2"].append(1 - w @ e**2 / (w @ (y[rows, j] - mean) ** 2))
    assert history.val_mae[0] == pytest.approx(np.mean(by_target["mae"]), rel=1e-12)
    assert history.val_rmse[0] == pytest.approx(np.mean(by_target["rmse"]), rel=1e-12)
    assert history.val_score[0] == pytest.approx(np.mean(by_target["r2"]), rel=1e-12)
    assert history.val_r2 == history.val_score
    assert history.val_loss[0] == pytest.approx(net.loss(X, y, s), rel=1e-14)


def test_labels_of_several_kinds(rng):
    """Multi-label classification, of which some labels are not known."""
    X = rng.normal(size=(300, 3))
    true = (X @ rng.normal(size=(3, WIDTH)) > 0).astype(float)
    y = np.where(rng.uniform(size=true.shape) < 0.5, np.nan, true)
    loss = Loss("binary_cross_entropy", ignore_nan=True)
    net = network(fastbp.Network, loss, "sigmoid", "float32")
    history = net.fit(X, y, epochs=80, optimizer=fastbp.optim.Adam(0.02), validation_split=0.2)
    assert ((net.predict(X) > 0.5) == true).mean() > 0.95
    assert 0.9 < history.val_score[-1] <= 1


def test_the_option_is_kept(rng, tmp_path):
    loss = Loss("huber(0.5, ignore_nan=true)")
    assert loss == Loss("huber", 0.5, ignore_nan=True) != Loss("huber", 0.5)
    assert str(loss) == "huber(delta=0.5, ignore_nan=true)" and resolve(str(loss)) == loss
    assert pickle.loads(pickle.dumps(loss)) == loss and len({loss, Loss("huber(0.5)")}) == 2
    net = network(fastbp.Network, loss, "identity")
    net.save(tmp_path / "net.safetensors")
    again = fastbp.load(tmp_path / "net.safetensors")
    X, y, _ = data(rng, "mse")
    assert again.criterion == loss and again.loss(X, y) == net.loss(X, y)


@pytest.mark.parametrize("kind", NETWORKS)
def test_bad_arguments(kind, rng):
    X, y, _ = data(rng, "mse")
    for name in set(NAMES) - set(MASKABLE):
        with pytest.raises(ValueError, match=f"{name} needs all targets of a sample"):
            Loss(name, ignore_nan=True)
    with pytest.raises(TypeError, match="ignore_nan of mse must be true or false; got 3"):
        Loss("mse", ignore_nan=3)
    with pytest.raises(ValueError, match="ignore_nan of mse is given twice"):
        Loss("mse(ignore_nan=true)", ignore_nan=True)
    plain = network(kind, "mse", "identity")
    with pytest.raises(ValueError, match="NaN"):
        plain.fit(X, y)
    net = network(kind, "mse(ignore_nan=true)", "identity")
    with pytest.raises(ValueError, match="y is NaN everywhere: no target is known"):
        net.fit(X, np.full_like(y, np.nan))
    with pytest.raises(ValueError, match="slow_backprop takes complete targets"):
        reference.slow_backprop(network(reference.Network, net.criterion, "identity"), X, y)
    alone = y.copy()
    alone[1:] = np.nan
    alone[0] = 1.0
    with pytest.raises(ValueError, match="y is NaN everywhere: no target is known"):
        net.fit(X, alone, validation_split=0.5)
    y[2, 1] = np.inf
    with pytest.raises(ValueError, match=r"y\[2, 1\]|row 2"):
        net.fit(X, y)
    bits = network(kind, Loss("binary_cross_entropy", ignore_nan=True), "sigmoid")
    with pytest.raises(ValueError, match="y must lie between 0 and 1"):
        bits.fit(X, np.where(np.isnan(y), np.nan, 2.0))


@pytest.mark.parametrize("kind", NETWORKS)
def test_no_known_target_with_a_weight(kind, rng):
    """J would be 0/0."""
    X, y = rng.standard_normal((20, 3)), rng.standard_normal((20, WIDTH))
    y[10:] = np.nan
    s = np.repeat([0.0, 1.0], 10)
    net = network(kind, "mse(ignore_nan=true)", "identity")
    before, optimizer = net.theta.copy(), fastbp.optim.Adam()
    net.forward(X)
    calls = (
        lambda: net.fit(X, y, sample_weight=s, epochs=1),
        lambda: net.fit(X, y, epochs=1, X_val=X, y_val=y, sample_weight_val=s),
        lambda: net.train_batch(X, y, optimizer, sample_weight=s),
        lambda: net.loss(X, y, sample_weight=s),
        lambda: net.backward(y, sample_weight=s),
        lambda: net.hvp(X, y, before, sample_weight=s),
    )
    for call in calls:
        with pytest.raises(ValueError, match="is NaN wherever the weight is not 0"):
            call()
    np.testing.assert_array_equal(net.theta, before)
    if kind is fastbp.Network:
        for rows in (None, [np.arange(20)]):
            with pytest.raises(ValueError, match="is NaN wherever the weight is not 0"):
                Population([net]).fit(X, y, rows=rows, sample_weight=s, epochs=1)
