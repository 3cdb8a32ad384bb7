"""The losses: their formulas, their options and their targets."""

import copy
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from engine_cases import DTYPES
from formula_cases import LOSSES as FORMULAS
from loss_cases import CASES, SPECS, WIDTH, all_targets, outputs_of, prepare, targets_of

import fastbp
from fastbp import losses, reference
from fastbp.activations import Activation
from fastbp.losses import Loss
from fastbp.reference import slow_backprop
from fastbp.testing import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*takes the logarithm:UserWarning")

EPS = float(np.finfo(np.float64).eps)
NETWORKS = (fastbp.Network, reference.Network)


def network(kind, spec, output, dtype="float64", n_out=WIDTH, **options):
    return kind(
        (3, 5, n_out), activation="tanh", output=output, loss=spec, dtype=dtype, seed=3, **options
    )


# ---- the reference ------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "output"), CASES)
def test_the_reference_matches_slow_backprop_and_differences(rng, spec, output):
    net = network(reference.Network, spec, output)
    prepare(rng, net)
    X, s = rng.normal(size=(6, 3)), rng.uniform(0.5, 2.0, 6)
    for y in all_targets(rng, spec, 6, WIDTH):
        net.forward(X)
        J = net.backward(y, s)
        slow = slow_backprop(net, X, y, s)
        # the slope of a logarithm is at most 1/a, and weights are at most 3
        size = 1 + 3 / abs(net.layers[-1].a).min() if net.criterion.pair else 10.0
        tolerance = 64 * EPS * size * (1 + abs(net.layers[-1].z).max() + abs(J))
        assert abs(J - slow.J) <= tolerance
        assert abs(net.layers[-1].delta - slow.delta[-1]).max() <= tolerance
        assert abs(net.layers[0].dW - slow.dW[0]).max() <= tolerance
        assert gradcheck(net, X, y, s, max_per_block=4)


# ---- the engine ---------------------------------------------------------------------------


def curvature(delta_of, z):
    """|∂δ_k/∂z_l| of every sample, (n, K, K), by central differences."""
    h = 1e-5
    columns = []
    for l in range(z.shape[1]):
        step = np.zeros_like(z)
        step[:, l] = h
        columns.append(abs(delta_of(z + step) - delta_of(z - step)) / (2 * h))
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("spec", "output"), CASES)
def test_the_engine_agrees_with_the_reference(rng, spec, output, dtype):
    """One layer with W = 1 and b = 0, so that z is exactly X, and only J_i and δ are computed.

    Each is the exact value for arguments that are off by a few eps. So for J_i,
    E = c eps (|J_i| + Σ|δ_k| |z_k|). For δ, E is the same with the derivative of δ, plus the errors
    of probabilities and targets.
    """
    options = {"output": output, "loss": spec, "dtype": dtype, "init": "zeros"}
    nets = [fastbp.Network((WIDTH, WIDTH), **options)]
    nets.append(reference.Network((WIDTH, WIDTH), **options | {"dtype": "float64"}))
    for net in nets:
        net.layers[0].W = np.eye(WIDTH)
    n = 37
    X = rng.normal(scale=2.0, size=(n, WIDTH))
    X = np.minimum(X, 1) if output == "exp" else X  # poisson takes exp of the output again
    if not nets[0].criterion.pairs_with(nets[0].activations[-1]) and output != "softmax":
        positive = nets[0].criterion.pair is not None or "false" in spec
        X = rng.uniform(0.1, 0.45, X.shape) - (output == "exp") if positive else X
    X = X.astype(dtype).astype(float)
    s = rng.uniform(0.5, 2.0, n).astype(dtype).astype(float)
    eps = float(np.finfo(dtype).eps)
    for y in all_targets(rng, spec, n, WIDTH):
        y = y.astype(dtype).astype(float) if y.ndim == 2 else y
        out = []
        for net in nets:
            net.forward(X)
            J = net.backward(y, s)
            out.append((J, net.layers[0].delta.astype(float), net.theta, net.grad.astype(float)))
        engine, exact = out
        twin = nets[1]

        def delta_of(z, twin=twin, y=y):
            twin.forward(z)
            twin.backward(y)
            return twin.layers[0].delta

        slopes = curvature(delta_of, X)
        twin.forward(X)
        a = twin.layers[0].a
        c = 24 * eps * 3  # weights are at most 3
        sizes = 1 + abs(X) + (abs(y).max() if y.ndim == 2 else 1)
        E = c * (abs(exact[1]) + abs(a) / (1 if output in ("softmax", "sigmoid") else WIDTH))
        E += c * ((slopes * sizes[:, None, :]).sum(axis=2) + np.minimum(1, sizes))
        assert (abs(engine[1] - exact[1]) <= E).all()
        E_J = c * (abs(exact[0]) + (abs(exact[1]) * sizes).sum(axis=1).max() + 1)
        assert abs(engine[0] - exact[0]) <= E_J
        assert (abs(engine[3] - exact[3]) <= E.max() * (1 + abs(X).max()) * 3).all()
        assert math.isclose(nets[0].loss(X, y, s), engine[0], rel_tol=4 * EPS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", SPECS)
def test_targets_of_every_width_and_stride(rng, spec, dtype):
    """Vector tails of every length; the NaN between the rows of targets must not be read."""
    output = (
        next(iter(outputs_of(spec)))
        if losses.resolve(spec).pair is None
        else losses.resolve(spec).pair
    )
    spec = re.sub(r"\[.*?\]", "2", spec)  # one weight for every output
    step = 2 if spec == "gaussian_nll" else len(losses.resolve(spec).options.get("taus", [0]))
    tolerance = 200 * float(np.finfo(dtype).eps)
    for n_out in {-(-width // step) * step for width in (1, 2, 7, 9, 16, 17, 33, 35)}:
        nets = [network(kind, spec, output, dtype, n_out) for kind in NETWORKS]
        prepare(rng, nets[1])
        nets[0].theta = nets[1].theta
        X, y = rng.normal(size=(5, 3)).astype(dtype), targets_of(rng, spec, 5, n_out)
        y = y.astype(dtype) if y.ndim == 2 else y
        exact = nets[1].value_and_grad(X, y)
        if y.ndim == 2:
            room = np.full((5, y.shape[1] + 2), np.nan, dtype)
            room[:, 1:-1] = y
            y = room[:, 1:-1]
        J, grad = nets[0].value_and_grad(X, y)
        size = 1 + abs(y).max() + abs(nets[1].layers[-1].z).max()
        if "poisson" in spec:
            size = np.exp(size)
        assert abs(J - exact[0]) <= tolerance * size**2, f"{n_out} outputs"
        assert abs(grad - exact[1]).max() <= tolerance * size**2, f"{n_out} outputs"


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("spec", SPECS)
def test_nan_propagates_and_extreme_outputs_do_not_overflow(spec, kind):
    loss = losses.resolve(spec)
    output = loss.pair or "identity"
    net = network(kind, spec, output, init="zeros")
    y = targets_of(np.random.default_rng(0), spec, 1, WIDTH)
    net.forward([[np.nan, 0.0, 0.0]])
    assert math.isnan(net.backward(y))
    if "poisson" in spec or spec == "gaussian_nll":  # they take the exponential of an output
        return
    for far in (1e4, -1e4):
        net.layers[-1].b = far * np.array([1, -1, 0.5, -0.25])
        net.forward([[0.0, 0.0, 0.0]])
        assert math.isfinite(net.backward(y)), far
        assert np.isfinite(net.layers[-1].delta).all(), far


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", ["log_cosh", "huber"])
def test_huber_and_log_cosh_of_small_and_large_errors(spec, dtype):
    eps = float(np.finfo(dtype).eps)
    net = fastbp.Network((1, 1), loss=spec, dtype=dtype, init="zeros")
    for e in (1e-3, 0.5, 0.999, 1.0, 1.001, 3.0, 30.0, 1e4):
        e = float(np.dtype(dtype).type(e))
        cosh = math.log1p(2 * math.sinh(min(e, 30) / 2) ** 2) + max(0, e - 30)
        exact = {"log_cosh": cosh, "huber": e * e / 2 if e < 1 else e - 0.5}[spec]
        assert math.isclose(net.loss([[0.0]], [[e]]), exact, rel_tol=8 * eps), e


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_slope_is_0_where_the_margin_is_kept(kind):
    net = kind((1, 2), loss="hinge", init="zeros")
    net.layers[0].b = [1.0, 0.5]  # a margin of exactly 1 is kept
    net.forward([[0.0]])
    assert net.backward([[1.0, 1.0]]) == 0.25
    np.testing.assert_array_equal(net.layers[0].delta, [[0.0, -0.5]])
    net = kind((1, 3), loss="multi_margin", init="zeros")
    net.layers[0].b = [2.0, 1.0, 1.5]
    net.forward([[0.0]])
    assert math.isclose(net.backward([0]), 0.5 / 3, rel_tol=1e-6)
    np.testing.assert_allclose(net.layers[0].delta, [[-1 / 3, 0, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
def test_class_weights_divide_the_loss_only_with_class_indices(kind):
    options = {"output": "softmax", "init": "zeros", "dtype": "float64"}
    net = kind((1, 2), loss="cross_entropy(class_weight=[1, 3])", **options)
    X, y, log2 = np.zeros((3, 1)), np.array([0, 1, 1]), math.log(2)
    s = np.array([2.0, 1.0, 1.0])
    assert math.isclose(net.loss(X, y), log2)  # (1 + 3 + 3) log 2 over 1 + 3 + 3
    assert math.isclose(net.loss(X, y, s), log2)
    assert math.isclose(net.loss(X, np.eye(2)[y]), 7 / 3 * log2)  # over the samples
    net.forward(X)
    net.backward(y, s)
    np.testing.assert_allclose(net.layers[0].delta[:, 1], [0.5, -1.5, -1.5])
    np.testing.assert_allclose(net.layers[0].db, [(-1 + 3) / 8, (1 - 3) / 8])
    # a batch whose classes all have weight 0 is skipped, like a batch with sample weights 0
    none = kind((1, 2), loss="cross_entropy(class_weight=[0, 1])", **options)
    theta = none.theta.copy()
    history = none.fit(X, [0, 0, 1], epochs=1, batch_size=2, shuffle=False, optimizer="sgd")
    assert math.isclose(history.loss[0], log2) and (none.theta != theta).any()


# ---- training -----------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_fit_follows_the_reference(rng, spec):
    loss = losses.resolve(spec)
    X, s = rng.normal(size=(23, 3)), rng.uniform(0.5, 2, 23)
    y = all_targets(rng, spec, 23, WIDTH)[-1]
    thetas, logs = [], []
    for kind in NETWORKS:
        net = network(kind, spec, loss.pair or "identity", l2=0.01)
        if "false" in spec:  # outputs are rates, not their logarithms
            net = network(kind, spec, "softplus", l2=0.01)
        history = net.fit(
            X, y, epochs=2, batch_size=8, sample_weight=s, validation_data=(X, y), optimizer="adam"
        )
        thetas.append(net.theta)
        logs.append([*history.loss, *history.val_loss, *history.val_score])
    # six steps of Adam with lr 0.001, whose quotient multiplies the rounding of g by 1/|g|
    np.testing.assert_allclose(thetas[0], thetas[1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-9)
    assert np.isfinite(logs[0]).all()


@pytest.mark.parametrize("spec", SPECS)
def test_bits_do_not_depend_on_threads(rng, spec):
    X = rng.normal(size=(300, 60)).astype(np.float32)
    y = all_targets(rng, spec, 300, WIDTH)[-1]
    seen = []
    for n_threads in (1, 2, 3):
        output = losses.resolve(spec).pair or ("softplus" if "false" in spec else "identity")
        net = fastbp.Network((60, 129, 257, WIDTH), output=output, loss=spec, seed=0)
        history = net.fit(X, y, epochs=1, batch_size=170, n_threads=n_threads)
        seen.append((net.theta.tobytes(), history.loss))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("plain", "spec", "n_out"),
    [
        ("cross_entropy", "cross_entropy(0, [1])", 4),
        ("cross_entropy", "focal(0)", 4),
        ("binary_cross_entropy", "binary_cross_entropy(1)", 4),
        ("binary_cross_entropy", "binary_focal(0, none)", 1),  # a mean of outputs, not a sum
    ],
)
def test_neutral_options_give_the_plain_loss(rng, plain, spec, n_out, dtype):
    """A smoothing of 0, weights of 1 and γ = 0."""
    X = rng.normal(size=(9, 3))
    y = targets_of(rng, "binary_focal" if "binary" in plain else "focal", 9, n_out)
    nets = [network(fastbp.Network, loss, Loss(loss).pair, dtype, n_out) for loss in (plain, spec)]
    (J, grad), (J_same, same) = (net.value_and_grad(X, y) for net in nets)
    eps = float(np.finfo(dtype).eps)
    assert math.isclose(J, J_same, rel_tol=32 * eps)
    assert abs(grad - same).max() <= 64 * eps


# ---- names, options and files ---------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_the_text_of_a_loss_gives_the_same_loss(spec, tmp_path):
    loss = losses.resolve(spec)
    assert losses.resolve(str(loss)) == loss
    if spec not in FORMULAS:
        assert Loss(loss.name, **loss.options) == loss
    assert hash(losses.resolve(str(loss))) == hash(loss)
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss
    net = network(fastbp.Network, spec, loss.pair or "identity")
    net.save(tmp_path / "net")
    assert fastbp.load(tmp_path / "net").criterion == loss
    assert pickle.loads(pickle.dumps(net)).criterion == loss
    assert f"loss='{loss}'" in repr(net) and str(loss) in net.summary()


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("huber(0)", ValueError, "delta of huber must be greater than 0; got 0"),
        ("huber(1, 2)", ValueError, "huber takes delta; got 2 values"),
        ("huber(delta=1, delta=2)", ValueError, "delta of huber is given twice"),
        ("huber(tau=1)", ValueError, "huber has no option 'tau'; it takes delta"),
        ("huber()", ValueError, r"the options of 'huber\(\)' must be numbers or lists"),
        ("huber(1", ValueError, r"unknown loss 'huber\(1'"),
        ("huber(one)", ValueError, "must be numbers or lists of them"),
        ("cross_entropy(1.5)", ValueError, "label_smoothing of cross_entropy must be from 0 to 1"),
        ("cross_entropy(class_weight=[1, -1])", ValueError, r"class_weight of .*\[1\] must not be"),
        ("cross_entropy(class_weight=[0, 0])", ValueError, "must hold a weight greater than 0"),
        ("cross_entropy(class_weight=[])", ValueError, "must be numbers or lists"),
        ("binary_focal(alpha=1)", ValueError, "strictly between 0 and 1, or be none; got 1"),
        ("poisson(0.5)", TypeError, "log_input of poisson must be true or false; got 0.5"),
        ("quantile(0.5, 0.5)", ValueError, "taus of quantile must ascend"),
        ("quantile(0, 0.5)", ValueError, "must lie strictly between 0 and 1"),
        ("focal(nan)", ValueError, "gamma of focal must be finite"),
    ],
)
def test_bad_options_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        losses.resolve(spec)


def test_options_as_keywords():
    assert Loss("quantile", taus=[0.1, 0.9]) == Loss("quantile(0.1, 0.9)")
    assert Loss("cross_entropy", class_weight=np.array([1, 2])).values == (0.0, (1.0, 2.0))
    with pytest.raises(ValueError, match="in its text or as arguments, not both"):
        Loss("huber(1)", delta=2)
    with pytest.raises(TypeError, match=r"class_weight of cross_entropy\[0\] must be a number"):
        Loss("cross_entropy", class_weight="12")
    with pytest.raises(TypeError, match="class_weight of cross_entropy must be a list of numbers"):
        Loss("cross_entropy", class_weight={0: 1, 1: 2})


@pytest.mark.parametrize("method", ["loss", "fit", "value_and_grad"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_targets_whose_classes_all_have_weight_0_are_refused(kind, method):
    net = kind((2, 3), output="softmax", loss="cross_entropy(class_weight=[0, 0, 1])", seed=0)
    with pytest.raises(ValueError, match="class_weight of cross_entropy is 0 for every class"):
        getattr(net, method)(np.zeros((2, 2)), [0, 1])
    assert np.isfinite(net.loss(np.zeros((2, 2)), [0, 2]))


@pytest.mark.parametrize("kind", NETWORKS)
def test_no_class_with_a_weight_in_rows_with_a_weight_is_refused(kind):
    """S would be 0, and J NaN."""
    net = kind((2, 3), output="softmax", loss="cross_entropy(class_weight=[0, 0, 1])", seed=0)
    X, y, s = np.zeros((4, 2)), [0, 1, 2, 2], [1, 1, 0, 0]
    sgd, before = fastbp.optim.SGD(0.1), net.theta.copy()
    net.forward(X)
    calls = (
        lambda: net.loss(X, y, s),
        lambda: net.backward(y, s),
        lambda: net.hvp(X, y, net.theta, s),
        lambda: net.train_batch(X, y, sgd, sample_weight=s),
        lambda: net.fit(X, y, sample_weight=s, optimizer=sgd),
        lambda: net.fit(X, y, class_weight={2: 0}, optimizer=sgd),
        lambda: net.fit(X, y, validation_data=(X, y, s), optimizer=sgd),
    )
    for call in calls:
        with pytest.raises(ValueError, match="is 0 for every class in .* weight is not 0"):
            call()
    assert sgd.t == 0 and (net.theta == before).all()
    assert np.isfinite(net.loss(X, y, [1, 1, 1, 0]))


def test_a_member_whose_rows_have_no_class_with_a_weight_is_refused():
    net = fastbp.Network((2, 2), output="softmax", loss="cross_entropy(class_weight=[0, 1])")
    with pytest.raises(ValueError, match="is 0 for every class in y\n"):
        fastbp.Population([net]).fit(np.zeros((4, 2)), [0, 0, 1, 1], rows=[[0, 1]])


@pytest.mark.parametrize(
    ("spec", "output", "n_out", "message"),
    [
        ("focal", "sigmoid", 3, "focal needs output='softmax'; got sigmoid"),
        ("binary_focal", "identity", 3, "binary_focal needs output='sigmoid'; got identity"),
        ("cross_entropy(class_weight=[1, 2])", "softmax", 3, "has 2 entries; .* has 3 outputs"),
        (
            "gaussian_nll",
            "identity",
            3,
            "2 outputs for each target, a mean and a log-var.*; .* 3",
        ),
        (
            "quantile(0.1, 0.9)",
            "identity",
            3,
            "2 outputs for each target, one for each tau",
        ),
    ],
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_outputs_that_a_loss_does_not_take(kind, spec, output, n_out, message):
    with pytest.raises(ValueError, match=message):
        kind((2, n_out), output=output, loss=spec)


@pytest.mark.parametrize(
    ("spec", "y", "error", "message"),
    [
        ("hinge", [[0, 1], [1, 1]], ValueError, r"hold -1 and 1 for hinge; got 0.*2 \* y - 1"),
        ("squared_hinge", [[0.5, 1], [1, 1]], ValueError, "must hold -1 and 1"),
        ("poisson", [[1, 2], [3, -1]], ValueError, "counts, none negative, for poisson; got -1"),
        ("kl_divergence", [[0.5, 0.4], [1, 0]], ValueError, "sum to 1 for kl_divergence; row 0"),
        ("kl_divergence", [0, 1], ValueError, r"2-D, \(samples, 2\), for kl_divergence; got 1-D"),
        ("binary_focal", [[0.5, 1], [1, 1]], ValueError, "hold 0 and 1 for binary_focal; got 0.5"),
        ("multi_margin", [[1, 0], [0, 1]], ValueError, r"takes class indices \(n,\): write y.argm"),
        ("multi_margin", [0.0, 1.0], TypeError, "class indices of an integer dtype"),
        ("gaussian_nll", [[1, 2], [1, 2]], ValueError, "has 2 columns; gaussian_nll .* takes 1"),
        ("quantile(0.1, 0.9)", [[1, 2], [1, 2]], ValueError, "y has 2 columns; quantile with 2"),
        ("focal", [[0.5, 0.4], [1, 0]], ValueError, "sum to 1 for focal"),
    ],
)
@pytest.mark.parametrize("method", ["loss", "fit"])
def test_bad_targets_are_refused(spec, y, error, message, method):
    net = network(fastbp.Network, spec, losses.resolve(spec).pair or "identity", n_out=2)
    with pytest.raises(error, match=message):
        getattr(net, method)(np.zeros((2, 3)), y)


@pytest.mark.parametrize(
    ("spec", "n_out"), [("gaussian_nll", 2), ("quantile(0.1, 0.5, 0.9)", 3), ("mae", 1)]
)
def test_one_column_of_targets_may_be_1_d(rng, spec, n_out):
    X, y = rng.normal(size=(5, 3)), rng.normal(size=5)
    net = network(fastbp.Network, spec, "identity", n_out=n_out)
    assert net.loss(X, y) == net.loss(X, y[:, None])


def test_every_loss_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
    for name in losses.NAMES:
        assert re.search(rf"^\| `{name}\b", page, re.MULTILINE), name
        for option in Loss(name).options:
            assert f"`{option}`" in page, (name, option)


def test_pairs_of_loss_and_output_give_no_warning(recwarn):
    for name in losses.NAMES:
        for output in ("softmax", "sigmoid"):
            if name in ("focal", "binary_focal") and Loss(name).pair != output:
                continue
            fastbp.Network((2, 4), output=output, loss=name)
    assert not recwarn.list
    assert Loss("focal").pairs_with(Activation("softmax"))
