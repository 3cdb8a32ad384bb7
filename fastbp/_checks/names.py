"""Names of activations, losses, optimisers and other objects: the check of each, and its hints.

The names of a registry are in lower case, and a caller may write them in any case. For a name that
another library gives to the same thing, the error says the name here; for a misspelt one, the
nearest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .._messages import readable

# Adjacent parts match no common character, so no text takes long to match, even from a forged file.
_SPEC = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\)\s*)?")
# Words that other libraries append to a name, as in CrossEntropyLoss, StepLR and f1_score.
_ENDINGS = ("loss", "lr", "score")
_SHOWN = 200  # characters of an unknown name, in a message

# Names of other libraries by what they name; without punctuation, in lower case, without an ending
# of `_ENDINGS`. A value is a name of the registry, with options or not, or a sentence.
_ELSEWHERE: dict[str, dict[str, str]] = {
    "activation": {
        "swish": "silu",
        "logistic": "sigmoid",
        "sigm": "sigmoid",
        "linear": "identity",
        "none": "identity",
        "lrelu": "leaky_relu",
        "rectifier": "relu",
        "exponential": "exp",
        "sine": "sin",
        "siren": "sin",
        "gelunew": "gelu_tanh",
        "geluapproximate": "gelu_tanh",
        "gelupytorchtanh": "gelu_tanh",
        "quickgelu": "write it as a formula: 'formula(z * sigmoid(1.702 * z))'",
        "hswish": "write it as a formula: 'formula(z * minimum(maximum(z + 3, 0), 6) / 6)'",
        "hardswish": "write it as a formula: 'formula(z * minimum(maximum(z + 3, 0), 6) / 6)'",
        "logsoftmax": "use output='softmax' with loss='cross_entropy', which takes the logarithm",
    },
    "loss": {
        "l1": "mae",
        "meanabsoluteerror": "mae",
        "absoluteerror": "mae",
        "l2": "squared_error",
        "sse": "squared_error",
        "quadratic": "squared_error",
        "meansquarederror": "mse",
        "smoothl1": "huber",
        "bce": "binary_cross_entropy",
        "bcewithlogits": "binary_cross_entropy",
        "ce": "cross_entropy",
        "log": "cross_entropy",
        "nll": "cross_entropy",
        "negativeloglikelihood": "cross_entropy",
        "categoricalcrossentropy": "cross_entropy",
        "sparsecategoricalcrossentropy": "cross_entropy",
        "softmaxcrossentropy": "cross_entropy",
        "kl": "kl_divergence",
        "kld": "kl_divergence",
        "kldiv": "kl_divergence",
        "kullbackleibler": "kl_divergence",
        "kullbackleiblerdivergence": "kl_divergence",
        "pinball": "quantile",
        "poissonnll": "poisson",
        "categoricalfocalcrossentropy": "focal",
        "binaryfocalcrossentropy": "binary_focal",
    },
    "optimizer": {
        "gd": "sgd",
        "gradientdescent": "sgd",
        "stochasticgradientdescent": "sgd",
        "bfgs": "lbfgs",
        "momentum": "write fastbp.optim.SGD(lr, momentum=0.9)",
        "nesterov": "write fastbp.optim.SGD(lr, momentum=0.9, nesterov=True)",
        "amsgrad": "write fastbp.optim.Adam(amsgrad=True)",
        "adamwschedulefree": "schedulefree",
        "sgdschedulefree": "write fastbp.optim.ScheduleFree(lr, 'sgd')",
    },
    "schedule": {
        "none": "write schedule=None",
        "cosineannealing": "cosine",
        "cosinedecay": "cosine",
        "1cycle": "one_cycle",
        "poly": "polynomial",
        "reducelronplateau": "plateau",
        "reduceonplateau": "plateau",
        "step": "write fastbp.schedules.StepLR(step_size, gamma)",
        "exponential": "write fastbp.schedules.ExponentialLR(gamma)",
        "warmup": "write fastbp.schedules.Warmup(schedule)",
    },
    "init": {
        "xavier": "glorot",
        "xavieruniform": "glorot_uniform",
        "xaviernormal": "glorot_normal",
        "kaiming": "he",
        "kaiminguniform": "he_uniform",
        "kaimingnormal": "he_normal",
        "default": "auto",
        "zero": "zeros",
        "gaussian": "normal",
        "randomnormal": "normal",
    },
    "norm": {
        "layernorm": "layer",
        "rmsnorm": "rms",
        **dict.fromkeys(("batchnorm", "batchnorm1d", "batchnormalization"), "batch"),
    },
    "metric": {
        "acc": "accuracy",
        "categoricalaccuracy": "accuracy",
        "sparsecategoricalaccuracy": "accuracy",
        "binaryaccuracy": "accuracy",
        "topkcategoricalaccuracy": "top_k_accuracy",
        "top5accuracy": "top_k_accuracy(5)",
        "meansquarederror": "mse",
        "meanabsoluteerror": "mae",
        "rootmeansquarederror": "rmse",
        "auc": "pass the function sklearn.metrics.roc_auc_score",
        "rocauc": "pass the function sklearn.metrics.roc_auc_score",
    },
}
# A loss of the user's names its score in a text, so sentences about functions do not help there.
_ELSEWHERE["score"] = {
    there: here
    for there, here in _ELSEWHERE["metric"].items()
    if " " not in here and there != "binaryaccuracy"  # a score has that name
}


def known_name(kind: str, got: str, names: Iterable[str]) -> str:
    """The name as the registry has it, for a name in any case.

    Raises ValueError, listing the known names, for any other.

    >>> known_name("optimizer", "AdamW", ["sgd", "adamw"])
    'adamw'
    """
    lower = got.lower() if isinstance(got, str) else got
    if lower not in names:
        raise unknown_name(kind, got, names)
    return lower


def unknown_name(kind: str, got: object, names: Iterable[str]) -> ValueError:
    """The error for a name that is not in a registry; it lists the known names.

    If another library has the name, or a known one is near it, the error ends with a hint.

    >>> print(unknown_name("activation", "swish", ["relu", "silu"]))
    unknown activation 'swish'; known: relu, silu; swish is called 'silu' here
    >>> print(unknown_name("activation", "tahn", ["relu", "tanh"]))
    unknown activation 'tahn'; known: relu, tanh; did you mean 'tanh'?
    """
    names = tuple(names)
    text = hint_of(kind, got, names) if isinstance(got, str) else ""
    shown = readable(repr(got), _SHOWN)
    return ValueError(f"unknown {kind} {shown}; known: {', '.join(names)}{text}")


def hint_of(kind: str, got: str, names: Sequence[str]) -> str:
    """The hint of `unknown_name`: "", or "; " and a hint."""
    return hint(got, names, _ELSEWHERE.get(kind, {}))


def hint(got: str, names: Sequence[str], elsewhere: Mapping[str, str]) -> str:
    """The end of a message about a name that is not in `names`: "" or "; " and a hint.

    The keys of `elsewhere` are names of other libraries, as in `_ELSEWHERE`. A value with a space
    is the hint itself; any other is a name, which counts if `names` has it.

    >>> hint("verbose", ["epochs", "progress"], {"verbose": "progress"})
    "; verbose is called 'progress' here"
    """
    name = got.partition("(")[0].strip()
    bare = _bare(name)
    short = next((bare.removesuffix(end) for end in _ENDINGS if bare.endswith(end)), bare)
    same = {_bare(each): each for each in names}
    for word in filter(None, (bare, short)):
        here = same.get(word, elsewhere.get(word))
        if here is None:
            continue
        if " " in here:
            return f"; {here}"
        if here.partition("(")[0] in names:
            return f"; {readable(name, _SHOWN)} is called {here!r} here"
    return did_you_mean(name, names)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint at the one of `names` that is nearest to a misspelt name; "" if none is near.

    >>> did_you_mean("Prise", ["Size", "Price"])
    "; did you mean 'Price'?"
    """
    import difflib  # only here: it would take time of every import of fastbp

    lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lower, 1, 0.7)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def _bare(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]", "", name.lower())


def split_spec(
    spec: object, kind: str, names: Sequence[str], way: str = ""
) -> tuple[str, float | None]:
    """Split "name" or "name(number)"; the name must be one of `names`, in any case.

    `way` is what else may be written; it ends the message about brackets with something else.

    >>> split_spec("Leaky_ReLU(0.1)", "activation", ("relu", "leaky_relu"))
    ('leaky_relu', 0.1)
    """
    if not isinstance(spec, str):
        raise TypeError(f"{kind} must be a name such as {names[0]!r}; got {type(spec).__name__}")
    match = _SPEC.fullmatch(spec)
    if match is None or match[1].lower() not in names:
        raise unknown_name(kind, spec, names)
    name = match[1].lower()
    if match[2] is None:
        return name, None
    try:
        return name, float(match[2])
    except ValueError:
        raise ValueError(
            f"{kind} {spec!r} must have one number in its brackets, as in {name}(0.1), or no "
            f"brackets{way}"
        ) from None


def comma_parts(text: str) -> list[str]:
    """The parts of a text between commas that are not within brackets.

    >>> comma_parts("tanh,prelu(0.1, per=unit)")
    ['tanh', 'prelu(0.1, per=unit)']
    """
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]
