"""`net.walk`: the numbers are those of forward and backward, and the text shows them."""

import re

import numpy as np
import pytest

import fastbp
from fastbp import Dense, gates
from fastbp._page.picture import number_text

KINDS = [fastbp.Network, fastbp.reference.Network]
# (layers, loss, target) of a network with 3 inputs
SWISH = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.5, per="unit")
FOURTH = gates.loss(lambda a, y: gates.sum((a - y) ** 4))
CASES = {
    "formulas": ([Dense(3, SWISH), Dense(4, "prelu"), Dense(2)], FOURTH, [0.5, -1.0]),
    "plain": ([Dense(4, "tanh"), Dense(2)], "squared_error", [0.5, -1.0]),
    "one output": ([Dense(3, "leaky_relu(0.1)"), Dense(1)], "mse", 0.25),
    "pair of sigmoid": (
        [Dense(3, "gelu"), Dense(2, "sigmoid")],
        "binary_cross_entropy",
        [1.0, 0.3],
    ),
    "pair of softmax": ([Dense(5, "relu"), Dense(3, "softmax")], "cross_entropy", 2),
    "weighted classes": (
        [Dense(3, "softmax")],
        "cross_entropy(label_smoothing=0.1, class_weight=[1, 2, 4])",
        1,
    ),
    "softmax without its pair": ([Dense(4, "elu"), Dense(3, "softmax")], "mse", [0.0, 1.0, 0.0]),
    "only paired": ([Dense(3, "softmax")], "focal(2)", 0),
    "no bias": ([Dense(4, "silu", bias=False), Dense(1, "exp")], "huber(0.5)", 3.0),
    "norms": (
        [Dense(4, "tanh", norm="layer"), Dense(3, "relu", norm="rms"), Dense(2)],
        "log_cosh",
        [1.0, 2.0],
    ),
    "residual": (
        [Dense(3, "sigmoid", residual=True), Dense(3, "mish", residual=True), Dense(1)],
        "mae",
        -2.0,
    ),
    "two outputs per target": ([Dense(4, "softplus"), Dense(2)], "gaussian_nll", 0.5),
    "dropout": ([Dense(4, "relu", dropout=0.5), Dense(1)], "poisson", 2.0),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request):
    return CASES[request.param]


def made(kind, layers, loss, dtype="float64", **options):
    net = kind.from_layers(3, layers, loss=loss, dtype=dtype, seed=7, **options)
    rng = np.random.default_rng(3)
    net.theta = net.theta + rng.standard_normal(net.theta.shape) * 0.3
    return net


X = np.array([0.5, -1.25, 2.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_of_forward_and_backward(kind, case, dtype):
    layers, loss, y = case
    net = made(kind, layers, loss, dtype, l1=0.01, l2=0.1)
    walk = net.walk(X, y)
    net.forward(X[None])
    J = net.backward(np.reshape(y, -1) if net.criterion.labels else np.reshape(y, (1, -1)))
    assert walk.J == J
    u = X.astype(dtype)
    for layer, own in zip(walk.layers, net.layers, strict=True):
        np.testing.assert_array_equal(layer.u, u)
        for name in ("z", "a", "delta"):
            np.testing.assert_array_equal(getattr(layer, name), getattr(own, name)[0])
        for name in ("W", "b", "dW", "db"):
            assert (getattr(layer, name) is None) == (getattr(own, name) is None)
        for name, value in own.parameters().items():
            np.testing.assert_array_equal(layer.parameters[name], value)
            np.testing.assert_array_equal(layer.gradients[name], own.gradients()[name])
        u = layer.a


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_delta_fit_together(kind, case):
    """δ^l = g σ'(z) unit by unit, and g^l = W^{l+1} δ^{l+1}; around a residual, plus g^{l+1}."""
    layers, loss, y = case
    walk = made(kind, layers, loss).walk(X, y)
    eps = np.finfo(np.float64).eps
    sums = [abs(above.W) @ abs(above.delta) for above in walk.layers[1:]]
    for layer, size in zip(walk.layers, [*sums, None], strict=True):
        if layer.slope is None or layer.g is None:
            continue
        # the engine has g σ' from a sum of its own: at most 5 products, and one more for a
        # residual; then the slope and a product, of a few operations each
        size = abs(layer.g) if size is None else np.maximum(size, abs(layer.g))
        bound = (7 + 8) * eps * size * abs(layer.slope)
        assert np.all(abs(layer.delta - layer.g * layer.slope) <= bound)
    for below, above, size in zip(walk.layers, walk.layers[1:], sums, strict=False):
        g = above.W @ above.delta + (above.g if above.dense.residual else 0)
        assert np.all(abs(below.g - g) <= 7 * eps * (size + abs(g)))


def test_the_slope_of_the_loss_is_the_derivative_with_respect_to_the_outputs():
    for name, (layers, loss, y) in CASES.items():
        walk = made(fastbp.Network, layers, loss).walk(X, y)
        top = walk.layers[-1]
        if top.g is None:
            assert walk.criterion.pairs_with(top.activation), name
            continue
        n = len(top.a)
        alone = fastbp.Network.from_layers(n, [Dense(n)], loss=loss, dtype="float64")
        alone.theta = np.concatenate([np.eye(n).ravel(), np.zeros(n)])
        rows = np.reshape(y, -1) if walk.criterion.labels else np.reshape(y, (1, -1))
        h = 1e-6
        for k in range(n):
            step = h * np.eye(n)[k]
            up, down = (alone.loss((top.a + s)[None], rows) for s in (step, -step))
            # h²/6 of the third derivative, which is below 100, and 2⁻⁵² J/h
            assert (up - down) / (2 * h) == pytest.approx(top.g[k], abs=1e-8), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_changes_nothing(kind):
    layers, loss, y = CASES["norms"]
    net = made(kind, layers, loss)
    seen = []
    net.on_delta(lambda l, delta: seen.append(l))
    net.walk(X, y)
    assert net.layers[0].z is None and net.layers[-1].delta is None
    with pytest.raises(RuntimeError, match="forward"):
        net.backward([y])
    net.forward(np.stack([X, -X]))
    net.backward([y, y])
    seen.clear()
    arrays = [net.theta, net.grad]
    arrays += [array for each in net.layers for array in (each.z, each.a, each.delta)]
    before = [array.copy() for array in arrays]
    walk = net.walk(X, y)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert not seen
    net.theta = net.theta * 0  # the walk has copies
    assert np.any(walk.layers[0].W != 0)
    with pytest.raises(ValueError, match="read-only"):
        walk.layers[0].z[0] = 0


def test_the_text_of_the_textbook():
    """The example of M. Mazur (2015), which test_worked_cases derives."""
    net = fastbp.Network((2, 2, 2), activation="sigmoid", output="sigmoid", dtype="float64")
    net.theta = [0.15, 0.25, 0.2, 0.3, 0.35, 0.35, 0.4, 0.5, 0.45, 0.55, 0.6, 0.6]
    text = str(net.walk([0.05, 0.10], [0.01, 0.99]))
    for line in (
        "z¹₁ = 0.05·0.15 + 0.1·0.2 + 0.35 = 0.3775",
        "a¹₁ = sigmoid(0.3775) = 0.5933",
        "a²₁ = sigmoid(1.106) = 0.7514",
        "J = ½ ((0.7514 − 0.01)² + (0.7729 − 0.99)²) = 0.2984",
        "δ²₁ = 0.7414 · 0.1868 = 0.1385",
        "dW²₁₁ = 0.5933·0.1385 = 0.08217",
        "δ¹₁ = (0.4·0.1385 + 0.5·(−0.0381)) · 0.2413 = 0.008771",
        "dW¹₁₁ = 0.05·0.008771 = 0.0004386",
    ):
        assert f"      {line}\n" in text
    order = [text.index(f"    {head}") for head in ("z¹ =", "a¹ =", "z² =", "a² =", "J =")]
    order += [text.index(f"    {head}") for head in ("δ² =", "dW² =", "δ¹ =", "dW¹ =")]
    assert order == sorted(order)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_shows_every_number_of_a_small_network(kind, case):
    layers, loss, y = case
    walk = made(kind, layers, loss, l2=0.5).walk(X, y)
    text = str(walk)
    for l, layer in enumerate(walk.layers, 1):
        for name in ("z", "a", "delta"):
            letter = "δ" if name == "delta" else name
            for k, value in enumerate(getattr(layer, name)):
                start = f"{letter}{'⁰¹²³'[l]}{'₁₂₃₄₅'[k]} = "
                lines = re.findall(rf"^(?: +|.*,  ){start}(.*)", text, re.MULTILINE)
                assert len(lines) == 1, start
                assert lines[0].split(" ")[-1] == number_text(value), start
        for (i, k), value in np.ndenumerate(layer.dW):
            start = f"dW{'⁰¹²³'[l]}{'₁₂₃₄₅'[i]}{'₁₂₃₄₅'[k]} = "
            (line,) = [line for line in text.splitlines() if start in line]
            assert line.endswith(f" {number_text(value)}")
        for name in layer.gradients.keys() - {"W"}:
            assert f"d{name}{'⁰¹²³'[l]} = [" in text
    assert f"= {number_text(walk.loss)}\n" in text and f"= {number_text(walk.J)}, penalties" in text


def test_the_text_of_products_gives_their_results():
    """Each line of a z is a sum of products: computed from its own digits, it gives its result."""
    layers, loss, y = CASES["plain"]
    walk = made(fastbp.Network, layers, loss).walk(X, y)
    lines = re.findall(r"z\S+ = (.+·.+) = (\S+)", str(walk))
    sizes = np.concatenate([abs(e.u) @ abs(e.W) + abs(e.b) for e in walk.layers])
    assert len(lines) == len(sizes) == 6
    for (terms, result), size in zip(lines, sizes, strict=True):
        computed = eval(terms.replace("·", "*").replace("−", "-"))
        # four digits leave a relative error of 5e-4 at most, in both factors and in the result
        assert abs(computed - float(result.replace("−", "-"))) <= 3 * 5e-4 * size


def test_formulas_of_the_users_are_filled_in():
    net = fastbp.Network.from_layers(
        1, [Dense(2, SWISH), Dense(1, "prelu")], loss=FOURTH, dtype="float64", seed=0
    )
    net.theta = [1.0, -1.0, 0.0, 0.0, 0.5, 2.0, 1.0, 1.0, -2.0, 0.25]
    walk = net.walk([2.0], 1.0)
    hidden, output = walk.layers
    assert hidden.constants["beta"].tolist() == [0.5, 2.0] and output.constants.keys() == {"alpha"}
    text = str(walk)
    for line in (
        "a¹ = z¹ · sigmoid(beta · z¹),  beta = [0.5, 2]",
        "a¹₁ = 2 · sigmoid(0.5 · 2) = 1.462",
        "a¹₂ = (−2) · sigmoid(2 · (−2)) = −0.03597",
        "a² = where(z² > 0, z², alpha · z²),  alpha = [0.25]",
        "J = sum((a² − y)^4)",
        "J = sum(((−0.1435) − 1)^4) = 1.71",
    ):
        assert f"    {line}\n" in text
    for constant in ("dbeta¹ = [", "dalpha² = ["):
        assert constant in text
    parts = gates.activation(lambda z: gates.exp(z - gates.tanh(z)) + gates.tanh(z))
    text = str(fastbp.Network((1, 1), output=parts, seed=0).walk([1.0], 1.0))
    assert "a¹ = σ(z¹),  σ = formula(s1 = tanh(z); exp(z - s1) + s1)" in text


def test_gradients_are_divided_by_the_weight_of_the_class():
    layers, loss, _ = CASES["weighted classes"]
    walk = made(fastbp.Network, layers, loss).walk(X, 2)
    (layer,) = walk.layers
    assert walk.weight == 4
    eps = np.finfo(np.float64).eps
    np.testing.assert_allclose(layer.dW, np.outer(X, layer.delta) / 4, rtol=4 * eps)
    assert " / 4" in str(walk)


def test_penalties_are_shown_apart():
    layers, loss, y = CASES["plain"]
    without = made(fastbp.Network, layers, loss).walk(X, y)
    walk = made(fastbp.Network, layers, loss, l1=0.01, l2=0.1).walk(X, y)
    assert walk.loss == without.J == without.loss
    W = np.concatenate([layer.W.ravel() for layer in walk.layers])
    more = 0.01 * abs(W).sum() + 0.05 * (W * W).sum()
    assert walk.J - walk.loss == pytest.approx(more, rel=len(W) * 2.0**-52 * 8)
    assert "+ 0.01 ‖W‖₁ + ½·0.1 ‖W‖²" in str(walk) and "+ 0.01 sign(W¹) + 0.1 W¹" in str(walk)


def test_the_text_of_a_large_network_is_short():
    net = fastbp.Network((784, 128, 10), output="softmax", loss="cross_entropy", seed=0)
    text = str(net.walk(np.linspace(-1, 1, 784), 3))
    assert "… (120 more)" in text and "… (781 more)" in text and "y = class 3" in text
    assert len(text.splitlines()) < 120 and max(map(len, text.splitlines())) < 200


def test_numbers_beyond_the_range_give_no_warning():
    net = fastbp.Network((1, 2, 2), activation="exp", output="softmax", loss="cross_entropy")
    net.theta = np.full(net.theta.shape, 200.0)
    walk = net.walk([1.0], 1)
    assert not np.isfinite(walk.layers[0].a).all() and "inf" in str(walk)


def test_what_is_no_sample_is_refused():
    net = fastbp.Network((3, 2), seed=0)
    with pytest.raises(
        ValueError, match=r"one sample, of shape \(3,\), such as X\[0\]; got shape \(5, 3\)"
    ):
        net.walk(np.zeros((5, 3)), [0.0, 0.0])
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        net.walk(1.0, [0.0, 0.0])
    with pytest.raises(ValueError, match="y has 3 columns"):
        net.walk([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    with pytest.raises(TypeError, match="x must hold real numbers"):
        net.walk(["a", "b", "c"], [0.0, 0.0])
    pairs = fastbp.Network((3, 1), loss="margin_ranking")
    with pytest.raises(ValueError, match="margin_ranking compares two"):
        pairs.walk([1.0, 2.0, 3.0], None)
    assert repr(net.walk(np.ones((1, 3)), [[0.0, 0.0]])).startswith("Walk(3-2, J=")


def test_a_loss_of_the_users_is_walked():
    def fourth(a, y):
        return ((a - y) ** 4).sum(axis=1), 4 * (a - y) ** 3

    net = fastbp.Network((2, 1), loss=fourth, dtype="float64")
    net.theta = [1.0, 1.0, 0.0]
    walk = net.walk([1.0, 2.0], 1.0)
    assert walk.J == 16 and walk.layers[0].g == 32 and walk.layers[0].delta == 32
    assert "J = 16" in str(walk)
