"""Arguments, attributes and names that are not there: errors that say what is here instead.

`hinting` decorates a function that users call, which keeps its own signature. The check is made
once per call, before the body. `hinting_attributes` decorates a class, and `missing_name` is for
`__getattr__` of a module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import CO_VARARGS, CO_VARKEYWORDS
from numbers import Integral
from types import FunctionType
from typing import ParamSpec, TypeVar

from .names import hint

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_LEARNING_RATE = (
    "the learning rate belongs to the optimizer: write fit(…, optimizer=fastbp.optim.Adam(lr))"
)
_OF_THE_OPTIMIZER = "it belongs to the optimizer: write fit(…, optimizer=fastbp.optim.Adam(…))"
_CLIPPING = (
    "it belongs to the optimizer: write fit(…, optimizer=fastbp.optim.Adam(clip_global_norm=1.0))"
)
_OF_FIT = "it is an argument of fit"
_OF_THE_NETWORK = "it is an argument of the network: write fastbp.Network(widths, …)"
_OF_A_LAYER = (
    "it is an option of a layer: write fastbp.Network.from_layers(n_in, [fastbp.Dense(…), …])"
)
_WIDTHS = "widths holds the units of all layers, inputs first: write Network((4, 16, 3))"
_STOPPING = "write callbacks=[fastbp.callbacks.EarlyStopping(patience=10)]"

_FIT = {
    "lr": _LEARNING_RATE,
    "learningrate": _LEARNING_RATE,
    "learningrateinit": _LEARNING_RATE,
    "momentum": _OF_THE_OPTIMIZER,
    "nesterov": _OF_THE_OPTIMIZER,
    "betas": _OF_THE_OPTIMIZER,
    "weightdecay": _OF_THE_OPTIMIZER,
    "clipnorm": _OF_THE_OPTIMIZER,
    **dict.fromkeys(("clip", "clipvalue", "clipgrad", "gradclip", "maxgradnorm"), _CLIPPING),
    "opt": "optimizer",
    "optim": "optimizer",
    "solver": "optimizer",
    "scheduler": "schedule",
    "lrscheduler": "schedule",
    "lrschedule": "schedule",
    "nepochs": "epochs",
    "numepochs": "epochs",
    "nbepoch": "epochs",
    "maxepochs": "epochs",
    "maxiter": "epochs",
    "niter": "epochs",
    "bs": "batch_size",
    "batch": "batch_size",
    "accumulategradbatches": "accumulate",
    "gradientaccumulationsteps": "accumulate",
    "verbose": "progress",
    "disp": "progress",
    "valdata": "validation_data",
    "validation": "validation_data",
    "evalset": "validation_data",
    "valsplit": "validation_split",
    "validationfraction": "validation_split",
    "testsize": "validation_split",
    "earlystopping": _STOPPING,
    "patience": _STOPPING,
    "niternochange": _STOPPING,
    "tol": "write callbacks=[fastbp.callbacks.EarlyStopping(min_delta=1e-4)]",
    "loss": _OF_THE_NETWORK,
    "lossfn": _OF_THE_NETWORK,
    "criterion": _OF_THE_NETWORK,
    "seed": _OF_THE_NETWORK,
    "randomstate": "write fastbp.Network(widths, seed=…)",
    "l1": _OF_THE_NETWORK,
    "l2": _OF_THE_NETWORK,
    "alpha": "write fastbp.Network(widths, l2=…)",
    "dropout": _OF_A_LAYER,
    "njobs": "n_threads",
    "workers": "n_threads",
    "numworkers": "n_threads",
    "numthreads": "n_threads",
    "maxtime": "time_budget",
    "timeout": "time_budget",
    "hook": "write net.on_delta(hook) before fit",
}
_NETWORK = {
    "hidden": _WIDTHS,
    "hiddenlayers": _WIDTHS,
    "hiddenlayersizes": _WIDTHS,
    "hiddensizes": _WIDTHS,
    "hiddenunits": _WIDTHS,
    "units": _WIDTHS,
    "sizes": "widths",
    "layersizes": "widths",
    "nin": _WIDTHS,
    "inputdim": _WIDTHS,
    "inputsize": _WIDTHS,
    "nhidden": _WIDTHS,
    "nout": _WIDTHS,
    "outputdim": _WIDTHS,
    "layers": "write fastbp.Network.from_layers(n_in, [fastbp.Dense(…), …])",
    "lr": _LEARNING_RATE,
    "learningrate": _LEARNING_RATE,
    "learningrateinit": _LEARNING_RATE,
    **dict.fromkeys(("optimizer", "epochs", "batchsize", "schedule", "metrics"), _OF_FIT),
    "nthreads": _OF_FIT,
    "callbacks": _OF_FIT,
    "solver": "it is an argument of fit: write fit(…, optimizer=…)",
    "maxiter": "it is an argument of fit: write fit(…, epochs=…)",
    "dropout": _OF_A_LAYER,
    "norm": _OF_A_LAYER,
    "batchnorm": _OF_A_LAYER,
    "layernorm": _OF_A_LAYER,
    "bias": _OF_A_LAYER,
    "residual": _OF_A_LAYER,
    "outputactivation": "output",
    "outactivation": "output",
    "finalactivation": "output",
    "lastactivation": "output",
    "hiddenactivation": "activation",
    "activations": "activation",
    "randomstate": "seed",
    "randomseed": "seed",
    "weightdecay": "l2",
    "alpha": "l2",
    "criterion": "loss",
    "lossfn": "loss",
    "lossfunction": "loss",
    "initializer": "init",
    "weightinit": "init",
    "kernelinitializer": "init",
    "precision": "matmul_precision",
}
_CATEGORIES = {
    "numembeddings": "levels",
    "cardinalities": "levels",
    "inputdim": "levels",
    "embeddingdim": "width",
    "outputdim": "width",
    "widths": "width",
}
_DENSE = {
    "units": "n_out",
    "outfeatures": "n_out",
    "width": "n_out",
    "size": "n_out",
    "nunits": "n_out",
    "infeatures": "inputs are the units of the layer before: write from_layers(n_in, [Dense(…)])",
    "nin": "inputs are the units of the layer before: write from_layers(n_in, [Dense(…)])",
    "inputdim": "inputs are the units of the layer before: write from_layers(n_in, [Dense(…)])",
    "usebias": "bias",
    "kernelinitializer": "init",
    "initializer": "init",
    "dropoutrate": "dropout",
    "p": "dropout",
    "normalization": "norm",
    "layernorm": "write norm='layer'",
    "rmsnorm": "write norm='rms'",
    "batchnorm": "write norm='batch'",
    "kernelconstraint": "write max_norm=… or non_negative=True",
    "kernelregularizer": "penalties are arguments of the network: from_layers(…, l1=…, l2=…)",
    "frozen": "write trainable=False",
}
_OF_THE_MODULES = "the modules determine it"
_FROM_TORCH = {
    **dict.fromkeys(("activation", "init", "norm", "bias", "dropout"), _OF_THE_MODULES),
    **dict.fromkeys(("optimizer", "epochs", "batchsize", "schedule", "metrics"), _OF_FIT),
    "lr": _LEARNING_RATE,
    "learningrate": _LEARNING_RATE,
    "criterion": "loss",
    "lossfn": "loss",
    "outputactivation": "output",
    "weightdecay": "l2",
    "randomstate": "seed",
    "precision": "matmul_precision",
}
_MONITORS = {
    "metric": "monitor",
    "quantity": "monitor",
    "verbose": "write fit(…, progress=True), which shows the epochs",
}
_EARLY_STOPPING = {
    **_MONITORS,
    "restorebestweights": "restore_best",
    "niternochange": "patience",
    "tol": "min_delta",
    "delta": "min_delta",
    "threshold": "min_delta",
}
_MODEL_CHECKPOINT = {
    **_MONITORS,
    "filepath": "path",
    "filename": "path",
    "file": "path",
    "savebest": "save_best_only",
    "saveweightsonly": "the file holds the whole network: layers, weights and loss",
    "savefreq": "write fit(…, checkpoint=folder, every='5 epochs')",
    "period": "write fit(…, checkpoint=folder, every='5 epochs')",
}
_OPTIMIZER = {
    "learningrate": "lr",
    "learningrateinit": "lr",
    "eta": "lr",
    "beta1": "write betas=(b1, b2)",
    "beta2": "write betas=(b1, b2)",
    "epsilon": "eps",
    "decay": "weight_decay",
    "l2": "weight_decay",
    "wd": "weight_decay",
    "nesterovsmomentum": "nesterov",
    "globalclipnorm": "clip_global_norm",
    "maxgradnorm": "clip_global_norm",
    "lrdecay": "write fit(…, schedule=fastbp.schedules.ExponentialLR(gamma))",
    "params": "the network passes its parameters: write net.step(optimizer)",
}
_MEAN = "J is the mean over the rows of a batch"
_LOSS = {
    "fromlogits": (
        "write Network(…, output='softmax') or output='sigmoid': the loss that pairs with it is "
        "computed from the logits"
    ),
    "reduction": _MEAN,
    "sizeaverage": _MEAN,
    "weight": "class_weight",
    "weights": "class_weight",
    "ignoreindex": "the class_weight of such a class is 0, as in class_weight=[1, 0, 1]",
    "smoothing": "label_smoothing",
    "beta": "delta",
    "tau": "taus",
    "q": "taus",
    "quantiles": "taus",
}
_RATE_OF_A_STEP = (
    "the learning rate belongs to the optimizer: make one before the loop, such as "
    "adam = fastbp.optim.Adam(lr), and pass it in every step"
)
_FORWARD = dict.fromkeys(("train", "istraining", "trainmode"), "training")
_BACKWARD = {
    "weight": "sample_weight",
    "weights": "sample_weight",
    "gradient": "write backward_from(delta_L), which takes δ of the outputs",
    "grad": "write backward_from(delta_L), which takes δ of the outputs",
    "training": "it is an argument of forward",
}
_STEP = {
    "lr": _RATE_OF_A_STEP,
    "learningrate": _RATE_OF_A_STEP,
    "opt": "optimizer",
    "optim": "optimizer",
}
_ESTIMATOR = {
    "lr": "learning_rate_init",
    "eta": "learning_rate_init",
    "epochs": "max_iter",
    "nepochs": "max_iter",
    "numepochs": "max_iter",
    "maxepochs": "max_iter",
    "optimizer": "solver",
    "opt": "solver",
    "hidden": "hidden_layer_sizes",
    "hiddenlayers": "hidden_layer_sizes",
    "hiddensizes": "hidden_layer_sizes",
    "layers": "hidden_layer_sizes",
    "widths": "write hidden_layer_sizes, without inputs and outputs, which fit takes from X and y",
    "l2": "alpha",
    "weightdecay": "alpha",
    "seed": "random_state",
    "randomseed": "random_state",
    "schedule": "learning_rate",
    "scheduler": "learning_rate",
    "patience": "n_iter_no_change",
    "validationsplit": "validation_fraction",
    "progress": "verbose",
    "eps": "epsilon",
    "betas": "write beta_1=… and beta_2=…",
    "nesterov": "nesterovs_momentum",
    "output": "the estimator chooses it: outputs follow from y and the loss",
    "precision": "matmul_precision",
    "njobs": "n_threads",
}
_FIT_OF_AN_ESTIMATOR = {
    **dict.fromkeys(
        ("epochs", "nepochs", "maxiter"), "it is a parameter of the estimator: max_iter"
    ),
    **dict.fromkeys(
        ("lr", "learningrate", "learningrateinit"),
        "it is a parameter of the estimator: learning_rate_init",
    ),
    **dict.fromkeys(("optimizer", "solver"), "it is a parameter of the estimator: solver"),
    **dict.fromkeys(
        ("batchsize", "callbacks", "verbose", "shuffle"),
        "it is a parameter of the estimator",
    ),
    "validationsplit": "write early_stopping=True and validation_fraction=… in the constructor",
    "evalset": "validation_data",
    "valdata": "validation_data",
    "weights": "sample_weight",
    "weight": "sample_weight",
}
HINTS: dict[str, Mapping[str, str]] = {
    "fit": _FIT,
    "partial_fit": _FIT,
    "Network": _NETWORK,
    "from_layers": {name: text for name, text in _NETWORK.items() if name not in ("nin", "layers")}
    | dict.fromkeys(("activation", "init", "output"), _OF_A_LAYER),
    "from_torch": _FROM_TORCH,
    "Dense": _DENSE,
    "Categories": _CATEGORIES,
    "Loss": _LOSS,
    "optimizer": _OPTIMIZER,
    "EarlyStopping": _EARLY_STOPPING,
    "ModelCheckpoint": _MODEL_CHECKPOINT,
    "forward": _FORWARD,
    "backward": _BACKWARD,
    "step": _STEP,
    "train_batch": _STEP
    | {"weight": "sample_weight", "weights": "sample_weight", "epochs": _OF_FIT},
    "estimator": _ESTIMATOR,
    "fit of an estimator": _FIT_OF_AN_ESTIMATOR,
}

# Methods and attributes that networks of other libraries have.
OF_NETWORKS = {
    "compile": "the loss is an argument of Network(…), the optimizer and the metrics are of fit(…)",
    "evaluate": "use loss(X, y)",
    "score": "use loss(X, y)",
    "predict_proba": "use predict(X), whose outputs are probabilities with output='softmax'",
    "predict_classes": "use predict(X).argmax(axis=1)",
    "train_on_batch": "use train_batch(X, y, optimizer)",
    "train": "use fit(X, y), or in a loop by hand forward(X, training=True)",
    "eval": "leave it out: forward(X) and predict(X) drop nothing",
    "clone": "use copy()",
    "to": "leave it out: fastbp computes on the CPU; the dtype is an argument of Network(…)",
    "cpu": "leave it out: fastbp computes on the CPU",
    "cuda": "leave it out: fastbp computes on the CPU",
    "double": "write Network(…, dtype='float64')",
    "add": "fastbp.Network.from_layers takes all layers at once",
    "optimizer": "it is an argument of fit(…) and step(…)",
    "load": "use fastbp.load",
    "zero_grad": "leave it out: backward(y) replaces the gradient",
    "parameters": "use theta, a flat vector, or layers[0].W and .b",
    "weights": "use theta, a flat vector, or layers[0].W and .b",
    "get_weights": "use theta, or fastbp.export.to_keras_weights(net)",
    "set_weights": "assign to theta, or use fastbp.export.from_keras_weights",
    "coefs_": "use layers[0].W",
    "intercepts_": "use layers[0].b",
    "state_dict": "use fastbp.export.to_state_dict(net)",
    "load_state_dict": "use fastbp.export.from_state_dict",
    "history": "fit(…) returns it",
}
# The same of a layer.
OF_LAYERS = {
    "weight": "use W (n_in, n_out), the transpose of weight in PyTorch; its gradient is dW",
    "weights": "use W (n_in, n_out) and b (n_out,)",
    "kernel": "use W (n_in, n_out)",
    "coef_": "use W (n_in, n_out)",
    "bias": "use b (n_out,); its gradient is db",
    "biases": "use b (n_out,); its gradient is db",
    "intercept_": "use b (n_out,)",
    "grad": "use dW (n_in, n_out) and db (n_out,)",
    "gradient": "use dW (n_in, n_out) and db (n_out,)",
    "get_weights": "use W and b, which are views: copy them to keep their values",
    "set_weights": "assign to W and b",
    "requires_grad": "use trainable",
    "moving_mean": "use running_mean (n_out,)",
    "moving_variance": "use running_var (n_out,)",
    "input": "the inputs of a layer are X, or a of the layer before",
    "output": "use a, the output of the last forward",
    "units": "use W.shape, which is (n_in, n_out)",
    "in_features": "use W.shape, which is (n_in, n_out)",
    "out_features": "use W.shape, which is (n_in, n_out)",
}
# Names that the modules of other libraries have, and modules that `import fastbp` leaves out.
_NAMES = {
    **dict.fromkeys(
        ("sequential", "model", "mlp", "module"),
        "write fastbp.Network(widths, …), or fastbp.Network.from_layers(n_in, [fastbp.Dense(…)])",
    ),
    **dict.fromkeys(("linear", "layer"), "write fastbp.Dense(n_out), without the inputs"),
    "dropout": "write fastbp.Dense(n_out, dropout=…)",
    "layernorm": "write fastbp.Dense(n_out, norm='layer')",
    **dict.fromkeys(
        ("batchnorm1d", "batchnormalization"), "write fastbp.Dense(n_out, norm='batch')"
    ),
    "tensor": "pass NumPy arrays, which is all that fastbp takes",
    "nn": "layers are fastbp.Dense, and networks fastbp.Network",
    "layers": "layers are fastbp.Dense",
    "optimizers": "write fastbp.optim",
    "lrscheduler": "write fastbp.schedules",
    "learningratescheduler": "write fit(…, schedule=…), with a schedule of fastbp.schedules",
    "mlpclassifier": "import fastbp.sklearn first, and write fastbp.sklearn.MLPClassifier",
    "mlpregressor": "import fastbp.sklearn first, and write fastbp.sklearn.MLPRegressor",
    "sklearn": "import fastbp.sklearn first",
    "tabular": "import fastbp.tabular first",
    "bench": "import fastbp.bench first",
}


def hinting(
    call: str, *, kind: str = "", one_sequence: bool = False
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Decorate a method with a check of the names of its arguments.

    Parameters
    ----------
    call : str
        The name of the method in messages; that of the class for a constructor.
    kind : str, default ""
        The key in `HINTS`, if it is not `call`.
    one_sequence : bool, default False
        Whether the first argument is a sequence, which callers may pass as separate arguments.

    Returns
    -------
    callable
        The decorator. TypeError is raised for an argument that the method does not have.

    Examples
    --------
    >>> class Trained:
    ...     @hinting("fit")
    ...     def fit(self, X, *, epochs=1):
    ...         return epochs
    >>> Trained().fit(0, epochs=3)
    3
    >>> Trained().fit(0, max_iter=3)
    Traceback (most recent call last):
    TypeError: fit() has no argument 'max_iter'; known: X, epochs; max_iter is called 'epochs' here
    """

    def decorate(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        code = method.__code__
        assert not code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
        n_positional = code.co_argcount
        names = code.co_varnames[1 : n_positional + code.co_kwonlyargcount]  # without self
        accepted = frozenset(names)

        @wraps(method)
        def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            if len(args) > n_positional:
                raise _too_many(call, args[1:], names, n_positional - 1, one_sequence)
            if not kwargs.keys() <= accepted:
                unknown = next(name for name in kwargs if name not in accepted)
                raise unknown_argument(call, unknown, names, kind or call)
            return method(*args, **kwargs)

        return checked

    return decorate


def unknown_argument(call: str, got: str, names: Iterable[str], kind: str) -> TypeError:
    """The error for an argument that a call does not have; it lists those that it has.

    >>> print(unknown_argument("Adam", "learning_rate", ["lr", "eps"], "optimizer"))
    Adam() has no argument 'learning_rate'; known: lr, eps; learning_rate is called 'lr' here
    """
    names = tuple(names)
    return TypeError(
        f"{call}() has no argument {got!r}; known: {', '.join(names)}"
        f"{hint(got, names, HINTS.get(kind, {}))}"
    )


def _too_many(
    call: str, args: tuple[object, ...], names: tuple[str, ...], n: int, one_sequence: bool
) -> TypeError:
    if one_sequence and all(isinstance(each, Integral) for each in args):
        return TypeError(
            f"{names[0]} is one sequence, in brackets of its own: write {call}({args!r}); got "
            f"{len(args)} numbers"
        )
    few = "1 argument" if n == 1 else f"{n} arguments"
    way = f": write the others by name, such as {names[n]}=…" if n < len(names) else ""
    return TypeError(f"{call}() takes at most {few} without a name; got {len(args)}{way}")


class _Missing:
    """An attribute that objects of a class do not have: to read it raises AttributeError.

    Python 3.11 reads every attribute of a class with a `__getattr__` by its slow way, which makes a
    call of a network with one row a fifth slower. A descriptor costs only those who read it.
    """

    def __init__(self, of: type, name: str, text: str) -> None:
        self._of, self._name, self._text = of, name, text

    def __get__(self, owner: object, kind: type) -> object:
        """The attribute of a class that comes later in the MRO, such as a mixin, if one has it."""
        for base in kind.__mro__[kind.__mro__.index(self._of) + 1 :]:
            if self._name in vars(base):
                found = vars(base)[self._name]
                bind = getattr(type(found), "__get__", None)
                return found if bind is None else bind(found, owner, kind)
        if owner is None:
            message = f"type object {kind.__name__!r}"
        else:
            message = f"{kind.__name__!r} object"
        message += f" has no attribute {self._name!r}: {self._text}"
        raise AttributeError(message, name=self._name, obj=kind if owner is None else owner)


def refuse_unknown(call: Callable[..., object], kwargs: Mapping[str, object]) -> None:
    """Raise TypeError, with a hint, for an argument that a method does not have.

    A method whose calls are short looks for the reason of a TypeError in this way, which costs
    nothing as long as there is none.
    """
    code = call.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]  # without self
    for got in kwargs:
        if got not in names:
            raise unknown_argument(call.__name__, got, names, call.__name__) from None


def speaking_as(name: str) -> Callable[[type[_Result]], type[_Result]]:
    """Decorate a private base of a public class, so that Python's errors name the public one.

    >>> @speaking_as("Network")
    ... class NetworkBase:
    ...     def fit(self, X):
    ...         pass
    >>> NetworkBase().fit()
    Traceback (most recent call last):
    TypeError: Network.fit() missing 1 required positional argument: 'X'
    """

    def decorate(kind: type[_Result]) -> type[_Result]:
        for found in vars(kind).values():
            method = getattr(found, "__func__", found)  # of a class method
            while isinstance(method, FunctionType):
                if method.__qualname__ == f"{kind.__qualname__}.{method.__name__}":
                    method.__module__ = "fastbp"  # pickles look for its name there
                    method.__qualname__ = f"{name}.{method.__name__}"
                method = getattr(method, "__wrapped__", None)
        return kind

    return decorate


def hinting_attributes(elsewhere: Mapping[str, str]) -> Callable[[type[_Result]], type[_Result]]:
    """Decorate a class, so that attributes which it does not have, by name, get a hint.

    They are not in `dir` of its objects.

    >>> @hinting_attributes({"zero_grad": "leave it out"})
    ... class Network:
    ...     pass
    >>> Network().zero_grad()
    Traceback (most recent call last):
    AttributeError: 'Network' object has no attribute 'zero_grad': leave it out
    """

    def listed(self: object) -> list[str]:
        return [
            name for name in object.__dir__(self) if name not in elsewhere or hasattr(self, name)
        ]

    def decorate(kind: type[_Result]) -> type[_Result]:
        missing = {name: _Missing(kind, name, text) for name, text in elsewhere.items()}
        for name, member in (missing | {"__dir__": listed}).items():
            setattr(kind, name, member)
        return kind

    return decorate


def missing_name(module: str, name: str) -> AttributeError:
    """The error for a name that a module of fastbp does not have.

    The hint is another public module that has the name, what other libraries mean by it, or the
    nearest name that the module has.

    >>> import fastbp
    >>> print(missing_name("fastbp", "Adam"))
    module 'fastbp' has no attribute 'Adam'; write fastbp.optim.Adam
    >>> print(missing_name("fastbp.optim", "Adm"))
    module 'fastbp.optim' has no attribute 'Adm'; did you mean 'Adam'?
    """
    message = f"module {module!r} has no attribute {name!r}"
    if name.startswith("_"):  # asked for by tools, which need no hint
        return AttributeError(message, name=name)
    homes = [
        home
        for home, each in list(sys.modules.items())
        if home.partition(".")[0] == "fastbp"
        and "._" not in home
        and name in getattr(each, "__all__", ())
    ]
    homes = ["fastbp"] if "fastbp" in homes else homes
    if 1 <= len(homes) <= 2:  # not names such as resolve, which many modules have
        text = "; write " + " or ".join(f"{home}.{name}" for home in homes)
    else:
        text = hint(name, sys.modules[module].__all__, _NAMES)
    # Without obj, Python adds no suggestion of its own to that of the message.
    return AttributeError(message + text, name=name)
