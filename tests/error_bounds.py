"""Bounds for the rounding errors of a computed forward and backward pass.

Running error analysis, element by element, on the float64 reference. Every quantity has a
bound E for the error of a computation in a dtype with machine epsilon eps. A sum of k products has
an error of at most k eps Σ|a||b|; a function multiplies E by its slope and adds a few eps of its
result. eps is two unit roundoffs: one for the tested computation, one for the rounding of the
reference and for terms of second order. Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed., ch. 3. `formula_bounds` has the analysis of activations and losses that are formulas.
"""

import formula_bounds
import numpy as np

from fastbp.losses import FormulaLoss
from fastbp.reference._formulas import ACTIVATIONS

EPS64 = float(np.finfo(np.float64).eps)

# eps of a per element: 4 ulp at most of the engine's functions, and what stands around them
OPERATIONS = {
    "identity": 0,
    "relu": 0,
    "leaky_relu": 3,
    "sigmoid": 8,
    "tanh": 6,
    "elu": 10,
    "softplus": 8,
    "selu": 12,
    "relu6": 0,
    "hard_tanh": 0,
    "hard_sigmoid": 4,
    "softsign": 4,
    "exp": 6,
    "silu": 8,
    "gelu": 12,
    "gelu_tanh": 10,
    "mish": 8,
    "sin": 6,
}
# most of |σ''| where it is more than 1
CURVATURE = {"selu": 1.76, "softsign": 2.0, "mish": 1.1}
# where σ' jumps, and how far
KINKS = {
    "relu": lambda alpha: [(0, 1)],
    "leaky_relu": lambda alpha: [(0, abs(1 - alpha))],
    "elu": lambda alpha: [(0, abs(1 - alpha))],
    "selu": lambda alpha: [(0, SELU[0] * SELU[1] - SELU[0])],
    "relu6": lambda alpha: [(0, 1), (6, 1)],
    "hard_tanh": lambda alpha: [(-1, 1), (1, 1)],
    "hard_sigmoid": lambda alpha: [(-3, 1 / 6), (3, 1 / 6)],
}
SELU = (1.0507009873554805, 1.6732632423543772)


def product(E_a, a, B):
    """E of a @ B for an a with error E_a and an exact B, without the rounding of the sum itself."""
    return E_a @ abs(B)


def sum_rounding(k, eps):
    """The error of a sum of k products and two further terms, relative to the sum of magnitudes."""
    return (k + 2) * eps


def slope(name, alpha, z, a):
    """σ'(z), (batch, n), of an element-wise activation."""
    return ACTIVATIONS[name].backward(np.ones_like(a), z, a, alpha)


def jump(name, alpha, z, E_z, eps):
    """The error of σ' where a kink of σ is within E_z, or within rounding, of z."""
    return sum(
        np.where(abs(z - at) <= E_z + 4 * eps * abs(at), height, 0.0)
        for at, height in KINKS.get(name, lambda alpha: [(0, 0)])(alpha)
    )


def curvature_bound(name, alpha, z, E_z):
    """An upper bound of |σ''| within E_z of z."""
    if name == "exp":
        return np.exp(z + E_z)
    return CURVATURE.get(name, max(1.0, alpha))


def forward_error(name, alpha, z, a, E_z, eps):
    """E of a = σ(z) for a z with error E_z."""
    if name == "softmax":
        width = z.shape[1]
        fall = z.max(axis=1, keepdims=True) - z
        E_top = E_z.max(axis=1, keepdims=True)
        return a * np.expm1(E_z + E_top + (fall + width + 12) * eps)
    steepest = abs(slope(name, alpha, z, a)) + E_z * curvature_bound(name, alpha, z, E_z)
    steepest += jump(name, alpha, z, E_z, eps)
    # relative to a; in its tail, the tanh form of gelu rounds an exponent
    size = np.maximum(abs(a), abs(z) / 8) if name == "gelu_tanh" else abs(a)
    return steepest * E_z + OPERATIONS[name] * eps * size


def slope_error(name, alpha, z, a, E_z, E_a, eps):
    """E of σ' where it is computed from a, which errs by E_a, or (not in the list) from z."""
    d = slope(name, alpha, z, a)
    smooth = {
        "identity": lambda: 0 * a,
        "sigmoid": lambda: abs(1 - 2 * a) * E_a + E_a**2 + 2 * eps * abs(a),
        "tanh": lambda: 2 * abs(a) * E_a + E_a**2 + 2 * eps,
        "relu": lambda: 0 * a,
        "leaky_relu": lambda: np.where(z <= 0, 3 * eps * alpha, 0),
        "elu": lambda: np.where(z <= E_z, E_a + 10 * eps * alpha, 0),
        "softplus": lambda: np.exp(-a) * E_a + E_a**2 + 12 * eps * d,
        "selu": lambda: np.where(z <= E_z, E_a + 12 * eps * SELU[0] * SELU[1], 3 * eps),
        "relu6": lambda: 0 * a,
        "hard_tanh": lambda: 0 * a,
        "hard_sigmoid": lambda: 2 * eps * d,
        "softsign": lambda: 2 * (1 - abs(a)) * E_a + E_a**2 + 6 * eps * (1 - abs(a)),
        "exp": lambda: E_a,
    }.get(name, lambda: curvature_bound(name, alpha, z, E_z) * E_z + 16 * eps)()
    return smooth + jump(name, alpha, z, E_z, eps)


def pull_back_error(name, alpha, g, z, a, E_g, E_z, E_a, eps):
    """E of δ = ∂J/∂z computed from g = ∂J/∂a, which has error E_g."""
    if name == "softmax":
        width = a.shape[1]
        mean = (g * a).sum(axis=1, keepdims=True)
        E_mean = (E_g * a + abs(g) * E_a + E_g * E_a).sum(axis=1, keepdims=True)
        E_mean += sum_rounding(width, eps) * (abs(g) * a).sum(axis=1, keepdims=True)
        E_gap = E_g + E_mean + eps * (abs(g) + abs(mean))
        return E_a * abs(g - mean) + (a + E_a) * E_gap + 2 * eps * a * abs(g - mean)
    d = slope(name, alpha, z, a)
    E_d = slope_error(name, alpha, z, a, E_z, E_a, eps)
    return E_g * abs(d) + (abs(g) + E_g) * E_d + 3 * eps * abs(g * d)


def value_error(loss, paired, z, a, y, E_z, E_a, eps):
    """E of J_i, (batch,), of the loss with this name."""
    n = a.shape[1]
    if paired and loss == "cross_entropy":
        rounding = n + 16 + 5 * np.log(n) + 2 * np.ptp(z, axis=1)
        return ((a + y) * E_z + E_z**2).sum(axis=1) + eps * rounding
    if paired:
        terms = (1 + y) * abs(z) + np.log1p(np.exp(-abs(z)))
        return (abs(a - y) * E_z + E_z**2 + (n + 8) * eps * terms).sum(axis=1)
    if loss in ("squared_error", "mse"):
        scale = 0.5 if loss == "squared_error" else 1 / n
        E = scale * (2 * abs(a - y) * E_a + E_a**2)
        return (E + (n + 5) * eps * scale * (a - y) ** 2).sum(axis=1)
    E = y / (a - E_a) * E_a + (n + 8) * eps * y * abs(np.log(a))
    if loss == "binary_cross_entropy":
        rest = 1 - a
        E += (1 - y) * (E_a + eps) / (rest - E_a) + (n + 8) * eps * (1 - y) * abs(np.log(rest))
    return E.sum(axis=1)


def loss_gradient(loss, a, y, E_a, eps):
    """(g, E): ∂J_i/∂a of an unpaired loss, for outputs away from the clip of a logarithm."""
    n = a.shape[1]
    if loss in ("squared_error", "mse"):
        scale = 1 if loss == "squared_error" else 2 / n
        g = scale * (a - y)
        return g, scale * E_a + 4 * eps * abs(g)
    if loss == "cross_entropy":
        g = -y / a
        return g, y / (a * (a - E_a)) * E_a + 2 * eps * abs(g)
    rest = 1 - a
    g = (a - y) / (a * rest)
    curvature = y / (a * (a - E_a)) + (1 - y) / (rest * (rest - E_a))
    return g, curvature * E_a + (5 + 1 / rest) * eps * abs(g)


class ErrorBounds:
    """E of everything that forward and backward of a reference network have computed.

    net: a float64 `fastbp.reference.Network` after both; y dense (batch, n_L), s (batch,). Lists
    `z`, `a`, `delta`, `dW`, `db`, `dconstants` by layer, `input` (batch, n_0), `J`. With
    exact_delta the δ of the last layer is taken as given, as `backward_from` does, and J is None.
    With written the computation walks through formulas as the user wrote them, and not through the
    merged ones.
    """

    def __init__(self, net, y, s, dtype, exact_delta=False, written=False):
        self._net, self._y, self._s, self._written = net, y, s, written
        self._X = net._backend._pass.trace[1].u
        self._eps, self._dtype = float(np.finfo(dtype).eps), dtype
        self.z, self.a, self.J = [], [], None
        self.dconstants = [{} for _ in net.layers]
        self._forward()
        self._backward(0 * net.layers[-1].delta if exact_delta else self._output())

    def is_finite(self):
        """Whether all bounds are: no value of a formula may err beyond the end of a function."""
        lists = (self.z, self.a, self.delta, self.dW, self.db)
        found = [*(each for some in lists for each in some), self.input, self.J]
        found += [each for some in self.dconstants for each in some.values()]
        return all(np.isfinite(each).all() for each in found)

    def _forward(self):
        a, E_a = self._X, 0 * self._X
        for layer in self._net.layers:
            size = abs(a) @ abs(layer.W) + abs(layer.b)
            E_z = product(E_a, a, layer.W) + sum_rounding(len(layer.W), self._eps) * size
            a, E_a = layer.a, self._value_error(layer, E_z)
            self.z.append(E_z)
            self.a.append(E_a)

    def _value_error(self, layer, E_z):
        """E of a of a layer."""
        name, alpha = layer.activation.name, layer.activation.alpha
        if layer.activation.formula is None:
            return forward_error(name, alpha, layer.z, layer.a, E_z, self._eps)
        return self._formula(layer, 0, [], E_z, [])[0][1]

    def _pull_back_error(self, i, g, E_g):
        """E of δ of layer i from g = ∂J/∂a, which has error E_g. Sets `dconstants` as well."""
        layer, eps = self._net.layers[i], self._eps
        name, alpha = layer.activation.name, layer.activation.alpha
        if layer.activation.formula is None:
            E_z, E_a = self.z[i], self.a[i]
            return pull_back_error(name, alpha, g, layer.z, layer.a, E_g, E_z, E_a, eps)
        (_, E_delta), *rest = self._formula(layer, 1, [g], self.z[i], [E_g])
        s = self._s[:, None]
        for constant, (dc, E) in zip(layer.constants, rest, strict=True):
            terms = dc.size // layer.constants[constant].size + 6
            total = s * E + terms * eps * s * abs(dc)
            axis = 0 if layer.activation.per == "unit" else None
            self.dconstants[i][constant] = total.sum(axis=axis) / self._s.sum()
        return E_delta

    def _formula(self, layer, which, more, E_z, E_more):
        """[(value, E), …] of a program of the layer's formula, on z, the constants and `more`."""
        constants = [*layer.constants.values()]
        given = [layer.z, *(np.broadcast_to(c, layer.z.shape) for c in constants), *more]
        errors = [E_z, *(0.0 for _ in constants), *E_more]
        if layer.activation.per == "layer":
            given[1 : 1 + len(constants)] = [c[0] for c in constants]
        formula = layer.activation.formula
        written = formula_bounds.written_activation
        programs = written(formula) if self._written else formula.programs()
        return formula_bounds.bounds(programs[which], given, errors, self._dtype)

    def _loss_formula(self, which, top, E_a):
        """[(value, E), …] of a program of a loss that is a formula."""
        formula = self._net.criterion.formula
        programs = formula_bounds.written_loss(formula) if self._written else formula.programs()
        return formula_bounds.bounds(programs[which], [top.a, self._y], [E_a, 0.0], self._dtype)

    def _output(self):
        """E of δ^L. Sets J as well."""
        net, y, s, eps = self._net, self._y, self._s, self._eps
        top, E_z, E_a = net.layers[-1], self.z[-1], self.a[-1]
        loss, paired = net.criterion.name, net.criterion.pairs_with(top.activation)
        if isinstance(net.criterion, FormulaLoss):
            E_rows = self._loss_formula(0, top, E_a)[0][1][:, 0]
        else:
            E_rows = value_error(loss, paired, top.z, top.a, y, E_z, E_a, eps)
        W_size = sum(net.l1 * abs(p.W).sum() + net.l2 / 2 * (p.W**2).sum() for p in net.layers)
        penalty = (max(net.widths) + 6) * eps * W_size
        J_size = abs(net.loss(self._X, y, s))
        self.J = (s @ E_rows) / s.sum() + penalty + (len(s) + net.theta.size + 8) * EPS64 * J_size
        if paired:
            return E_a + eps * abs(top.a - y)
        if isinstance(net.criterion, FormulaLoss):
            _, (g, E_g) = self._loss_formula(1, top, E_a)
        else:
            g, E_g = loss_gradient(loss, top.a, y, E_a, eps)
        return self._pull_back_error(len(net.layers) - 1, g, E_g)

    def _backward(self, E_delta):
        net, eps, S = self._net, self._eps, self._s.sum()
        s = self._s[:, None]
        n_layers = len(net.layers)
        self.delta, self.dW, self.db = ([None] * n_layers for _ in range(3))
        for i in reversed(range(n_layers)):
            layer, below = net.layers[i], net.layers[i - 1]
            a_in, E_in = (abs(below.a), self.a[i - 1]) if i else (abs(self._X), 0 * self._X)
            size, E = s * abs(layer.delta), s * E_delta
            terms = len(s) + 6
            self.dW[i] = (E_in.T @ (size + E) + a_in.T @ E + terms * eps * a_in.T @ size) / S
            self.dW[i] += 4 * eps * (net.l1 + net.l2 * abs(layer.W))
            self.db[i] = (E + terms * eps * size).sum(axis=0) / S
            self.delta[i] = E_delta
            E_g = product(E_delta, layer.delta, layer.W.T)
            E_g += sum_rounding(layer.W.shape[1], eps) * (abs(layer.delta) @ abs(layer.W).T)
            if i == 0:
                self.input = E_g
                return
            E_delta = self._pull_back_error(i - 1, layer.delta @ layer.W.T, E_g)
