"""Exports give the predictions of the network in the software that they are for."""

import importlib.util
import sys

import numpy as np
import pytest
from export_cases import DTYPES, compiled, predicted_in_c, predicted_in_onnx, rows

import fastbp
from fastbp import Dense, Norm, activations, export

pytestmark = pytest.mark.once

TOLERANCE = {"float32": {"rtol": 5e-5, "atol": 5e-6}, "float64": {"rtol": 1e-11, "atol": 1e-12}}


def network(name, dtype):
    """A small network with this activation in both layers, or one with every option of layers."""
    loss = "cross_entropy" if name in ("softmax", "all kinds") else "squared_error"
    if name == "all kinds":
        layers = [
            Dense(6, "relu", norm="layer", dropout=0.2, scale=True),
            Dense(6, "silu", norm="rms", residual=True, bias=False, scale=True),
            Dense(6, "elu(0.3)", residual=True),
            Dense(3, "softmax"),
        ]
        net = fastbp.Network.from_layers(5, layers, loss=loss, dtype=dtype, seed=1)
    elif name == "batch norm":
        layers = [
            Dense(7, "tanh", norm=Norm("batch", 1e-3, 0.2)),
            Dense(6, "relu", norm="batch", bias=False),
            Dense(4),
        ]
        net = fastbp.Network.from_layers(5, layers, dtype=dtype, seed=1)
    else:
        hidden = "tanh" if name == "softmax" else name
        net = fastbp.Network(
            (5, 7, 4), activation=hidden, output=name, loss=loss, dtype=dtype, seed=1
        )
    rng = np.random.default_rng(0)
    net.theta = net.theta + rng.normal(0, 0.1, net.theta.size).astype(dtype)
    for layer in net.layers:
        if layer.running_var is not None:
            layer.running_mean = rng.normal(0, 0.5, layer.running_mean.shape)
    return net


CASES = [*activations.NAMES, "all kinds", "batch norm"]


# ---- C ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_c_gives_the_predictions_of_the_network(dtype, tmp_path):
    nets = {f"net{i}": network(name, dtype) for i, name in enumerate(CASES)}
    sources = [export.c(net, name=name) for name, net in nets.items()]
    library = compiled("".join(sources), tmp_path)
    X = rows(dtype)
    for (name, net), case in zip(nets.items(), CASES, strict=True):
        expected = net.predict(X)
        out = predicted_in_c(library, net, X, name)
        np.testing.assert_allclose(out, expected, **TOLERANCE[dtype], err_msg=case)


def test_c_is_one_function_in_one_file(tmp_path):
    net = network("relu", "float32")
    source = export.c(net, tmp_path / "net.c", name="net")
    assert (tmp_path / "net.c").read_text() == source
    assert source.count("\nvoid ") == 1
    assert "malloc" not in source
    assert "double" not in source
    with pytest.raises(ValueError, match="identifier of C"):
        export.c(net, name="2 nets")
    net.theta[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        export.c(net)


# ---- ONNX ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_onnx_gives_the_predictions_of_the_network(name, dtype, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net = network(name, dtype)
    model = export.onnx(net, tmp_path / "net.onnx")
    assert model.opset_import[0].version == 18
    X = rows(dtype)
    near = TOLERANCE["float32" if name == "gelu" else dtype]
    found = predicted_in_onnx(tmp_path / "net.onnx", X)
    np.testing.assert_allclose(found, net.predict(X), **near)
    assert predicted_in_onnx(model, X[:1]).shape == (1, net.widths[-1])


def test_the_error_without_onnx_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[onnx\]"'):
        export.onnx(network("relu", "float32"))


def pipelines(dtype="float64"):
    from sklearn.datasets import load_diabetes, load_wine
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from fastbp.sklearn import MLPClassifier, MLPRegressor

    X, y = load_wine(return_X_y=True)
    diabetes = load_diabetes(return_X_y=True)
    options = {"hidden_layer_sizes": (8, 6), "max_iter": 30, "random_state": 0}
    cases = {
        "classes": (MLPClassifier(activation="silu", **options), X, y),
        "names": (MLPClassifier(**options), X, np.array(["a", "bb", "ccc"])[y]),
        "two classes": (MLPClassifier(**options), X, y == 1),
        "labels": (MLPClassifier(**options), X, np.eye(3, dtype=int)[y]),
        "number": (MLPRegressor(activation="tanh", **options), *diabetes),
        "numbers": (MLPRegressor(**options), X, X[:, :2]),
        "means": (MLPRegressor("gaussian_nll", **options), X, X[:, 0]),
        "two means": (MLPRegressor("gaussian_nll", **options), X, X[:, :2]),
        "median": (MLPRegressor("quantile(0.1, 0.5, 0.9)", **options), X, X[:, 0]),
        "two medians": (MLPRegressor("quantile(0.1, 0.5, 0.9)", **options), X, X[:, :2]),
        "ensemble": (MLPClassifier(n_members=3, **options), X, y),
        "ensemble of two classes": (MLPClassifier(n_members=2, **options), X, y == 1),
        "means of an ensemble": (MLPRegressor("gaussian_nll", n_members=3, **options), X, X[:, :2]),
    }
    for name, (model, inputs, targets) in cases.items():
        inputs = inputs.astype(dtype)
        yield name, make_pipeline(StandardScaler(), model).fit(inputs, targets), inputs


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_pipelines_can_be_converted_to_onnx(dtype):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    export.register_skl2onnx()
    for name, model, X in pipelines():
        inputs = X.astype(dtype)
        options = {type(model[-1]): {"zipmap": False}} if hasattr(model, "classes_") else None
        graph = skl2onnx.to_onnx(model, inputs[:1], target_opset=18, options=options)
        session = runtime.InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        found = session.run(None, {"X": inputs})
        predicted = model.predict(inputs)
        if options is None:
            assert session.get_outputs()[0].shape[1] == found[0].shape[1]
            found[0] = found[0].reshape(predicted.shape)
            np.testing.assert_allclose(found[0], predicted, rtol=1e-3, err_msg=name)
        else:
            np.testing.assert_array_equal(found[0], predicted, err_msg=name)
            expected = model.predict_proba(inputs)
            np.testing.assert_allclose(found[1], expected, rtol=1e-3, atol=1e-5, err_msg=name)


def check_scores(model, graph, X):
    """The outputs of an ONNX model against those of the estimator or pipeline."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = runtime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [end.name for end in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"X": X}), strict=True))
    predicted = model.predict(X)
    if not hasattr(model, "classes_"):
        assert names == ["variable"]
        assert found["variable"].dtype == X.dtype
        shaped = found["variable"].reshape(predicted.shape)
        np.testing.assert_allclose(shaped, predicted, rtol=1e-3)
        return
    assert names == ["label", "probabilities"]
    np.testing.assert_array_equal(found["label"], predicted)
    assert found["probabilities"].dtype == X.dtype
    expected = model.predict_proba(X)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_onnx_takes_estimators_and_pipelines(dtype, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    for name, model, X in pipelines(dtype):
        with monkeypatch.context() as without:  # estimators do not need it
            without.setitem(sys.modules, "skl2onnx", None)
            graph = export.onnx(model[-1], tmp_path / "model.onnx", name="own")
        assert (tmp_path / "model.onnx").read_bytes() == graph.SerializeToString(), name
        assert graph.graph.name == "own"
        check_scores(model[-1], graph, model[:-1].transform(X))
        if importlib.util.find_spec("skl2onnx"):
            graph = export.onnx(model, name="own")
            assert graph.graph.name == "own"
            assert all(each.version <= 18 for each in graph.opset_import)
            check_scores(model, graph, X)


def fitted_classifier():
    from fastbp.sklearn import MLPClassifier

    X = rows("float64", 30)
    model = MLPClassifier((4,), solver="lbfgs", max_iter=5, random_state=0)
    return model.fit(X, np.arange(30) % 2), X


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_other_exports_take_estimators(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    model, X = fitted_classifier()
    assert export.c(model) == export.c(model.network_)
    library = compiled(export.c(model), tmp_path)
    expected = model.predict_proba(X)[:, 1:]
    found = predicted_in_c(library, model.network_, X)
    np.testing.assert_allclose(found, expected, **TOLERANCE["float64"])
    state, exact = export.to_state_dict(model), export.to_state_dict(model.network_)
    assert list(state) == list(exact)
    arrays = [*state.values(), *export.to_keras_weights(model)]
    exact = [*exact.values(), *export.to_keras_weights(model.network_)]
    for ours, theirs in zip(arrays, exact, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    p = export.to_torch(model)(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(p, expected, **TOLERANCE["float64"])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["c", "to_state_dict", "to_torch", "to_keras_weights"])
def test_exports_of_one_network_name_the_members_of_an_ensemble(name):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    if name == "to_torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    model, X = fitted_classifier()
    model.set_params(n_members=2).fit(X, np.arange(30) % 2)
    match = rf"export\.{name} takes one network; this MLPClassifier is an ensemble of 2: export its"
    with pytest.raises(ValueError, match=match):
        getattr(export, name)(model)
    assert getattr(export, name)(model.estimators_[1]) is not None


@pytest.mark.parametrize("name", ["c", "onnx", "to_state_dict", "to_torch", "to_keras_weights"])
def test_what_is_neither_a_network_nor_fitted_is_named(name):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    if name == "to_torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    from fastbp.sklearn import MLPClassifier, MLPRegressor

    function = getattr(export, name)
    with pytest.raises(ValueError, match=f"this MLPRegressor is not fitted.*export.{name}"):
        function(MLPRegressor())
    with pytest.raises(TypeError, match=f"export.{name} takes a network.*; got LinearRegression"):
        function(LinearRegression())
    with pytest.raises(TypeError, match="got str"):
        function("net.safetensors")
    search = GridSearchCV(MLPClassifier(), {})
    search.best_estimator_ = None
    with pytest.raises(TypeError, match="got GridSearchCV: pass its best_estimator_"):
        function(search)
    if name != "onnx":
        with pytest.raises(TypeError, match=r"got Pipeline: pass its last step, pipeline\[-1\]"):
            function(make_pipeline(MLPClassifier()))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pipelines_that_onnx_cannot_take_are_refused(monkeypatch):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model, X = fitted_classifier()
    y = np.arange(30) % 2
    with pytest.raises(TypeError, match="ends in LinearRegression: convert it with skl2onnx"):
        export.onnx(make_pipeline(LinearRegression()))
    frame = pd.DataFrame(X, columns=list("abcde"))
    columns = make_pipeline(make_column_transformer((StandardScaler(), ["a", "b"])))
    with pytest.raises(ValueError, match=r"to_onnx\(pipeline, X\[:1\]"):
        export.onnx(make_pipeline(columns, model).fit(frame, y))
    by_place = make_pipeline(make_column_transformer((StandardScaler(), [0, 1])), model).fit(X, y)
    check_scores(by_place, export.onnx(by_place), X)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[skl2onnx\]"'):
        export.onnx(by_place)


# ---- PyTorch and Keras --------------------------------------------------------------------


def test_state_dict_round_trip():
    net = network("tanh", "float64")
    state = export.to_state_dict(net)
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    np.testing.assert_array_equal(state["2.weight"], net.layers[1].W.T)
    assert not np.shares_memory(state["0.bias"], net.layers[0].b)
    again = export.from_state_dict(state, activation="tanh", output="tanh")
    assert again.dtype == np.float64
    np.testing.assert_array_equal(again.predict(rows("float64")), net.predict(rows("float64")))


@pytest.mark.parametrize("loss", ["cross_entropy", "kl_divergence", "binary_cross_entropy", "mse"])
def test_imported_weights_get_the_output_that_the_loss_pairs_with(loss):
    net = network("tanh", "float64")
    pair = fastbp.losses.Loss(loss).pair or "identity"
    X, y = rows("float64"), np.eye(4)[np.arange(20) % 4]
    twin = fastbp.Network((5, 7, 4), activation="tanh", output=pair, loss=loss, dtype="float64")
    twin.theta = net.theta
    options = {"activation": "tanh", "loss": loss}  # warnings are errors
    for again in (
        export.from_state_dict(export.to_state_dict(net), **options),
        export.from_keras_weights(export.to_keras_weights(net), **options),
    ):
        assert again.loss(X, y) == twin.loss(X, y)
        assert str(again.activations[-1]) == pair
    named = export.from_state_dict(export.to_state_dict(net), output="sigmoid", **options)
    assert str(named.activations[-1]) == "sigmoid"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1.running_mean": np.zeros(7)}, "running_mean"),
        ({"9.weight": np.ones((3, 9)), "9.bias": np.ones(3)}, "layer 3"),
        ({"9.weight": np.ones((3, 4))}, "and have a bias"),
    ],
)
def test_state_dicts_that_do_not_fit_are_refused(change, message):
    state = export.to_state_dict(network("tanh", "float64"))
    with pytest.raises(ValueError, match=message):
        export.from_state_dict(state | change)


@pytest.mark.parametrize("name", CASES)
def test_torch_round_trip(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network(name, "float64")
    if name == "all kinds":
        with pytest.raises(ValueError, match="cannot have residual"):
            export.to_torch(net)
        return
    module = export.to_torch(net).eval()
    X = rows("float64")
    predicted = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(predicted, net.predict(X), rtol=1e-9, atol=1e-12)
    loss = "cross_entropy" if name == "softmax" else "squared_error"
    again = export.from_torch(module, loss=loss)
    assert [str(a) for a in again.activations] == [str(a) for a in net.activations]
    np.testing.assert_array_equal(again.theta, net.theta)


def test_torch_with_norms_and_dropout():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = [Dense(6, "relu", norm="layer", dropout=0.2), Dense(5, "gelu", norm="rms(1e-4)")]
    net = fastbp.Network.from_layers(5, [*layers, Dense(2, bias=False)], seed=0)
    module = export.to_torch(net).eval()
    X = rows("float32")
    predicted = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(predicted, net.predict(X), rtol=1e-4, atol=1e-5)
    again = export.from_torch(module)
    np.testing.assert_array_equal(again.theta, net.theta)
    assert [layer.dense for layer in again.layers] == [layer.dense for layer in net.layers]
    nn = torch.nn
    for wrong in ([nn.ReLU()], [nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(3)], [nn.Conv1d(1, 1, 1)]):
        with pytest.raises(ValueError, match=r"module \d.*does not fit"):
            export.from_torch(nn.Sequential(*wrong))
    with pytest.raises(ValueError, match="settings"):
        export.from_torch(nn.Sequential(nn.Linear(2, 3), nn.Softplus(beta=2)))


def test_torch_with_batch_norm():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network("batch norm", "float64")
    module = export.to_torch(net)
    norms = [each for each in module if isinstance(each, torch.nn.BatchNorm1d)]
    assert [(each.eps, each.momentum) for each in norms] == [(1e-3, 0.2), (1e-5, 0.1)]
    X = rows("float64")
    predicted = module.eval()(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(predicted, net.predict(X), rtol=1e-12, atol=1e-12)
    again = export.from_torch(module.train())  # in either mode
    np.testing.assert_array_equal(again.theta, net.theta)
    assert [layer.dense for layer in again.layers] == [layer.dense for layer in net.layers]


def test_batch_norm_trains_as_in_torch():
    """Five steps of both: outputs of the batch, loss, and running statistics, float64."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network("batch norm", "float64")
    module, X = export.to_torch(net).train(), rows("float64")
    y = np.random.default_rng(2).normal(size=(len(X), 4))
    sgd, optimizer = fastbp.optim.SGD(0.1), torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        error = ((module(torch.from_numpy(X)) - torch.from_numpy(y)) ** 2).sum(dim=1).mean() / 2
        error.backward()
        optimizer.step()
        assert net.train_batch(X, y, sgd) == pytest.approx(error.item(), rel=1e-10)
    for name, array in export.to_state_dict(net).items():
        theirs = module.state_dict()[name].numpy()
        np.testing.assert_allclose(array, theirs, rtol=1e-8, atol=1e-10, err_msg=name)


def test_keras_weights_with_batch_norm():
    net = network("batch norm", "float64")
    weights = export.to_keras_weights(net)
    assert [len(w) for w in weights if w.ndim == 1] == [7] * 5 + [6] * 4 + [4]
    norms = ["batch(0.001, momentum=0.2)", "batch(1e-05)"]
    options = {"activation": ["tanh", "relu"]}
    first, second = (
        export.from_keras_weights(weights, batch_norm=norm, **options) for norm in norms
    )
    np.testing.assert_array_equal(first.theta, net.theta)
    assert first.layers[0].dense == net.layers[0].dense
    assert second.layers[1].dense == net.layers[1].dense
    assert str(export.from_keras_weights(weights).layers[0].dense.norm).endswith("momentum=0.01)")
    with pytest.raises(ValueError, match="layer 1 must have W, b, .*; got 4 arrays"):
        export.from_keras_weights([*weights[:4], *weights[6:]])
    with pytest.raises(ValueError, match="of a layer with 7 units must have"):
        export.from_keras_weights([*weights[:4], weights[4][:6], *weights[5:]])
    with pytest.raises(ValueError, match="batch_norm must be a norm such as"):
        export.from_keras_weights(weights, batch_norm="layer")


def test_keras_weights_round_trip():
    net = network("tanh", "float32")
    weights = export.to_keras_weights(net)
    assert [w.shape for w in weights] == [(5, 7), (7,), (7, 4), (4,)]
    again = export.from_keras_weights(weights, activation="tanh", output="tanh")
    np.testing.assert_array_equal(again.predict(rows("float32")), net.predict(rows("float32")))
    with pytest.raises(ValueError, match="pairs"):
        export.from_keras_weights(weights[:-1])
    with pytest.raises(ValueError, match=r"layer 2.*7 units below"):
        export.from_keras_weights([weights[0], weights[1], weights[2].T, weights[1]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, on NumPy
def test_weights_in_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    layers = keras.layers
    net = fastbp.Network.from_layers(5, [Dense(7, norm="layer(1e-3)"), Dense(4)], seed=1)
    plain = fastbp.Network((5, 7, 4), activation="tanh", seed=1)
    X = rows("float32")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(7, "tanh"), layers.Dense(4)])
    model.set_weights(export.to_keras_weights(plain))
    np.testing.assert_allclose(model.predict(X, verbose=0), plain.predict(X), rtol=1e-4, atol=1e-6)
    again = export.from_keras_weights(model.get_weights(), activation="tanh")
    np.testing.assert_array_equal(again.theta, plain.theta)
    normed = keras.Sequential(
        [keras.Input((5,)), layers.Dense(7), layers.LayerNormalization(), layers.Dense(4)]
    )
    normed.set_weights(export.to_keras_weights(net))
    np.testing.assert_allclose(normed.predict(X, verbose=0), net.predict(X), rtol=1e-3, atol=1e-5)
    batch = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(7, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dense(4),
        ]
    )
    values = [np.abs(w) + 0.1 for w in batch.get_weights()]
    batch.set_weights(values)
    found = export.from_keras_weights(values, activation="tanh").predict(X)
    np.testing.assert_allclose(batch.predict(X, verbose=0), found, rtol=1e-4, atol=1e-6)


# ---- without copies -----------------------------------------------------------------------


def test_arrays_support_dlpack_and_the_buffer_protocol():
    net = network("tanh", "float32")
    net.forward(rows("float32"))
    views = {"theta": net.theta, "W": net.layers[0].W, "a": net.layers[0].a, "z": net.layers[1].z}
    for name, view in views.items():
        assert np.shares_memory(np.from_dlpack(view), view), name
        assert np.shares_memory(np.asarray(memoryview(view)), view), name


def test_arrays_become_tensors_of_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network("tanh", "float32")
    W = torch.from_dlpack(net.layers[0].W)
    W[2, 1] = 7
    assert net.layers[0].W[2, 1] == 7
