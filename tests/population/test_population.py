"""What a population promises besides its bits: its arguments, predictions, ends and errors."""

import pickle
import signal
import threading

import numpy as np
import pytest

import fastbp
from fastbp import Population
from fastbp.optim import SGD, Adam
from fastbp.population._each import spread

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)).astype("f4")
Y = X.sum(axis=1, keepdims=True) ** 2


def population(n=3, **options):
    return Population.of(n, (3, 6, 1), activation="tanh", **options)


def thetas(networks):
    return [net.theta.copy() for net in networks]


# ---- making one ---------------------------------------------------------------------------


def test_members_are_the_networks_themselves():
    nets = [fastbp.Network((3, k, 1)) for k in (2, 4)]
    made = Population(nets)
    assert len(made) == 2
    assert made[0] is nets[0]
    assert list(made) == nets
    assert list(made[1:]) == nets[1:]


def test_of_gives_each_member_its_options():
    made = Population.of(2, (3, 4, 1), seeds=[5, 7], l2=[0.0, 0.5], activation=("tanh"))
    assert [net.seed for net in made] == [5, 7]
    assert [net.l2 for net in made] == [0.0, 0.5]
    assert {str(net.activations[0]) for net in made} == {"tanh"}


def draw_small(n_in, n_out, rng):
    return rng.normal(0.0, 0.1, (n_in, n_out))


@pytest.mark.parametrize("init", ["auto", "torch", "normal(0.5)", "orthogonal", draw_small])
def test_members_of_one_architecture_are_those_of_the_constructor(init):
    options = {"activation": "prelu", "l1": 0.1, "init": init, "dtype": "float64"}
    for k, net in enumerate(Population.of(3, (3, 4, 2, 1), seeds=[7, 8, 2**63], **options)):
        alone = fastbp.Network((3, 4, 2, 1), seed=[7, 8, 2**63][k], **options)
        np.testing.assert_array_equal(net.theta, alone.theta)
        assert net.dense == alone.dense and net.seed == alone.seed
        assert net.__getstate__().keys() == alone.__getstate__().keys()
        assert [layer.trainable for layer in net.layers] == [True] * 3


def test_options_that_alternate_stay_with_their_members():
    made = Population.of(4, (3, 4, 1), l2=[0.0, 0.5, 0.5, 0.0], init=["zeros", "he", "he", "he"])
    assert [net.l2 for net in made] == [0.0, 0.5, 0.5, 0.0]
    assert [bool(net.layers[0].W.any()) for net in made] == [False, True, True, True]


def test_what_one_member_is_set_to_stays_its_own():
    first, second = population(2)
    first.matmul_precision = "medium"
    first.layers[0].trainable = False
    assert second.matmul_precision == "highest" and second.layers[0].trainable


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Population([]), ValueError, "at least one"),
        (lambda: Population([3]), TypeError, "member 0 must be a fastbp.Network; got int"),
        (lambda: Population([fastbp.Network((3, 1))] * 2), ValueError, "twice"),
        (
            lambda: Population([fastbp.Network((3, 1)), fastbp.Network((4, 1))]),
            ValueError,
            "member 1 has 4 inputs and 1 outputs; member 0 has 3 and 1",
        ),
        (lambda: population(3, seeds=[1, 2]), ValueError, "seeds has 2 numbers"),
        (lambda: population(3, seed=1), TypeError, "seeds="),
        (lambda: population(3, l2=[0.0, 0.1]), ValueError, "l2 is a list of 2"),
        (lambda: population(0), ValueError, "n must be"),
    ],
    ids=["none", "no network", "twice", "widths", "seeds", "seed", "a short list", "0"],
)
def test_bad_members_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 3, [3, 3]),
        ("epochs", [3, 4], [3, 4]),
        ("metrics", ["r2", "mse"], [["r2", "mse"]] * 2),
        ("metrics", [["r2"], []], [["r2"], []]),
        ("callbacks", [print], [[print]] * 2),
        ("class_weight", [1, 2, 3], [[1, 2, 3]] * 2),
        ("class_weight", ["balanced", None], ["balanced", None]),
        ("validation_data", (1, 2), [(1, 2)] * 2),
        ("validation_data", [(1, 2), None], [(1, 2), None]),
        ("sample_weight", [1, 2], [[1, 2]] * 2),
    ],
)
def test_a_list_is_one_value_for_each_unless_it_is_a_value_itself(name, value, expected):
    assert spread(name, value, 2) == expected


# ---- fits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": [1, 2]}, ValueError, "epochs is a list of 2; the population has 3 members"),
        ({"epochs": [1, 0, 2]}, ValueError, "epochs must be"),
        ({"rows": [[0]]}, ValueError, "one array for each of 3 members; got a list of 1"),
        ({"rows": np.arange(3)}, ValueError, "got ndarray"),
        ({"rows": [[0], [90], [1]]}, ValueError, r"rows\[1\] names row 90; X has 90 rows"),
        ({"rows": [[0], [1], [-1]]}, ValueError, r"rows\[2\] names row -1"),
        ({"rows": [[0], [], [1]]}, ValueError, r"rows\[1\] is empty"),
        ({"rows": [[0.5], [1], [1]]}, TypeError, r"rows\[0\] must be a 1-D array of row numbers"),
        ({"rows": [[True], None, None]}, ValueError, r"rows\[0\] is a mask of 1; X has 90"),
        ({"optimizer": [Adam()] * 3}, ValueError, "the same object twice"),
        ({"batch_size": [4, 4, 0]}, ValueError, "batch_size must be"),
        ({"sample_weight": np.zeros(90)}, ValueError, "positive, finite sum"),
        ({"validation_split": 1.0}, ValueError, "validation_split"),
        ({"metrics": ["nothing"]}, ValueError, "nothing"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_change_nothing(arguments, error, message):
    made = population()
    before = thetas(made)
    with pytest.raises(error, match=message):
        made.fit(X, Y, **arguments)
    for net, theta in zip(made, before, strict=True):
        np.testing.assert_array_equal(net.theta, theta)


def test_an_error_says_which_member_it_concerns():
    with pytest.raises(ValueError, match="batch_size") as caught:
        population().fit(X, Y, batch_size=[8, 8, -1])
    assert caught.value.__notes__ == ["in member 2 of a population of 3"]


def test_bad_data_are_refused_before_anything_changes():
    made = population()
    before = thetas(made)
    bad = X.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN|nan"):
        made.fit(bad, Y)
    with pytest.raises(ValueError, match="3"):
        made.fit(X[:, :2], Y)
    for net, theta in zip(made, before, strict=True):
        np.testing.assert_array_equal(net.theta, theta)


def test_rows_choose_no_samples_of_a_stream():
    with pytest.raises(TypeError, match="stream"):
        population().fit(fastbp.stream(X, Y), rows=[None] * 3)


def test_rows_do_not_part_pairs():
    nets = [fastbp.Network((3, 4, 1), loss="margin_ranking", seed=k) for k in range(2)]
    with pytest.raises(TypeError, match="takes together"):
        Population(nets).fit(X, rows=[np.arange(4), None])


def test_a_member_that_diverges_ends_alone():
    made = population(4)
    histories = made.fit(X, Y, epochs=6, optimizer=[SGD(0.01), SGD(1e30), SGD(0.01), SGD(0.01)])
    assert [history.stopped_by for history in histories] == [None, "divergence", None, None]
    assert [history.epochs for history in histories] == [6, histories[1].epochs, 6, 6]
    assert histories[1].epochs < 6
    assert all(np.isfinite(net.theta).all() for net in made)


def test_a_time_budget_ends_all_after_whole_steps():
    made = population(3)
    histories = made.fit(X, Y, epochs=10**6, time_budget=0.2)
    assert [history.stopped_by for history in histories] == ["time_budget"] * 3
    assert all(history.epochs > 0 for history in histories)


def test_an_optimiser_for_all_is_copied_for_each():
    optimizer = Adam(lr=0.01)
    made = population()
    made.fit(X, Y, epochs=2, optimizer=optimizer)
    assert optimizer.t == 0


def test_copies_of_an_optimiser_change_alone():
    optimizer = Adam(lr=0.01, betas=(0.8, 0.9))
    optimizer.bind(5, np.dtype("float32"))
    optimizer.moments[0][:] = 3
    first, second = optimizer._copies(2)
    assert first.packed() is second.packed()  # until a value changes
    first.lr = 0.5
    first.moments[0][:] = 4
    assert [each.packed()["hyper"]["lr"] for each in (first, second, optimizer)] == [
        0.5,
        0.01,
        0.01,
    ]
    assert [each.moments[0][0] for each in (first, second, optimizer)] == [4, 3, 3]


def test_an_unknown_optimiser_for_all_is_refused():
    with pytest.raises(ValueError, match="unknown optimizer 'adams'") as caught:
        population().fit(X, Y, optimizer="adams")
    assert caught.value.__notes__ == ["in member 0 of a population of 3"]


def test_a_callback_that_fails_ends_all_fits():
    ended = []

    class Watch:
        def on_fit_begin(self, net):
            pass

        def on_fit_end(self, net):
            ended.append(net)

    def fail(epoch, logs):
        if epoch == 2:
            raise RuntimeError("enough")

    made = population(3)
    with pytest.raises(RuntimeError, match="enough"):
        made.fit(X, Y, epochs=9, callbacks=[[Watch()], [Watch(), fail], [Watch()]])
    assert sorted(map(id, ended)) == sorted(map(id, made))
    assert made.fit(X, Y, epochs=1)[0].epochs == 1


def test_checkpoints_resume_every_member_to_the_same_bits(tmp_path):
    expected, stopped = population(3), population(3)
    expected.fit(X, Y, epochs=8, batch_size=16)

    def stop(epoch, logs):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, Y, epochs=8, batch_size=16, checkpoint=tmp_path, callbacks=[[], [stop], []])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"member-000{k}" for k in range(3)]
    resumed = population(3)
    histories = resumed.fit(X, Y, epochs=8, batch_size=16, checkpoint=tmp_path)
    assert [history.epochs for history in histories] == [8] * 3
    for one, other in zip(expected, resumed, strict=True):
        np.testing.assert_array_equal(other.theta, one.theta)


@pytest.fixture
def sigint_interrupts():
    """SIGINT raises KeyboardInterrupt, even in processes that ignore it, as those of xdist."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_every_member_after_a_whole_step(tmp_path, sigint_interrupts):
    made = population(3)
    seldom = {"epochs": 10**7, "every": "1000000 epochs"}
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            made.fit(X, Y, checkpoint=tmp_path, time_budget=60, **seldom)
    finally:
        timer.cancel()
    for k, net in enumerate(population(3)):
        folder = tmp_path / f"member-{k:04d}"
        history = net.fit(X, Y, checkpoint=folder, resume=True, time_budget=1e-6, **seldom)
        assert history.epochs >= 1


def test_networks_can_be_trained_alone_afterwards():
    made = population(2)
    made.fit(X, Y, epochs=2)
    made[0].matmul_precision = "highest"
    assert made[0].fit(X, Y, epochs=1).epochs == 1


def test_progress_counts_the_epochs_of_all_members(capsys):
    pytest.importorskip("tqdm")
    population(3).fit(X, Y, epochs=[2, 3, 4], progress=True)
    assert "9/9" in capsys.readouterr().err


def test_progress_is_a_line_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    population(3).fit(X, Y, epochs=2, progress=True)
    assert capsys.readouterr().err.splitlines()[-1] == "6/6 epochs  3/3 networks"


# ---- predictions --------------------------------------------------------------------------


def test_predictions_are_those_of_the_members():
    made = population(3)
    outputs = made.predict(X)
    assert outputs.shape == (3, 90, 1)
    for k, net in enumerate(made):
        np.testing.assert_array_equal(outputs[k], net.predict(X))
    np.testing.assert_allclose(made.predict_mean(X), outputs.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.predict_spread(X), outputs.std(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made.predict_mean(X, [1]), outputs[1])
    expected = (2 * outputs[0] + outputs[2]) / 3
    np.testing.assert_allclose(made.predict_mean(X, [0, 0, 2]), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="from 0 to 2"):
        made.predict_mean(X, [3])


def test_loss_is_that_of_each_member():
    made = population(3)
    assert made.loss(X, Y).tolist() == [net.loss(X, Y) for net in made]


def test_the_widest_dtype_holds_all_outputs():
    nets = [fastbp.Network((3, 2, 1), dtype=dtype) for dtype in ("float32", "float64")]
    assert Population(nets).predict(X).dtype == np.float64


def test_select_finds_members_that_correct_each_other():
    """Two members whose errors cancel out beat a better one by itself."""
    nets = [fastbp.Network((3, 1), init="zeros") for _ in range(3)]
    for net, shift in zip(nets, (0.5, 1.0, -1.0), strict=True):
        net.layers[0].b[...] = shift
    y = np.zeros((90, 1))
    made = Population(nets)
    assert sorted(set(made.select(X, y, "mse", size=3))) == [0, 2]
    chosen = made.select(X, y, "mse", size=12)
    assert np.abs(made.predict_mean(X, chosen)).max() < 1e-6
    assert made.select(X, y, "mse", size=1) == [0]


def test_select_never_scores_worse_than_the_best_member():
    made = population(5)
    made.fit(X, Y, epochs=20, rows=[RNG.integers(0, 90, 90) for _ in range(5)])

    def error(outputs):
        return float(((outputs - Y) ** 2).mean())

    chosen = made.select(X, Y, "mse", size=8)
    assert error(made.predict_mean(X, chosen)) <= min(map(error, made.predict(X))) * (1 + 1e-6)


def test_select_compares_members_of_one_loss():
    nets = [fastbp.Network((3, 1), loss=loss) for loss in ("squared_error", "huber")]
    with pytest.raises(ValueError, match="huber, squared_error"):
        Population(nets).select(X, Y)


# ---- copies and pictures ------------------------------------------------------------------


def test_a_pickle_has_all_members():
    made = population(3)
    made.fit(X, Y, epochs=1)
    copied = pickle.loads(pickle.dumps(made))
    for net, other in zip(made, copied, strict=True):
        np.testing.assert_array_equal(other.theta, net.theta)


def test_a_notebook_shows_a_table():
    text = Population.of(30, (3, 6, 1))._repr_html_()
    assert text.count("<tr>") == 21
    assert "and 10 more" in text
    assert repr(population(2)) == "fastbp.Population(2 networks, (3, 6, 1))"
