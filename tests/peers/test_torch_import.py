"""Modules and criteria of PyTorch, imported: predictions, values of losses, and training steps."""

import copy
import math

import numpy as np
import pytest

import fastbp
from fastbp import export

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

N, K = 24, 4
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
# Up to 5 sums of at most 9 products each, whose errors later layers amplify by factors below 10.
ROUNDING = 5 * (9 + 2) * 10 * np.finfo(np.float64).eps


def named(value):
    """The id of a parameter: of functions the name, as their texts differ between processes."""
    return getattr(value, "__name__", str(value))


def indices(rng, k):
    return rng.integers(k, size=N)


def bits(rng, k):
    return rng.integers(2, size=(N, k)).astype(float)


def fractions(rng, k):
    return rng.uniform(size=(N, k))


def numbers(rng, k):
    return 2 * rng.normal(size=(N, k))


def counts(rng, k):
    return rng.poisson(2, (N, k)).astype(float)


def probabilities(rng, k):
    return rng.dirichlet(np.ones(k), N)


def body(*ending, k=K):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, k), *ending).double()


# (modules, criterion, targets, the loss, the output activation)
CRITERIA = [
    (body(), nn.CrossEntropyLoss(), indices, "cross_entropy", "softmax"),
    (
        body(),
        nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.25),
        indices,
        "cross_entropy(0.25, [1, 2, 0.5, 3])",
        "softmax",
    ),
    (body(nn.LogSoftmax(1)), nn.NLLLoss(), indices, "cross_entropy", "softmax"),
    (
        body(nn.LogSoftmax(-1), nn.Identity()),
        nn.NLLLoss(WEIGHT),
        indices,
        "cross_entropy(class_weight=[1, 2, 0.5, 3])",
        "softmax",
    ),
    (body(nn.LogSoftmax(1)), nn.CrossEntropyLoss(), indices, "cross_entropy", "softmax"),
    (
        body(nn.LogSoftmax(1)),
        nn.KLDivLoss(reduction="batchmean"),
        probabilities,
        "kl_divergence",
        "softmax",
    ),
    (body(k=1), nn.BCEWithLogitsLoss(), fractions, "binary_cross_entropy", "sigmoid"),
    (
        body(k=1),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)),
        bits,
        "binary_cross_entropy(3)",
        "sigmoid",
    ),
    (body(), nn.BCEWithLogitsLoss(), bits, "binary_focal(0, none)", "sigmoid"),
    (body(nn.Sigmoid(), k=1), nn.BCELoss(), fractions, "binary_cross_entropy", "sigmoid"),
    (body(nn.Sigmoid()), nn.BCELoss(), bits, "binary_focal(0, none)", "sigmoid"),
    (body(), nn.MSELoss(), numbers, "mse", "identity"),
    (body(nn.Tanh()), nn.MSELoss(), numbers, "mse", "tanh"),
    (body(), nn.L1Loss(), numbers, "mae", "identity"),
    (body(), nn.HuberLoss(delta=0.5), numbers, "huber(0.5)", "identity"),
    (body(), nn.SmoothL1Loss(), numbers, "huber", "identity"),
    (body(), nn.PoissonNLLLoss(), counts, "poisson", "identity"),
    (
        body(nn.Softplus()),
        nn.PoissonNLLLoss(log_input=False),
        counts,
        "poisson(log_input=false)",
        "softplus",
    ),
    (body(), nn.MultiMarginLoss(margin=0.5), indices, "multi_margin(0.5)", "identity"),
]
RULES = {
    "sgd": (lambda p: fastbp.optim.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "adam": (lambda p: fastbp.optim.Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("module", "criterion", "draw", "spec", "output"), CRITERIA, ids=named)
def test_a_training_loop_goes_on_as_in_pytorch(rng, rule, module, criterion, draw, spec, output):
    net = export.from_torch(module, loss=criterion)
    assert net.criterion == fastbp.losses.Loss(spec)
    assert str(net.activations[-1]) == output
    X, y = rng.normal(size=(N, 3)), draw(rng, net.widths[-1])
    module = copy.deepcopy(module)  # the other rule begins with the same
    ours, theirs = (make(module.parameters()) for make in RULES[rule])
    for step in range(20):
        theirs.zero_grad()
        J = criterion(module(torch.from_numpy(X)), torch.from_numpy(y))
        J.backward()
        theirs.step()
        # near a minimum, Adam divides by small gradients and so amplifies their errors
        found = net.train_batch(X, y, ours)
        assert math.isclose(found, J.item(), rel_tol=1e-10, abs_tol=1e-14), f"step {step}"


def value_in_torch(criterion, module, X, y):
    return criterion(module(torch.from_numpy(X)), torch.from_numpy(y)).item()


def test_a_loss_by_name_pairs_with_logits(rng):
    X, y = rng.normal(size=(N, 3)), rng.integers(K, size=N)
    net = export.from_torch(body(), loss="cross_entropy")  # warnings are errors
    assert str(net.activations[-1]) == "softmax"
    exact = value_in_torch(nn.CrossEntropyLoss(), body(), X, y)
    assert math.isclose(net.loss(X, y), exact, rel_tol=ROUNDING)
    y = bits(rng, K)
    net = export.from_torch(body(), loss="binary_cross_entropy")
    assert str(net.activations[-1]) == "sigmoid"
    exact = K * value_in_torch(nn.BCEWithLogitsLoss(), body(), X, y)  # ours is the sum
    assert math.isclose(net.loss(X, y), exact, rel_tol=ROUNDING)


@pytest.mark.parametrize("magnitude", [1.0, 50.0, 1e4])
def test_a_mean_over_logits_is_exact_at_both_ends(rng, magnitude):
    linear = nn.Sequential(nn.Linear(3, K).double())
    X, y = magnitude * rng.normal(size=(N, 3)), bits(rng, K)
    criterion = nn.BCEWithLogitsLoss()
    criterion(linear(torch.from_numpy(X)), torch.from_numpy(y)).backward()
    net = export.from_torch(linear, loss=criterion)
    J, _ = net.value_and_grad(X, y)
    assert math.isclose(J, value_in_torch(criterion, linear, X, y), rel_tol=ROUNDING)
    atol = (N + 2) * np.finfo(np.float64).eps * magnitude * 10  # no |x| is above 10 magnitude
    np.testing.assert_allclose(net.layers[0].dW, linear[0].weight.grad.T, rtol=0, atol=atol)


def test_output_can_be_named():
    assert str(export.from_torch(body(), output="tanh").activations[-1]) == "tanh"
    assert str(export.from_torch(body(nn.Tanh()), output="tanh").activations[-1]) == "tanh"
    plain = export.from_torch(body(), loss="hinge")
    assert str(plain.activations[-1]) == "identity"
    outside = export.from_torch(body(), loss=nn.NLLLoss(), output="softmax")
    assert outside.criterion == fastbp.losses.Loss("cross_entropy")
    with pytest.warns(UserWarning, match="use output='softmax'"):
        export.from_torch(body(), loss="cross_entropy", output="identity")


class OwnLoss(nn.MSELoss):
    """A criterion of a user."""


@pytest.mark.parametrize(
    ("module", "loss", "message"),
    [
        (body(), nn.MSELoss(reduction="sum"), "reduction='mean' only; got 'sum'.*multiply lr"),
        (body(), nn.SmoothL1Loss(beta=0.5), "beta=1.0 only; got 0.5"),
        (body(), nn.BCEWithLogitsLoss(weight=WEIGHT), "weight=None only; got a tensor"),
        (body(), nn.BCEWithLogitsLoss(pos_weight=WEIGHT), "mean over the 4 outputs.*4 times"),
        (body(), nn.CrossEntropyLoss(ignore_index=1), "ignores the class 1.*class_weight"),
        (body(), nn.PoissonNLLLoss(full=True), "full=False only"),
        (body(), nn.PoissonNLLLoss(log_input=False, eps=1e-6), "eps=1e-08 only"),
        (body(), nn.KLDivLoss(), "reduction='batchmean' only"),
        (body(), nn.GaussianNLLLoss(), "gaussian_nll"),
        (body(), nn.CTCLoss(), "no loss of fastbp is known to equal CTCLoss"),
        (body(), OwnLoss(), "equal OwnLoss.*fastbp.gates.loss"),
        (body(), nn.NLLLoss(), "logarithms of probabilities, but.*logits.*output='softmax'"),
        (body(), nn.BCELoss(), "takes probabilities, but.*output='sigmoid'"),
        (body(nn.Softmax(1)), nn.CrossEntropyLoss(), "takes logits, but.*end in softmax: take it"),
        (body(nn.Sigmoid()), nn.BCEWithLogitsLoss(), "takes logits, but.*end in sigmoid"),
        (body(nn.Softmax(1)), nn.NLLLoss(), "takes logarithms.*end in softmax"),
        (body(nn.LogSoftmax(1)), nn.MSELoss(), "end in LogSoftmax.*use NLLLoss"),
        (body(nn.LogSoftmax(1)), "squared_error", "LogSoftmax.*squared_error does not pair"),
        (body(nn.LogSoftmax(0)), nn.NLLLoss(), "module 3, LogSoftmax.*settings"),
        (body(nn.LogSoftmax(1), nn.Linear(K, 2)), nn.NLLLoss(), "module 3, .*must be the last"),
    ],
    ids=str,
)
def test_criteria_without_an_equal_are_refused(module, loss, message):
    with pytest.raises(ValueError, match=message):
        export.from_torch(module, loss=loss)


def test_outputs_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="CrossEntropyLoss needs output='softmax'; got 'tanh'"):
        export.from_torch(body(), loss=nn.CrossEntropyLoss(), output="tanh")
    with pytest.raises(ValueError, match="end in softmax already; got output='sigmoid'"):
        export.from_torch(body(nn.Softmax(1)), loss="cross_entropy", output="sigmoid")
    with pytest.raises(TypeError, match="cross_entropy is a function of tensors: pass the module"):
        export.from_torch(body(), loss=nn.functional.cross_entropy)
    with pytest.raises(TypeError, match=r"got the class MSELoss: write MSELoss\(\)"):
        export.from_torch(body(), loss=nn.MSELoss)
    with pytest.raises(ValueError, match="end in sigmoid: .* such as 'binary_cross_entropy'"):
        export.from_torch(body(nn.Sigmoid()), loss=nn.BCEWithLogitsLoss())


def test_objects_of_pytorch_get_a_hint_where_ours_are_taken():
    net = export.from_torch(body(), loss=nn.CrossEntropyLoss())
    adam = torch.optim.Adam(body().parameters())
    with pytest.raises(TypeError, match=r"got torch\.optim\.adam\.Adam: write fastbp.optim.Adam"):
        net.fit(np.zeros((4, 3)), [0, 1, 2, 3], epochs=1, optimizer=adam)
    schedule = torch.optim.lr_scheduler.StepLR(adam, 1)
    with pytest.raises(TypeError, match=r"got torch\..*StepLR: fastbp.schedules has its own"):
        net.fit(np.zeros((4, 3)), [0, 1, 2, 3], epochs=1, schedule=schedule)
    for loss in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss, nn.functional.cross_entropy):
        with pytest.raises(TypeError, match="PyTorch.* called 'cross_entropy' here"):
            fastbp.Network((3, 4), loss=loss)
    with pytest.raises(TypeError, match="criterion OwnLoss of PyTorch"):
        fastbp.Network((3, 4), loss=OwnLoss())


def test_a_state_dict_pairs_too(rng):
    X, y = rng.normal(size=(N, 3)), rng.integers(K, size=N)
    exact = value_in_torch(nn.CrossEntropyLoss(), body(), X, y)
    for loss in ("cross_entropy", nn.CrossEntropyLoss()):
        net = export.from_state_dict(body().state_dict(), activation="tanh", loss=loss)
        assert math.isclose(net.loss(X, y), exact, rel_tol=ROUNDING)


# ---- the modules --------------------------------------------------------------------------


def settled(*modules):
    """A Sequential in eval mode, whose BatchNorm1d have statistics and parameters."""
    torch.manual_seed(1)
    module = nn.Sequential(*modules).double()
    for each in module.modules():
        if isinstance(each, nn.BatchNorm1d) and each.track_running_stats:
            each.running_mean.normal_()
            each.running_var.uniform_(0.1, 2)
            if each.affine:
                nn.init.normal_(each.weight)
                nn.init.normal_(each.bias)
    return module.eval()


def linear(n_in=8, n_out=8, bias=True):
    return nn.Linear(n_in, n_out, bias=bias)


def batch_norm(n=8, **options):
    return nn.BatchNorm1d(n, **options)


FOLDED = {
    "after Linear": lambda: [linear(5), batch_norm(), nn.ReLU(), linear()],
    "after Linear without bias": lambda: [linear(5, bias=False), batch_norm(), nn.Tanh(), linear()],
    "after the last Linear": lambda: [linear(5), nn.Tanh(), linear(), batch_norm()],
    "before Linear": lambda: [linear(5), nn.Tanh(), batch_norm(), linear()],
    "before Linear without bias": lambda: [linear(5), nn.GELU(), batch_norm(), linear(bias=False)],
    "of the inputs": lambda: [batch_norm(5), linear(5), nn.ReLU(), linear()],
    "after LayerNorm": lambda: [linear(5), nn.LayerNorm(8), batch_norm(), nn.SiLU(), linear()],
    "after RMSNorm": lambda: [linear(5), nn.RMSNorm(8), batch_norm(), linear()],
    "before LayerNorm": lambda: [linear(5), batch_norm(), nn.LayerNorm(8), linear()],
    "without affine": lambda: [linear(5), batch_norm(affine=False, eps=1e-3), nn.ELU(), linear()],
    "two": lambda: [linear(5), batch_norm(), batch_norm(), nn.Tanh(), linear()],
    "two before Linear": lambda: [batch_norm(5), nn.Identity(), batch_norm(5), linear(5)],
    "before and after": lambda: [batch_norm(5), linear(5), batch_norm(), nn.Tanh(), linear()],
    "with Dropout": lambda: [linear(5), batch_norm(), nn.ReLU(), nn.Dropout(0.3), linear()],
    "after Dropout": lambda: [linear(5), nn.ReLU(), nn.Dropout(0.3), batch_norm(), linear()],
    "nested": lambda: [
        nn.Flatten(),
        nn.Sequential(linear(5), nn.Identity(), batch_norm(), nn.ReLU()),
        nn.Sequential(nn.Sequential(linear()), nn.Dropout(0)),
    ],
}


@pytest.mark.parametrize("name", FOLDED)
def test_batch_norms_are_read(rng, name):
    module = settled(*FOLDED[name]())
    net = export.from_torch(module)
    X = rng.normal(size=(50, 5))
    exact = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(net.predict(X), exact, rtol=0, atol=ROUNDING * abs(exact).max())
    assert net.dtype == np.float64
    assert len(net.layers) == sum(isinstance(each, nn.Linear) for each in module.modules())
    dropped = [each.p for each in module.modules() if isinstance(each, nn.Dropout) and each.p]
    assert [layer.dense.dropout for layer in net.layers if layer.dense.dropout] == dropped


def test_which_batch_norms_stay():
    """Those with parameters that directly follow a hidden Linear."""
    stay = {"after Linear", "after Linear without bias", "two", "before and after"}
    stay |= {"with Dropout", "nested"}
    for name, make in FOLDED.items():
        norm = export.from_torch(settled(*make())).layers[0].dense.norm
        assert (norm is not None and norm.by_batch) == (name in stay), name


def test_folding_rounds_once_to_the_dtype_of_the_module():
    module = settled(*FOLDED["before Linear"]())
    exact = export.from_torch(module).theta
    net = export.from_torch(module.float())
    assert net.dtype == np.float32
    # three factors and a sum of two are rounded before, one result after
    np.testing.assert_allclose(net.theta, exact, rtol=6e-7, atol=6e-7)


def test_dropout_of_inputs_and_one_without_statistics():
    net = export.from_torch(nn.Sequential(nn.Dropout(0.2), linear(5), nn.ReLU(), linear()))
    assert net.input_dropout == 0.2
    net = export.from_torch(settled(nn.Dropout(0.2), batch_norm(5), linear(5)))
    assert net.input_dropout == 0.2
    unshifted = settled(linear(5), nn.Tanh(), batch_norm(affine=False), nn.Dropout(0.2), linear())
    unshifted[2].running_mean.zero_()
    assert export.from_torch(unshifted).layers[0].dense.dropout == 0.2


def test_half_precision_becomes_float32():
    net = export.from_torch(nn.Sequential(linear(5, 2)).bfloat16())
    assert net.dtype == np.float32


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([linear(5), batch_norm(track_running_stats=False)], "no running statistics.*LayerNorm"),
        (
            [linear(5), nn.ReLU(), batch_norm(), nn.Dropout(0.2), linear()],
            "module 2, BatchNorm1d, cannot be folded through module 3, Dropout.*put Dropout before",
        ),
        (
            [linear(5), nn.ReLU(), batch_norm(), nn.Tanh(), linear()],
            "module 2, BatchNorm1d, cannot be folded: it is followed by module 3, Tanh, and needs",
        ),
        (
            [linear(5), nn.ReLU(), batch_norm()],
            r"it is followed by no module.*Linear\(8, 8\) with the identity",
        ),
        ([linear(5), batch_norm(7)], "module 1, BatchNorm1d, has 7 features; 8 units come before"),
        ([linear(5), nn.ReLU(), linear(7)], "module 2, Linear, takes 7 inputs; 8 units"),
        ([linear(5), nn.Sequential(nn.ReLU(), nn.Conv1d(1, 1, 1))], "module 1.1, Conv1d"),
        ([nn.Flatten(0), linear(5)], "module 0, Flatten"),
        ([linear(5), nn.BatchNorm2d(8)], "module 1, BatchNorm2d.*symbolic_trace"),
        (
            [linear(5), batch_norm(), nn.Dropout(0.2), nn.ReLU(), linear()],
            "module 3, ReLU, does not fit: expected Linear, .*; put ReLU before Dropout, which",
        ),
        (
            [linear(5), nn.Dropout(0.2), nn.Dropout(0.1), linear()],
            "module 2, Dropout, does not fit: .*; leave one Dropout out$",
        ),
        (
            [linear(5), nn.ReLU(), nn.LayerNorm(8), linear()],
            r"module 2, LayerNorm, does not fit: .*; put torch.nn.Linear\(8, 8\) with the identity",
        ),
        ([linear(5), nn.ReLU(), nn.Tanh()], "module 2, Tanh, does not fit: .*symbolic_trace"),
        (
            [linear(5), nn.Softplus(beta=2)],
            r"module 1, Softplus\(beta=2.*symbolic_trace.*returns .*functional.softplus\(z, 2\)$",
        ),
        ([linear(5), nn.Hardtanh(-2, 2)], r"module 1, Hardtanh.*returns z.clamp\(-2, 2\)$"),
        ([linear(5), nn.Softmax(0)], r"module 1, Softmax.*: write Softmax\(1\)"),
    ],
)
def test_modules_that_cannot_be_read_are_named(modules, message):
    with pytest.raises(ValueError, match=message):
        export.from_torch(settled(*modules))


class OwnSoftplus(nn.Module):
    def forward(self, z):
        return torch.nn.functional.softplus(z, 2)


class OwnHardtanh(nn.Module):
    def forward(self, z):
        return z.clamp(-2, 2)


@pytest.mark.parametrize(
    ("module", "own"),
    [(nn.Softplus(beta=2), OwnSoftplus()), (nn.Hardtanh(-2, 2), OwnHardtanh())],
    ids=["Softplus", "Hardtanh"],
)
def test_what_the_errors_propose_computes_the_same(rng, module, own):
    torch.manual_seed(2)
    layers = [linear(5).double(), linear(8, 2).double()]
    net = export.from_torch(nn.Sequential(layers[0], torch.fx.symbolic_trace(own), layers[1]))
    X = rng.normal(size=(20, 5))
    exact = nn.Sequential(layers[0], module, layers[1])(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(net.predict(X), exact, rtol=0, atol=ROUNDING * abs(exact).max())


def test_cross_entropy_of_one_logit_warns():
    with pytest.warns(UserWarning, match=r"is always 1, .*BCEWithLogitsLoss in PyTorch") as caught:
        net = export.from_torch(nn.Sequential(linear(5, 1)), loss=nn.CrossEntropyLoss())
    assert caught[0].filename == __file__
    assert (net.predict(np.zeros((2, 5))) == 1).all()
    export.from_torch(nn.Sequential(linear(5, 1)), loss=nn.BCEWithLogitsLoss())


def test_batch_norm_in_training_mode_cannot_be_folded():
    for modules, place in (
        ([linear(5), nn.ReLU(), batch_norm(), linear()], 2),
        ([linear(5), batch_norm()], 1),
        ([linear(5), batch_norm(momentum=None), nn.ReLU(), linear()], 1),
        ([linear(5), batch_norm(), nn.LayerNorm(8), linear()], 1),
    ):
        module = nn.Sequential(*modules)
        message = rf"module {place}, BatchNorm1d, is in training mode.*net.eval\(\)"
        with pytest.raises(ValueError, match=message):
            export.from_torch(module)
        export.from_torch(module.eval())


def test_modules_that_are_no_sequential_are_refused():
    with pytest.raises(TypeError, match=r"Sequential; got Linear.*from_state_dict"):
        export.from_torch(linear())
