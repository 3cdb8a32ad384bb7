"""Pictures contain the numbers that they show."""

import itertools
import sys

import numpy as np
import pytest

import fastbp
from fastbp import plot

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    matplotlib.pyplot.close("all")


def plane(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def drawn(figure):
    """The pixels of a figure, (height, width, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_learning_curves():
    X, y = plane()
    net = fastbp.Network((2, 8, 2), output="softmax", loss="cross_entropy", seed=0)
    history = net.fit(X, y, epochs=4, validation_data=(X, y))
    display = plot.HistoryDisplay.from_history(history)
    assert [line.get_label() for line in display.lines_] == ["loss", "val_loss"]
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), history.val_loss)
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), [1, 2, 3, 4])
    assert display.lines_[0].get_color() == display.lines_[1].get_color()
    assert display.ax_.get_ylabel() == "J (cross_entropy)" and history.loss_name == "cross_entropy"
    assert whole_ticks(display.ax_.xaxis) == [1, 2, 3, 4]
    speed = plot.HistoryDisplay.from_history(net.fit(X, y, epochs=1), names=["samples_per_second"])
    assert speed.ax_.get_ylabel() == "samples per second" and whole_ticks(speed.ax_.xaxis) == [1]
    assert (
        plot.HistoryDisplay({"loss": [1.0, 0.5], "f1": [0, 1]}).plot().ax_.get_ylabel() == "J, f1"
    )
    scores = plot.HistoryDisplay.from_history(history, names=["val_score"], ax=display.ax_)
    assert scores.ax_.get_ylabel() == "score"
    assert scores.ax_ is display.ax_
    with pytest.raises(KeyError, match="nonsense"):
        plot.HistoryDisplay.from_history(history, names=["nonsense"])
    with pytest.raises(TypeError, match=r"write names=\['loss'\]"):
        plot.HistoryDisplay.from_history(history, names="loss")


def test_learning_curves_of_an_estimator():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from fastbp.sklearn import MLPClassifier

    X, y = plane()
    model = MLPClassifier(4, max_iter=3, random_state=0, early_stopping=True)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, y)
    display = plot.HistoryDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), model.validation_scores_)
    assert display.ax_.get_ylabel() == "J (binary_cross_entropy), score"


def test_weights_as_a_matrix():
    net = fastbp.Network((6, 4, 1), seed=0)
    display = plot.WeightsDisplay.from_network(net)
    image = display.ax_.images[0]
    np.testing.assert_allclose(image.get_array(), net.layers[0].W.T)
    low, high = image.get_clim()
    assert -low == high == pytest.approx(np.abs(net.layers[0].W).max())
    assert display.ax_.get_title() == "W of layer 1"
    assert plot.WeightsDisplay(net.layers[0].W).plot().ax_.get_title() == ""
    assert image.get_extent() == [0.5, 6.5, 4.5, 0.5]  # inputs 1 … 6, units 1 … 4 downwards


def test_layers_of_weights_count_from_one_as_in_the_formulas():
    net = fastbp.Network((6, 4, 1), seed=0)
    for l in (1, np.int64(2)):
        display = plot.WeightsDisplay.from_network(net, layer=l)
        np.testing.assert_allclose(display.W, net.layers[l - 1].W)
        assert display.ax_.get_title() == f"W of layer {l}"
    for l, why in ((0, ", layer 0 is the inputs"), (3, ""), (-1, ", and the last is layer 2")):
        message = f"must be a layer, 1 to 2; got {l}: layers count from 1{why}$"
        with pytest.raises(ValueError, match=f"^layer {message}"):
            plot.WeightsDisplay.from_network(net, l)
        net.forward(np.zeros((1, 6)))
        with pytest.raises(ValueError, match=f"^l {message}"):
            net.pull_back(l, [[1.0]])
    with pytest.raises(TypeError, match="layer must be a whole number; got 1.0"):
        plot.WeightsDisplay.from_network(net, 1.0)


def whole_ticks(axis):
    """The ticks of an axis within its limits, which have to be whole numbers."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
    assert ticks and all(tick == round(tick) for tick in ticks)
    return ticks


def test_the_axis_of_one_unit_has_one_tick():
    ax = plot.WeightsDisplay.from_network(fastbp.Network((1, 1), seed=0)).ax_
    assert whole_ticks(ax.xaxis) == whole_ticks(ax.yaxis) == [1]
    ax = plot.WeightsDisplay.from_network(fastbp.Network((3, 2), seed=0)).ax_
    assert whole_ticks(ax.xaxis) == [1, 2, 3] and whole_ticks(ax.yaxis) == [1, 2]


@pytest.mark.parametrize("network", [fastbp.Network, fastbp.reference.Network])
def test_names_of_the_inputs_are_on_the_axis_of_weights(network):
    net = network((3, 4, 2), seed=0)
    net.feature_names = ("size", "a $name$ that has more characters than fit", "age")
    display = plot.WeightsDisplay.from_network(net)
    labels = display.ax_.get_xticklabels()
    assert [each.get_text() for each in labels] == ["size", "a $name$ that has more …", "age"]
    assert not any(each.get_parse_math() for each in labels)
    assert whole_ticks(display.ax_.xaxis) == [1, 2, 3]
    assert plot.WeightsDisplay.from_network(net, 2).input_names is None  # its inputs are units
    named = plot.WeightsDisplay.from_network(net, 2, input_names=list("abcd"))
    assert named.input_names == tuple("abcd")
    assert plot.WeightsDisplay.from_network(net, shape=(1, 3)).figure_ is not None
    with pytest.raises(ValueError, match="input_names has 2 names; W has the weights of 3 inputs"):
        plot.WeightsDisplay(net.layers[0].W, input_names=["a", "b"])


@pytest.mark.parametrize(("n", "named"), [(30, 30), (31, 16), (100, 25)])
def test_many_names_of_inputs_do_not_overlap(n, named):
    net = fastbp.Network((n, 2), seed=0)
    net.feature_names = [f"column{i}" for i in range(n)]
    display = plot.WeightsDisplay.from_network(net)
    labels = display.ax_.get_xticklabels()
    assert len(labels) == named and labels[1].get_text() == f"column{-(-n // 30)}"
    display.figure_.canvas.draw()
    boxes = [each.get_window_extent() for each in labels]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


def test_weights_as_images():
    net = fastbp.Network((6, 4, 1), seed=0)
    display = plot.WeightsDisplay.from_network(net, shape=(2, 3), units=3)
    pictures = [ax.images[0].get_array() for ax in display.ax_.flat if ax.images]
    assert len(pictures) == 3
    np.testing.assert_allclose(pictures[2], net.layers[0].W[:, 2].reshape(2, 3))
    with pytest.raises(ValueError, match=r"6 elements.*2 × 2 is 4"):
        plot.WeightsDisplay.from_network(net, 1, shape=(2, 2))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_the_boundary_shows_the_predictions_of_the_network(output):
    X, y = plane()
    loss = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}
    widths = (2, 8, 3 if output == "softmax" else 1)
    net = fastbp.Network(widths, output=output, loss=loss[output], seed=0)
    display = plot.BoundaryDisplay.from_network(net, X, y, resolution=20)
    at = np.array([[display.xs[3], display.ys[11]]], np.float32)
    said = net.predict(at)[0]
    expected = said.argmax() if output == "softmax" else said[0]
    assert display.response[11, 3] == pytest.approx(expected, abs=1e-5)
    assert display.xs[0] < X[:, 0].min() and display.ys[-1] > X[:, 1].max()
    assert len(display.ax_.collections[-1].get_offsets()) == len(X)
    with pytest.raises(ValueError, match="3"):
        plot.BoundaryDisplay.from_network(fastbp.Network((3, 1)), X)


def test_signals_during_training():
    X, y = plane()
    net = fastbp.Network((2, 16, 8, 1), output="sigmoid", loss="binary_cross_entropy", seed=0)
    recorder = plot.SignalsRecorder(X, y[:, None], every=2)
    net.fit(X, y, epochs=5, callbacks=[recorder])
    assert recorder.epochs == [0, 2, 4]
    shares = np.array(recorder.delta)
    assert shares.shape == (3, 3, 60)
    np.testing.assert_allclose(shares.sum(axis=2) + np.array(recorder.zero_delta), 1)
    net.forward(X)
    net.backward(y[:, None])
    assert recorder.zero_a[-1][0] == np.mean(net.layers[0].a == 0) > 0
    display = plot.SignalsDisplay.from_recorder(recorder)
    assert display.ax_.shape == (3, 2)
    assert "are 0" in display.ax_[0, 0].get_title()
    assert whole_ticks(display.ax_[-1, 0].xaxis)
    assert display.ax_[0, 0].images[0].get_extent()[:2] == [0, 6]  # epochs 1, 3, 5, each 2 wide
    assert len(np.unique(drawn(display.figure_).reshape(-1, 3), axis=0)) > 20


def test_a_recorder_does_not_change_training():
    X, y = plane()
    nets = [fastbp.Network((2, 8, 1), seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=3)
    nets[1].fit(X, y, epochs=3, callbacks=[plot.SignalsRecorder(X, y[:, None])])
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    with pytest.raises(ValueError, match="the recorder is empty"):
        plot.SignalsDisplay.from_recorder(plot.SignalsRecorder(X, y))
    with pytest.raises(ValueError, match="every"):
        plot.SignalsRecorder(X, y, every=0)
    with pytest.raises(TypeError, match="every must be a whole number"):
        plot.SignalsRecorder(X, y, every=1.5)


def test_the_network_with_a_sample():
    net = fastbp.Network((2, 3, 1), activation="tanh", seed=0)
    display = plot.NetworkDisplay.from_network(net, [0.5, -1.0], 2.0)
    texts = display.ax_.texts
    green = [t.get_text() for t in texts if t.get_color() == "tab:green"]
    red = [t.get_text() for t in texts if t.get_color() == "tab:red"]
    a = [0.5, -1.0, *net.layers[0].a[0], *net.layers[1].a[0]]
    assert green == [f"{value:.3g}" for value in a]
    assert red == [f"{v:.2g}" for v in [*net.layers[0].delta[0], *net.layers[1].delta[0]]]
    assert len(display.ax_.lines) == 2 * 3 + 3
    pixels = drawn(display.figure_)
    assert np.any((pixels[..., 1] > pixels[..., 0] + 80) & (pixels[..., 1] > pixels[..., 2] + 80))


def said(display):
    """The texts of a picture by their colour; those in black are names, targets and J."""
    found = {}
    for text in display.ax_.texts:
        if text.get_text():
            found.setdefault(text.get_color(), []).append(text.get_text())
    return found


@pytest.mark.parametrize("network", [fastbp.Network, fastbp.reference.Network])
def test_the_network_shows_z_names_target_cost_and_a_legend(network):
    net = network((2, 3, 2), activation="tanh", output="sigmoid", l2=0.1, seed=0)
    names = {"input_names": ["length", "width $x$"], "output_names": ("yes", "no")}
    display = plot.NetworkDisplay.from_network(net, [0.5, -1.0], [1.0, 0.25], **names)
    texts = said(display)
    z = [*net.layers[0].z[0], *net.layers[1].z[0]]
    assert texts["tab:purple"] == [f"{value:.3g}" for value in z]
    J = net.loss([[0.5, -1.0]], [[1.0, 0.25]])
    expected = [
        "length",
        "width $x$",
        f"J = {J:.3g}\nsquared_error",
        "yes",
        "y = 1",
        "no",
        "y = 0.25",
    ]
    assert texts["black"] == expected
    assert texts["0.35"] == ["inputs", "layer 1\ntanh", "layer 2\nsigmoid"]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["z", "a", "δ = ∂J/∂z", "w > 0", "w < 0"]
    drawn(display.figure_)  # $x$ is no formula to be read
    without = plot.NetworkDisplay.from_network(net, [0.5, -1.0])
    assert said(without)["black"] == ["x₁", "x₂"]
    legend = [text.get_text() for text in without.ax_.get_legend().get_texts()]
    assert legend == ["z", "a", "w > 0", "w < 0"]


def test_targets_of_classes_and_of_losses_with_more_outputs():
    net = fastbp.Network((2, 3), output="softmax", loss="cross_entropy", seed=0)
    texts = said(plot.NetworkDisplay.from_network(net, [1.0, 2.0], 1))["black"]
    assert texts[-3:] == ["y = 0", "y = 1", "y = 0"] and texts[2].endswith("\ncross_entropy")
    net = fastbp.Network((2, 2), loss="gaussian_nll", seed=0)
    texts = said(plot.NetworkDisplay.from_network(net, [1.0, 2.0], [3.5]))["black"]
    assert len(texts) == 3 and texts[2].endswith("\ngaussian_nll\ny = [3.5]")


def test_inputs_have_the_names_of_the_frame_that_the_network_knows():
    net = fastbp.Network((2, 1), seed=0)
    net.feature_names = ["size", "a name of many more letters than fit"]
    texts = said(plot.NetworkDisplay.from_network(net, [1.0, 2.0]))["black"]
    assert texts == ["size", "a name of many more let…"]
    other = plot.NetworkDisplay.from_network(net, [1.0, 2.0], input_names=("a", "b"))
    assert said(other)["black"] == ["a", "b"]
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"width": [1.0], "height": [2.0]})
    texts = said(plot.NetworkDisplay.from_network(fastbp.Network((2, 1)), frame))
    assert texts["black"] == ["width", "height"] and texts["tab:green"][:2] == ["1", "2"]
    row = said(plot.NetworkDisplay.from_network(fastbp.Network((2, 1)), frame.iloc[0]))
    assert row["black"] == ["width", "height"]
    with pytest.raises(ValueError, match="x has other columns .*: unexpected 'width', 'height'"):
        plot.NetworkDisplay.from_network(net, frame.iloc[0])
    boundary = plot.BoundaryDisplay.from_network(net, plane()[0], resolution=4)
    assert boundary.ax_.get_xlabel() == "size"
    net.feature_names = None
    boundary = plot.BoundaryDisplay.from_network(net, plane()[0], resolution=4)
    assert (boundary.ax_.get_xlabel(), boundary.ax_.get_ylabel()) == ("x₁", "x₂")


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ({"input_names": ["a"]}, ValueError, "input_names has 1 name; the network has 2 inputs$"),
        (
            {"output_names": "ab"},
            TypeError,
            "output_names must be a sequence of strings or None; got 'ab'",
        ),
        ({"output_names": [3]}, TypeError, r"output_names must hold strings; got 3 \(int\)"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, error, message):
    with pytest.raises(error, match=message):
        plot.NetworkDisplay.from_network(fastbp.Network((2, 1)), [1.0, 2.0], **names)


def test_only_one_sample_with_the_columns_of_the_training_is_drawn():
    net = fastbp.Network((2, 1), seed=0)
    with pytest.raises(ValueError, match=r"x must be one sample, of shape \(2,\), such as X\[0\]"):
        plot.NetworkDisplay.from_network(net, np.zeros((3, 2)))
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    net.feature_names = ["size", "age"]
    with pytest.raises(ValueError, match="columns of x are in another order"):
        plot.NetworkDisplay.from_network(net, pd.DataFrame({"age": [1.0], "size": [2.0]}))


def test_texts_of_a_picture_lie_within_it():
    net = fastbp.Network((3, 5, 2), output="softmax", loss="cross_entropy", seed=0)
    names = {"input_names": ["w" * 24] * 3, "output_names": ["W" * 24] * 2}
    for options in ({}, names):
        figure = (
            display := plot.NetworkDisplay.from_network(net, [1.0, 2, 3], 0, **options)
        ).figure_
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        for text in [*display.ax_.texts, *display.ax_.get_legend().get_texts()]:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.y0 >= 0, text
            assert box.x1 <= width and box.y1 <= height, text


def test_a_wide_network_is_drawn_partly():
    net = fastbp.Network((64, 10), output="softmax", loss="cross_entropy", seed=0)
    display = plot.NetworkDisplay.from_network(net, np.ones(64), 3)
    assert any("48 more" in text.get_text() for text in display.ax_.texts)
    assert len(display.ax_.lines) == 16 * 10
    without = plot.NetworkDisplay.from_network(net, np.ones(64))
    assert not [t for t in without.ax_.texts if t.get_color() == "tab:red"]


def test_gates_with_the_numbers_of_a_trace():
    x, y, z = fastbp.gates.inputs("x", "y", "z")
    trace = ((x + y) * z).trace(x=-2, y=5, z=-4)
    display = plot.GateDisplay.from_trace(trace)
    texts = display.ax_.texts
    green = [t.get_text() for t in texts if t.get_color() == "tab:green"]
    red = [t.get_text() for t in texts if t.get_color() == "tab:red"]
    assert green == ["−2", "5", "3", "−4", "−12"] and red == ["−4", "−4", "−4", "3", "1"]
    assert {"x", "y", "+", "g1", "z", "×", "f"} <= {t.get_text() for t in texts}
    heights = {t.get_text(): t.get_position()[1] for t in texts}
    assert heights["−12"] < heights["×"] < heights["1"] and display.ax_.yaxis_inverted()
    pixels = drawn(display.figure_)
    assert np.any((pixels[..., 1] > pixels[..., 0] + 80) & (pixels[..., 1] > pixels[..., 2] + 80))


def test_gates_are_drawn_on_axes_of_the_users():
    (x,) = fastbp.gates.inputs("x")
    from matplotlib import pyplot

    ax = pyplot.figure().subplots()
    display = plot.GateDisplay.from_trace((x * np.ones(2)).trace(x=[1.0, 2.0]), ax=ax)
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert any(patch.get_linestyle() == "--" for patch in ax.patches)  # of a constant
    again = display.plot()
    assert again is display and display.ax_ is not ax
    for _ in range(300):
        x = fastbp.gates.sin(x)
    with pytest.raises(ValueError, match="at most 250 gates"):
        plot.GateDisplay.from_trace(x.trace(x=1.0))


def test_the_error_without_matplotlib_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[plot\]"'):
        plot.WeightsDisplay(np.eye(2)).plot()
