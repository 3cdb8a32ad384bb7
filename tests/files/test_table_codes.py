"""TableModel with texts of many levels, whose codes the first layer embeds."""

import copy

import numpy as np
import pytest
from encoder_cases import made

import fastbp
from fastbp import Categories, Population
from fastbp.errors import ModelFileError
from fastbp.tabular import TableEncoder, TableModel
from fastbp.tabular._ensemble import Ensemble, Plan

pytestmark = pytest.mark.once

LEVELS = [f"shop {i:03}" for i in range(300)]


def sales(n=3000, seed=0):
    """Columns and a number: each of 300 shops has a mean and a slope of its own."""
    rng = np.random.default_rng(seed)
    mean, slope = np.random.default_rng(99).normal(size=(2, len(LEVELS)))
    shop, x = rng.permutation(n) % len(LEVELS), rng.normal(size=n)
    columns = {
        "shop": np.array(LEVELS, object)[shop],
        "x": x,
        "unused": rng.normal(size=n),
        "day": np.array(["Mon", "Tue", "Wed"], object)[rng.integers(3, size=n)],
    }
    return columns, mean[shop] + slope[shop] * x


def quick(**options):
    options = {"n_members": 2, "epochs": 4, "high_cardinality": "codes"} | options
    return TableModel("fast", **options)


@pytest.fixture(scope="module")
def model():
    """A model that tests must not change."""
    return quick(epochs=12).fit(*sales())


def test_it_learns_what_a_mean_of_the_target_does_not_say(model):
    columns, y = sales(1000, 1)
    means = quick(epochs=12, high_cardinality="target").fit(*sales())
    assert model.score(columns, y) > 0.7 > means.score(columns, y) + 0.1
    assert model.encoder.code_levels == (300,)
    assert means.encoder.code_levels == ()


@pytest.mark.parametrize(("option", "width"), [({}, 16), ({"embedding_width": 5}, 5)])
def test_the_first_layer_embeds_the_codes(option, width):
    model = quick(**option).fit(*sales())
    for net in model.networks:
        assert net.dense[0].categories.levels == (300,)
        assert net.dense[0].categories.width == (width,)
        assert net.dense[1].categories is None
        assert [table.shape for table in net.layers[0].tables] == [(300, width)]


def test_few_levels_stay_one_input_each():
    columns, y = sales()
    columns["shop"] = columns["day"]
    model = quick(embedding_width=3).fit(columns, y)
    assert model.encoder.code_levels == ()
    assert model.networks[0].dense[0].categories is None


def test_classes_validation_data_weights_and_a_time_limit():
    columns, y = sales()
    new, of_new = sales(500, 1)
    names = np.array(["low", "middle", "high"])
    model = quick(time_limit=60.0).fit(
        columns,
        names[np.digitize(y, [-1, 1])],
        sample_weight=np.linspace(0.5, 1.5, len(y)),
        validation_data=(new, names[np.digitize(of_new, [-1, 1])]),
    )
    probabilities = model.predict_proba(new)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert model.score(new, names[np.digitize(of_new, [-1, 1])]) > 0.5


def test_threads_change_no_bit():
    one, two = (quick(n_threads=n).fit(*sales()) for n in (1, 2))
    for a, b in zip(one.networks, two.networks, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)
    assert one.importances() == two.importances()


def test_unseen_levels_and_holes_have_no_vector(model):
    columns = {"shop": ["shop 001", "new", None, ""], "x": [0.3] * 4, "unused": [0.0] * 4}
    found = model.predict(columns | {"day": ["Mon"] * 4})
    assert np.isfinite(found).all()
    assert found[0] != found[1] == found[2] == found[3]


def test_an_encoder_of_ones_own_may_make_codes():
    encoder = TableEncoder(max_one_hot=2, pieces=8, high_cardinality="codes", min_count=2)
    columns, y = sales()
    model = quick(encoder=encoder, high_cardinality=None, embedding_width=2).fit(columns, y)
    assert model.encoder.code_levels == (300, 3)
    assert model.networks[0].dense[0].categories == Categories([300, 3], 2, std=_std(model))
    with pytest.raises(ValueError, match="either encoder or high_cardinality"):
        TableModel(encoder=encoder, high_cardinality="codes")


def _std(model):
    return model.networks[0].dense[0].categories.std


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"high_cardinality": "hash"}, ValueError, "unknown high_cardinality 'hash'; known: auto"),
        ({"embedding_width": 0}, ValueError, "embedding_width"),
        ({"embedding_width": 2.5}, TypeError, "embedding_width"),
        ({"embedding_width": 4097}, ValueError, "embedding_width must be at most 4096; got 4097"),
    ],
)
def test_options_that_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        TableModel(**options)


# ---- codes or means -----------------------------------------------------------------------


def chosen(columns, y, **options):
    """What a model that is not told has taken, and what it says of it."""
    said, options = [], {"high_cardinality": None, "verbose": True, "n_members": 1} | options
    model = quick(**options).fit(columns, y, say=said.append)
    return model.encoder, said


def test_held_out_rows_decide_for_codes():
    encoder, said = chosen(*sales())
    assert encoder.code_levels == (300,)
    assert said[0].startswith("shop: embedded codes; the held-out error of a network is 0.")
    assert len(said) == 2


@pytest.mark.parametrize("validated", [False, True])
def test_held_out_rows_decide_for_means(validated):
    """… where levels say nothing that rows of their own would teach."""
    columns, _ = sales()
    y = columns["x"] + np.random.default_rng(5).normal(size=len(columns["x"]))
    data = {}
    if validated:
        new, _ = sales(1000, 1)
        data["validation_data"] = (new, new["x"])
    said = []
    model = quick(high_cardinality="auto", verbose=True, n_members=1)
    model.fit(columns, y, say=said.append, **data)
    assert model.encoder.code_levels == ()
    assert "shop mean" in model.encoder.get_feature_names_out()
    assert said[0].startswith("shop: means of the target; ")


def test_an_encoder_and_few_levels_leave_nothing_to_decide():
    columns, y = sales()
    encoder, said = chosen(columns, y, encoder=TableEncoder())
    assert (encoder.code_levels, len(said)) == ((), 1)
    columns["shop"] = columns["day"]
    assert len(chosen(columns, y)[1]) == 1


def test_what_diverges_is_not_taken(monkeypatch):
    network = Plan.network

    def wrong_with_codes(plan, n_inputs, k):
        net = network(plan, n_inputs, k)
        if plan.categories is not None:
            net.theta[-1] = np.nan
        return net

    monkeypatch.setattr(Plan, "network", wrong_with_codes)
    encoder, said = chosen(*sales())
    assert encoder.code_levels == ()
    assert "is inf with codes" in said[0]


def test_a_time_limit_that_is_too_short_takes_means():
    assert chosen(*sales(), time_limit=1e-6)[0].code_levels == ()


def test_a_time_limit_that_is_half_used_up_compares_nothing():
    encoder, said = chosen(*sales(), time_limit=1e-6)
    assert "shop mean" in encoder.get_feature_names_out()
    assert said[0] == "shop: means of the target; time_limit leaves no time to compare"


def test_ctrl_c_while_inputs_are_compared_keeps_no_model(monkeypatch):
    def interrupted(*_, **__):
        return Ensemble([], [], shared=False, histories=[], interrupted=True)

    monkeypatch.setattr("fastbp.tabular._ensemble.train", interrupted)
    model = quick(high_cardinality="auto")
    with pytest.raises(KeyboardInterrupt):
        model.fit(*sales())
    assert model.networks == []


# ---- importances --------------------------------------------------------------------------


def sensitivity(model, columns, name):
    """mean |Σ (∂a/∂u)·(u − ū)| of a column by central differences, in units of the target."""
    h, total = 1e-2, 0.0
    inputs = model.encoder.transform(made(columns)).astype(np.float64)
    place = model.encoder.places[name]
    for net in model.networks:
        outputs = []
        for sign in (-1, 1):
            other, moved = copy.deepcopy(net), inputs.copy()
            if name == "shop":
                table = other.layers[0].tables[0]
                seen = table[inputs[:, place[0]].astype(int)].mean(axis=0)
                table += sign * h * (table - seen)
            else:
                moved[:, place] += sign * h * (moved[:, place] - inputs[:, place].mean(axis=0))
            outputs.append(other.predict(moved.astype(np.float32)).astype(np.float64))
        total += abs(outputs[1] - outputs[0]).mean() / (2 * h)
    return total


def test_gradients_go_to_the_vectors(model):
    columns, _ = sales(400, 2)
    found = model.importances(columns, kind="gradient")
    each = {name: sensitivity(model, columns, name) for name in model.features}
    total = sum(each.values())
    assert list(found) == ["shop", "x", "unused", "day"]
    for name, share in found.items():
        assert share == pytest.approx(each[name] / total, rel=0.02, abs=2e-4)
    fitted = model.importances()
    assert sum(fitted.values()) == pytest.approx(1)
    assert fitted["shop"] > fitted["x"] > fitted["unused"] + fitted["day"]


def test_rows_without_a_vector_have_importances(model):
    columns, y = sales(400, 2)
    columns["shop"][::3] = "new"
    found = model.importances(columns, kind="gradient")
    assert sum(found.values()) == pytest.approx(1)
    assert found["shop"] == max(found.values())
    grown = model.importances(columns, y)
    assert grown["shop"] > grown["unused"]


# ---- files --------------------------------------------------------------------------------


def test_files_give_the_same_bits(model, tmp_path):
    new = sales(100, 3)[0]
    model.save(tmp_path / "model")
    loaded = fastbp.load(tmp_path / "model")
    assert type(loaded) is TableModel
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    assert loaded.importances() == model.importances()
    assert loaded.importances(new, kind="gradient") == model.importances(new, kind="gradient")
    assert loaded.encoder.code_levels == (300,)
    assert repr(loaded) == repr(model)


def test_networks_of_other_levels_are_refused(model, tmp_path):
    nets = copy.deepcopy(model.networks)
    known = model._to_dict()
    of_shop = known["encoder"]["columns"][0]
    of_shop["levels"] = of_shop["levels"][:-1]
    nets[0].preprocessing = known
    Population(nets).save(tmp_path / "forged")
    with pytest.raises(ModelFileError, match=r"codes of \[299\] levels, and a network .* \[300\]"):
        fastbp.load(tmp_path / "forged")
