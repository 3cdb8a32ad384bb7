"""The loss and the output activation of an imported network, which have to fit together.

PyTorch's criteria for classes take logits or logarithms of probabilities. The losses of fastbp take
what the output activation gives, and are fused with the activation that they pair with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..activations import Activation
from ..activations import Spec as ActivationSpec
from ..activations import resolve as resolve_activation
from ..losses import Loss
from ..losses import resolve as resolve_loss
from ..losses._losses import is_criterion

LOGITS, LOGARITHMS = "logits", "logarithms"  # what modules end in, if it is no activation

_TAKES = {
    "logits": "logits",
    "probabilities": "probabilities",
    "logarithms": "logarithms of probabilities",
}


def _cross_entropy(criterion: Any, n_out: int) -> Loss:
    if 0 <= criterion.ignore_index < n_out:
        raise ValueError(
            f"{type(criterion).__name__} ignores the class {criterion.ignore_index}; in fastbp, "
            "the weight of such a class is 0: loss=Loss('cross_entropy', class_weight=[…])"
        )
    smoothing = getattr(criterion, "label_smoothing", 0.0)
    return Loss("cross_entropy", label_smoothing=smoothing, class_weight=_list(criterion.weight))


def _binary(criterion: Any, n_out: int) -> Loss:
    """With several outputs, PyTorch takes their mean, as the focal loss does, here with γ = 0."""
    weights = _list(getattr(criterion, "pos_weight", None))
    if n_out == 1:
        return Loss("binary_cross_entropy", pos_weight=weights)
    if weights is None:
        return Loss("binary_focal", gamma=0.0, alpha=None)
    raise ValueError(
        f"{type(criterion).__name__} with pos_weight is a mean over the {n_out} outputs, which no "
        "loss of fastbp is; with loss=Loss('binary_cross_entropy', pos_weight=[…]), their sum, J "
        f"and its gradients are {n_out} times as large"
    )


def _poisson(criterion: Any, n_out: int) -> Loss:
    if not criterion.log_input and criterion.eps != 1e-8:
        raise _unlike(criterion, "eps", criterion.eps, 1e-8)
    return Loss("poisson", log_input=criterion.log_input)


def _named(name: str) -> Callable[[Any, int], Loss]:
    return lambda criterion, n_out: Loss(name)


_MEAN: dict[str, object] = {"reduction": "mean"}
# {class of torch.nn: (what it takes, the settings that it must have, its Loss)}
_CRITERIA: dict[str, tuple[str | None, dict[str, object], Callable[[Any, int], Loss]]] = {
    "CrossEntropyLoss": ("logits", _MEAN, _cross_entropy),
    "NLLLoss": ("logarithms", _MEAN, _cross_entropy),
    "BCEWithLogitsLoss": ("logits", _MEAN | {"weight": None}, _binary),
    "BCELoss": ("probabilities", _MEAN | {"weight": None}, _binary),
    "KLDivLoss": (
        "logarithms",
        {"reduction": "batchmean", "log_target": False},
        _named("kl_divergence"),
    ),
    "MSELoss": (None, _MEAN, _named("mse")),
    "L1Loss": (None, _MEAN, _named("mae")),
    "HuberLoss": (None, _MEAN, lambda criterion, n_out: Loss("huber", criterion.delta)),
    "SmoothL1Loss": (None, _MEAN | {"beta": 1.0}, _named("huber")),
    "PoissonNLLLoss": (None, _MEAN | {"full": False}, _poisson),
    "MultiMarginLoss": (
        None,
        _MEAN | {"p": 1, "weight": None},
        lambda criterion, n_out: Loss("multi_margin", criterion.margin),
    ),
}


def paired(
    loss: Any, output: ActivationSpec | None, ending: Activation | str, n_out: int
) -> tuple[Loss, Activation]:
    """Return the loss and the output activation of a network that is imported.

    Parameters
    ----------
    loss : str, Loss, LossFormula, callable or torch.nn.Module
        A loss of fastbp, or a criterion of torch.nn.
    output : str, Activation, ActivationFormula or None
        The output activation, if the user names it; None takes the one that the loss pairs with if
        the imported layers end in logits.
    ending : Activation, LOGITS or LOGARITHMS
        What the imported layers end in.
    n_out : int
        Number of outputs.

    Raises
    ------
    TypeError, ValueError
        No loss of fastbp equals the criterion, or it does not fit the outputs.

    Examples
    --------
    >>> loss, output = paired("cross_entropy", None, LOGITS, 3)
    >>> str(loss), str(output)
    ('cross_entropy', 'softmax')
    """
    criterion, takes = _loss_of(loss, n_out)
    kind = str(criterion) if takes is None else type(loss).__name__
    given = None if output is None else resolve_activation(output)
    if ending == LOGITS:
        if given is None and takes in ("probabilities", "logarithms"):
            raise ValueError(
                f"{kind} takes {_TAKES[takes]}, but the modules end in logits: use a criterion of "
                f"logits, or pass output={criterion.pair!r} if your code computes the "
                f"{takes} from the outputs of the modules"
            )
        settled = Activation(criterion.pair or "identity") if given is None else given
        if takes is not None and not criterion.pairs_with(settled):
            raise ValueError(f"{kind} needs output={criterion.pair!r}; got {str(settled)!r}")
        return criterion, settled
    if ending == LOGARITHMS:
        if criterion.pair != "softmax":
            raise ValueError(
                f"the modules end in LogSoftmax, but {kind} does not pair with softmax: use "
                "NLLLoss, which is loss='cross_entropy' here, or replace LogSoftmax by Softmax"
            )
        ending = Activation("softmax")
    elif takes in ("logits", "logarithms"):
        fitting = "binary_cross_entropy" if str(ending) == "sigmoid" else "cross_entropy"
        raise ValueError(
            f"{kind} takes {_TAKES[takes]}, but the modules end in {ending}: take it out of them, "
            f"or name a loss of fastbp that takes its outputs, such as {fitting!r}"
        )
    assert isinstance(ending, Activation)
    if given not in (None, ending):
        raise ValueError(f"the modules end in {ending} already; got output={str(given)!r}")
    return criterion, ending


def _loss_of(loss: Any, n_out: int) -> tuple[Loss, str | None]:
    """Return the Loss, and what the criterion takes; None if that is what the modules give."""
    if getattr(loss, "__module__", None) == "torch.nn.functional":
        raise TypeError(
            f"torch.nn.functional.{loss.__name__} is a function of tensors: pass the module, such "
            "as torch.nn.CrossEntropyLoss(), or the name of a loss, such as 'cross_entropy'"
        )
    if not is_criterion(loss):
        return resolve_loss(loss), None
    if isinstance(loss, type):
        name = loss.__name__
        raise TypeError(f"loss must be a name or an object; got the class {name}: write {name}()")
    kind = type(loss).__name__
    if type(loss).__module__ != "torch.nn.modules.loss" or kind not in _CRITERIA:
        way = "a loss of your own is a formula, see fastbp.gates.loss"
        if kind == "GaussianNLLLoss":
            way = "'gaussian_nll' takes outputs that are means and logarithms of variances"
        raise ValueError(
            f"no loss of fastbp is known to equal {kind}; those that are read are "
            f"{', '.join(_CRITERIA)}: {way}"
        )
    takes, settings, make = _CRITERIA[kind]
    for name, expected in settings.items():
        found = getattr(loss, name)
        if found is not expected and (found is None or expected is None or found != expected):
            raise _unlike(loss, name, found, expected)
    return make(loss, n_out), takes


def _unlike(criterion: Any, name: str, found: object, expected: object) -> ValueError:
    way = "a loss of your own is a formula, see fastbp.gates.loss"
    if name == "reduction":
        way = "fastbp divides J by the number of rows; for the steps of a sum, multiply lr by it"
    shown = "a tensor" if hasattr(found, "detach") else repr(found)
    return ValueError(
        f"{type(criterion).__name__} equals a loss of fastbp with {name}={expected!r} only; "
        f"got {shown}: {way}"
    )


def _list(tensor: Any) -> tuple[float, ...] | None:
    """The numbers of a tensor of weights."""
    return None if tensor is None else tuple(map(float, tensor.detach().reshape(-1).tolist()))
