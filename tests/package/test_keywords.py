"""Arguments and methods of other libraries: the errors name what is here instead."""

import inspect
import operator
import pickle
import re

import numpy as np
import pytest

import fastbp
from fastbp import Dense
from fastbp._checks import keywords
from fastbp.losses import Loss

pytestmark = pytest.mark.once

try:
    from fastbp.sklearn import MLPClassifier, MLPRegressor

    ESTIMATORS = [MLPClassifier, MLPRegressor]
except ImportError:
    ESTIMATORS = []

X, Y = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
NETWORKS = [fastbp.Network, fastbp.reference.Network]
RATE = "the learning rate belongs to the optimizer: write fit(…, optimizer=fastbp.optim.Adam(lr))"


def called(got, here):
    return f"{got} is called {here!r} here"


FIT = {
    "lr": RATE,
    "learning_rate": RATE,
    "n_epochs": called("n_epochs", "epochs"),
    "max_iter": called("max_iter", "epochs"),
    "epoch": "did you mean 'epochs'?",
    "batchsize": called("batchsize", "batch_size"),
    "lr_scheduler": called("lr_scheduler", "schedule"),
    "verbose": called("verbose", "progress"),
    "val_data": called("val_data", "validation_data"),
    "validation_fraction": called("validation_fraction", "validation_split"),
    "early_stopping": "write callbacks=[fastbp.callbacks.EarlyStopping(patience=10)]",
    "loss": "it is an argument of the network: write fastbp.Network(widths, …)",
    "callback": "did you mean 'callbacks'?",
    "clip": "write fit(…, optimizer=fastbp.optim.Adam(clip_global_norm=1.0))",
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", FIT)
def test_fit_names_its_argument(network, name):
    net = network((3, 2), seed=0)
    before = net.theta.copy()
    with pytest.raises(TypeError, match=rf"^fit\(\) has no argument '{name}'; known: X, y, ") as e:
        net.fit(X, Y, **{name: 0.1})
    assert str(e.value).endswith(FIT[name])
    np.testing.assert_array_equal(net.theta, before)


NETWORK = {
    "hidden": "write Network((4, 16, 3))",
    "hidden_layer_sizes": "write Network((4, 16, 3))",
    "layer_sizes": called("layer_sizes", "widths"),
    "lr": RATE,
    "optimizer": "it is an argument of fit",
    "dropout": "write fastbp.Network.from_layers(n_in, [fastbp.Dense(…), …])",
    "output_activation": called("output_activation", "output"),
    "random_state": called("random_state", "seed"),
    "criterion": called("criterion", "loss"),
    "activatoin": "did you mean 'activation'?",
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", NETWORK)
def test_the_constructor_names_its_argument(network, name):
    with pytest.raises(TypeError, match=rf"^Network\(\) has no argument '{name}'; known") as e:
        network((3, 2), **{name: 1})
    assert str(e.value).endswith(NETWORK[name])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Dense(units=3), "Dense() has no argument 'units'; known: n_out, "),
        (lambda: Dense(units=3), called("units", "n_out")),
        (lambda: Dense(3, use_bias=False), called("use_bias", "bias")),
        (lambda: Dense(3, rms_norm=True), "write norm='rms'"),
        (lambda: fastbp.optim.Adam(learning_rate=1), called("learning_rate", "lr")),
        (lambda: fastbp.optim.Adam(beta_1=0.5), "write betas=(b1, b2)"),
        (lambda: fastbp.optim.SGD(clipnorm=1), called("clipnorm", "clip_norm")),
        (
            lambda: fastbp.callbacks.EarlyStopping(restore_best_weights=True),
            called("restore_best_weights", "restore_best"),
        ),
        (
            lambda: fastbp.callbacks.ModelCheckpoint(filepath="best.safetensors"),
            "ModelCheckpoint() has no argument 'filepath'; known: path, ",
        ),
        (
            lambda: fastbp.callbacks.ModelCheckpoint("best", "loss", False, "min", 1),
            "ModelCheckpoint() takes at most 4 arguments without a name; got 5",
        ),
        (
            lambda: fastbp.export.from_torch(None, criterion="mse"),
            "from_torch() has no argument 'criterion'; known: sequential, loss, output, dtype, ",
        ),
        (lambda: fastbp.export.from_torch(None, n_in=3), "has no argument 'n_in'"),
        (
            lambda: fastbp.optim.Adam(np.zeros(3), lr=0.1),
            "Adam() takes no parameters; got ndarray: the network passes them, in fit(…, ",
        ),
        (lambda: fastbp.optim.SGD(fastbp.Network((3, 2))), "SGD() takes no parameters; got Netw"),
        (
            lambda: fastbp.Network.from_layers(3, [Dense(2)], activation="relu"),
            "it is an option of a layer",
        ),
        (
            lambda: fastbp.Network((3, 2)).partial_fit(X, Y, n_jobs=2),
            called("n_jobs", "n_threads"),
        ),
    ],
)
def test_layers_and_optimizers_name_their_arguments(call, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("network", NETWORKS)
def test_widths_as_separate_arguments_get_their_brackets(network):
    for options in ({}, {"activation": "tanh"}):
        with pytest.raises(TypeError, match=re.escape("write Network((4, 8, 2)); got 3 numbers")):
            network(4, 8, 2, **options)
    with pytest.raises(TypeError, match=r"at most 1 argument without a name; got 2.* activation="):
        network((4, 2), "tanh")
    with pytest.raises(TypeError, match=r"got layers: write fastbp.Network.from_layers\(n_in, "):
        network([Dense(4), Dense(2)])
    with pytest.raises(TypeError, match=r"fit\(\) takes at most 2 .* such as epochs=…"):
        network((3, 2)).fit(X, Y, 10)
    with pytest.raises(TypeError, match=r"from_layers\(\) takes at most 2 arguments"):
        network.from_layers(3, Dense(2), Dense(2))


def test_signatures_stay_those_of_the_methods():
    for method in (fastbp.Network, fastbp.Network.fit, fastbp.Network.from_layers, Dense):
        kinds = {p.kind for p in inspect.signature(method).parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    assert next(iter(inspect.signature(fastbp.Network).parameters)) == "widths"
    assert "epochs" in inspect.signature(fastbp.Network.fit).parameters


SHORT = {
    "forward": (lambda net: net.forward(X, train=True), called("train", "training")),
    "backward": (lambda net: net.backward(Y, weights=1), called("weights", "sample_weight")),
    "step": (lambda net: net.step("sgd", lr=0.1), "adam = fastbp.optim.Adam(lr), and pass it in "),
    "train_batch": (lambda net: net.train_batch(X, Y, opt="sgd"), called("opt", "optimizer")),
    "jacobian": (lambda net: net.jacobian(x=X), called("x", "X")),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", SHORT)
def test_short_calls_name_their_arguments(network, name):
    net = network((3, 2), seed=0)
    call, hint = SHORT[name]
    with pytest.raises(TypeError, match=rf"^{name}\(\) has no argument '\w+'; known: ") as e:
        call(net)
    assert hint in str(e.value) and e.value.__suppress_context__
    with pytest.raises(TypeError, match="X must hold real numbers"):  # not about the arguments
        net.forward(X=[["a", "b", "c"]])
    net.forward(X)  # the lock is free


@pytest.mark.parametrize("network", NETWORKS)
def test_errors_of_python_name_the_public_class(network):
    net = network((3, 2), seed=0)
    calls = {
        "fit": net.fit,
        "step": net.step,
        "predict": net.predict,
        "train_batch": net.train_batch,
        "from_layers": network.from_layers,
        "__init__": network,
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^Network\.{name}\(\) missing \d required"):
            call()
    with pytest.raises(TypeError, match=r"^Network\.predict\(\) got an unexpected .* 'batch'"):
        net.predict(X, batch=3)
    for method in (net.fit, network.fit, network.step, network.from_layers, network.predict):
        assert pickle.loads(pickle.dumps(method)).__qualname__ == f"Network.{method.__name__}"
    assert pickle.loads(pickle.dumps(network.fit)) is network.fit


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_name_their_parameters(estimator):
    name = estimator.__name__
    start = rf"^{name}\(\) has no argument 'lr'; known: .*; lr is called 'learning_rate_init' here$"
    with pytest.raises(TypeError, match=start):
        estimator(lr=0.1)
    with pytest.raises(
        TypeError, match=r"^fit\(\) has no argument 'epochs'; .*estimator: max_iter$"
    ):
        estimator().fit(X, Y[:, 0], epochs=3)
    with pytest.raises(TypeError, match=called("eval_set", "validation_data")):
        estimator().fit(X, Y[:, 0], eval_set=(X, Y))
    assert "alpha" in estimator().get_params()


# Whose arguments the hints of a table name.
CALLS = {
    "fit": [fastbp.Network.fit],
    "partial_fit": [fastbp.Network.partial_fit],
    "Network": [fastbp.Network],
    "from_layers": [fastbp.Network.from_layers],
    "Dense": [Dense],
    "Categories": [fastbp.Categories],
    "from_torch": [fastbp.export.from_torch],
    "Loss": [],  # its options depend on its name
    "EarlyStopping": [fastbp.callbacks.EarlyStopping],
    "ModelCheckpoint": [fastbp.callbacks.ModelCheckpoint],
    "forward": [fastbp.Network.forward],
    "backward": [fastbp.Network.backward],
    "step": [fastbp.Network.step],
    "train_batch": [fastbp.Network.train_batch],
    "estimator": ESTIMATORS,
    "fit of an estimator": [each.fit for each in ESTIMATORS],
    "optimizer": [getattr(fastbp.optim, name) for name in ("Adam", "SGD", "AdamW", "RMSprop")],
}


def test_what_hints_name_exists():
    known = {
        call: {name for each in found for name in inspect.signature(each).parameters}
        for call, found in CALLS.items()
    }
    known["Loss"] = {option for name in fastbp.losses.NAMES for option in Loss(name).options}
    assert keywords.HINTS.keys() == known.keys()
    for call, hints in keywords.HINTS.items():
        if not ESTIMATORS and "estimator" in call:
            continue
        for there, here in hints.items():
            if call != "partial_fit":  # it shares the hints of fit, which has more arguments
                assert " " in here or here in known[call] | known["Network"], f"{call} {there}"
            assert there not in {re.sub("_", "", name) for name in known[call]}, f"{call} {there}"
            for dotted in re.findall(r"fastbp\.([\w.]+\w)", here):
                operator.attrgetter(dotted)(fastbp)


@pytest.mark.parametrize("network", NETWORKS)
def test_methods_of_other_libraries_get_a_hint(network):
    net = network((3, 2), seed=0)
    with pytest.raises(
        AttributeError, match=r"^'Network' object has no attribute 'compile': the l"
    ):
        net.compile(optimizer="adam", loss="mse")
    with pytest.raises(AttributeError, match=r"attribute 'zero_grad': leave it out"):
        net.zero_grad()
    with pytest.raises(AttributeError, match=r"^'Network' object has no attribute 'nothing'$") as e:
        _ = net.nothing
    assert e.value.name == "nothing" and e.value.obj is net
    assert not hasattr(net, "coefs_")
    for name, text in keywords.OF_NETWORKS.items():
        assert not hasattr(net, name)
        for dotted in re.findall(r"fastbp\.([\w.]+\w)", text):
            operator.attrgetter(dotted)(fastbp)
        for method in re.findall(r"\b(\w+)\(", text):
            assert hasattr(net, method) or method in {"Network", "argmax"} | set(
                fastbp.export.__all__
            ), method


@pytest.mark.parametrize("network", NETWORKS)
def test_attributes_of_layers_in_other_libraries_get_a_hint(network):
    layer = network((3, 2), seed=0).layers[0]
    for name, text in keywords.OF_LAYERS.items():
        assert not hasattr(layer, name)
        for here in re.findall(r"\b(W|b|dW|db|a|trainable)\b", text.replace("a of the layer", "")):
            getattr(layer, here)
    with pytest.raises(AttributeError, match=r"^'Layer' object has no attribute 'weight': use W"):
        _ = layer.weight.grad
    with pytest.raises(AttributeError, match=r"may be set: use b \(n_out,\)"):
        layer.bias = np.zeros(2)
    with pytest.raises(AttributeError, match=r"^'Layer' object has no attribute 'nothing'$"):
        _ = layer.nothing


@pytest.mark.parametrize(
    ("module", "name", "hint"),
    [
        (fastbp, "Adam", "; write fastbp.optim.Adam"),
        (fastbp, "ReduceLROnPlateau", "; write fastbp.schedules.ReduceLROnPlateau"),
        (fastbp, "save", "; write fastbp.io.save"),
        (fastbp, "Sequential", "; write fastbp.Network(widths, …), or fastbp.Network.from_layers("),
        (fastbp, "resolve", ""),  # many modules have one
        (fastbp, "Nothing", ""),
        (fastbp, "__wrapped__", ""),
        (fastbp.callbacks, "ReduceLROnPlateau", "; write fastbp.schedules.ReduceLROnPlateau"),
        (fastbp.optim, "RMSProp", "; RMSProp is called 'RMSprop' here"),
        (fastbp.optim, "Network", "; write fastbp.Network"),
        (fastbp.schedules, "CosineAnnealing", "; did you mean 'CosineAnnealingLR'?"),
    ],
)
def test_names_that_a_module_does_not_have_get_a_hint(module, name, hint):
    before = dir(module)
    with pytest.raises(AttributeError) as e:
        getattr(module, name)
    text = f"module {module.__name__!r} has no attribute {name!r}{hint}"
    assert str(e.value).startswith(text) and (hint or str(e.value) == text)
    assert e.value.name == name
    assert not hasattr(module, name) and dir(module) == before and name not in before


def test_what_hints_of_modules_name_exists():
    for there, text in keywords._NAMES.items():
        assert not any(there == re.sub("_", "", name).lower() for name in fastbp.__all__), there
        for dotted in re.findall(r"fastbp\.([\w.]+\w)", text):
            if dotted.split(".")[0] not in ("sklearn", "tabular", "bench"):  # need an import
                operator.attrgetter(dotted)(fastbp)


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: Loss("cross_entropy", from_logits=True), "computed from the logits"),
        (lambda: Loss("cross_entropy", weight=[1, 2]), called("weight", "class_weight")),
        (lambda: Loss("huber", beta=0.5), called("beta", "delta")),
        (lambda: Loss("huber", detla=0.5), "did you mean 'delta'?"),
        (lambda: Loss("mse", reduction="sum"), "got reduction='sum'; J is the mean over the rows"),
        (lambda: Loss("mse", 0.5), "mse takes no parameter; got 0.5"),
    ],
)
def test_losses_name_their_options(make, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        make()


def test_the_score_of_a_formula_gets_a_hint():
    squared = fastbp.gates.loss(lambda a, y: fastbp.gates.sum((a - y) ** 2), score="acc")
    with pytest.raises(ValueError, match=r"^unknown score 'acc'; .* is called 'accuracy' here$"):
        fastbp.Network((3, 2), loss=squared)


class Scored:
    def score(self):
        return "scored"

    @property
    def weights(self):
        return "property"

    history = "plain"


@pytest.mark.parametrize("network", NETWORKS)
def test_hints_for_attributes_are_in_the_way_of_nothing(network):
    class Mine(network, Scored):
        def train(self):
            return super().train()

        def clone(self):
            return "mine"

    net = Mine((3, 2), seed=0)
    assert (net.score(), net.weights, net.history, net.clone()) == (
        *("scored", "property", "plain", "mine"),
    )
    net.compile = "set"
    assert net.compile == "set" and Mine.history == "plain"
    with pytest.raises(AttributeError, match=r"'Mine' object has no attribute 'train': use fit"):
        net.train()
    with pytest.raises(AttributeError, match=r"^type object 'Mine' has no attribute 'eval': leave"):
        _ = Mine.eval
    listed = dir(net)
    assert {"clone", "compile", "fit", "score"} <= set(listed)
    assert not {"eval", "train_on_batch", "zero_grad"} & set(listed)


@pytest.mark.parametrize("network", NETWORKS)
def test_no_network_has_a_hook_that_slows_its_attributes_down(network):
    """In Python 3.11, a class with `__getattr__` reads every attribute of it by a slow way."""
    for kind in (network, type(network((3, 2), seed=0).layers[0])):
        assert not hasattr(kind, "__getattr__")
        assert kind.__getattribute__ is object.__getattribute__
