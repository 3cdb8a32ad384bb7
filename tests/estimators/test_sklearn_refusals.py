"""Estimators refuse masked elements, numbers too large for float32 and impossible monitors."""

import re

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy import sparse

import fastbp
from fastbp.callbacks import EarlyStopping, ModelCheckpoint
from fastbp.schedules import ReduceLROnPlateau
from fastbp.sklearn import MLPClassifier, MLPRegressor

FEW = {"hidden_layer_sizes": 4, "max_iter": 2, "random_state": 0}
SEVERAL = np.arange(12.0).reshape(6, 2) / 12
EACH = {MLPClassifier: np.array([0, 1, 2, 0, 1, 2]), MLPRegressor: np.arange(6.0)}
ESTIMATOR_CALLS = {
    "X": lambda m, X, y, s: m.fit(masked(X, (1, 0)), y),
    "sparse X": lambda m, X, y, s: m.fit(late(X), y),
    "y": lambda m, X, y, s: m.fit(X, masked(y, 2)),
    "rows of y": lambda m, X, y, s: m.fit(X, list(masked(y, 2))),
    "sample_weight": lambda m, X, y, s: m.fit(X, y, sample_weight=masked(s, 3)),
    "validation X": lambda m, X, y, s: m.fit(X, y, validation_data=(masked(X, (1, 0)), y)),
    "validation y": lambda m, X, y, s: m.fit(X, y, validation_data=(X, masked(y, 1))),
    "validation weights": lambda m, X, y, s: m.fit(X, y, validation_data=(X, y, masked(s, 1))),
    "partial_fit": lambda m, X, y, s: m.partial_fit(X, masked(y, 1)),
    "predict": lambda m, X, y, s: m.predict(masked(X, (0, 0))),
    "score X": lambda m, X, y, s: m.score(masked(X, (0, 0)), y),
    "score y": lambda m, X, y, s: m.score(X, masked(y, 0)),
    "score weights": lambda m, X, y, s: m.score(X, y, sample_weight=masked(s, 0)),
}


def masked(values, *places):
    """The values with these elements masked."""
    mask = np.zeros(np.shape(values), bool)
    for place in places:
        mask[place] = True
    return np.ma.array(values, mask=mask)


def late(X):
    """Sparse rows of X with a masked element."""
    rows = sparse.csr_array(X)
    rows.data = masked(rows.data, 3)
    return rows


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("call", ESTIMATOR_CALLS.values(), ids=list(ESTIMATOR_CALLS))
def test_estimators_refuse_masked_elements(kind, call):
    model = kind(**FEW).fit(SEVERAL, EACH[kind])
    with pytest.raises(ValueError, match="masked element"):
        call(model, SEVERAL, EACH[kind], np.ones(6))


@pytest.mark.parametrize("kind", EACH)
def test_errors_of_estimators_name_the_validation_array(kind):
    X, y, s = SEVERAL, EACH[kind], np.ones(6)
    with pytest.raises(ValueError, match="^X_val holds 1 masked element"):
        kind(**FEW).fit(X, y, X_val=masked(X, (1, 0)), y_val=y)
    with pytest.raises(ValueError, match=r"^validation_data\[1\] holds 1 masked element"):
        kind(**FEW).fit(X, y, validation_data=(X, masked(y, 1)))
    with pytest.raises(ValueError, match="^sample_weight_val must not be negative"):
        kind(**FEW).fit(X, y, X_val=X, y_val=y, sample_weight_val=-s)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", EACH)
def test_estimators_take_masked_arrays_without_masked_elements(kind):
    ma, y = np.ma.array, EACH[kind]
    plain, same = kind(**FEW).fit(SEVERAL, y), kind(**FEW).fit(ma(SEVERAL), ma(y), ma(np.ones(6)))
    np.testing.assert_array_equal(same.predict(ma(SEVERAL)), plain.predict(SEVERAL))
    assert same.score(ma(SEVERAL), ma(y)) == plain.score(SEVERAL, y)


@pytest.mark.parametrize(
    ("parameters", "way"),
    [
        ({"solver": "muon"}, "solver=fastbp.optim.Muon()"),
        ({"solver": "AdamW"}, "solver=fastbp.optim.AdamW()"),
        (
            {"learning_rate": {"lr": "cosine", "dropout": "linear"}},
            "learning_rate=fastbp.schedules.Together(lr='cosine', dropout='linear')",
        ),
        (
            {"learning_rate": "coslog4"},
            "learning_rate=fastbp.schedules.CosLog4(total_iters=None, per='step')",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", EACH)
def test_names_of_fit_get_the_object_to_write(kind, parameters, way):
    y, dropout = EACH[kind], {"dropout": 0.1}
    with pytest.raises(ValueError, match=re.escape(f" instead. Write {way}.")):
        kind(**FEW | dropout | parameters).fit(SEVERAL, y)
    name, _, text = way.partition("=")
    kind(**FEW | dropout | {name: eval(text, {"fastbp": fastbp})}).fit(SEVERAL, y)


@pytest.mark.parametrize("parameters", [{"solver": "muo"}, {"alpha": -1, "learning_rate": {}}])
def test_other_wrong_parameters_get_no_object(parameters):
    with pytest.raises(ValueError, match=r"Got \S+ instead\.$"):
        MLPClassifier(**parameters).fit(SEVERAL, EACH[MLPClassifier])


def test_masked_classes_are_refused():
    with pytest.raises(ValueError, match="classes holds 1 masked element"):
        MLPClassifier().partial_fit(SEVERAL, EACH[MLPClassifier], classes=masked([0, 1, 2, 3], 3))


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("form", [np.array, sparse.csr_array])
def test_numbers_too_large_for_float32_are_named(kind, form):
    first = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    model = kind(hidden_layer_sizes=4).partial_fit(SEVERAL.astype("f4"), EACH[kind], **first)
    wide = SEVERAL.copy()
    wide[2, 1] = 1e39
    with pytest.raises(ValueError, match=r"X holds 1e\+39.*, beyond float32, which ends at"):
        model.partial_fit(form(wide), EACH[kind])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_impossible_monitors_are_refused_before_training(kind, tmp_path):
    X, y = np.arange(24.0).reshape(12, 2) / 24, np.arange(12) % 2

    def fit_with(callback):
        kind(hidden_layer_sizes=4, callbacks=[callback]).fit(X, y)

    lacking = "monitors '{}', which the logs lack: they hold loss"
    with pytest.raises(ValueError, match=lacking.format("val_loss")):
        fit_with(EarlyStopping())
    with pytest.raises(ValueError, match=lacking.format("val_score")):
        fit_with(EarlyStopping("val_score"))
    with pytest.raises(FileNotFoundError, match="missing"):
        fit_with(ModelCheckpoint(tmp_path / "missing" / "net.safetensors"))
    with pytest.raises(ValueError, match="ReduceLROnPlateau monitors 'val_loss'"):
        kind(learning_rate=ReduceLROnPlateau(monitor="val_loss")).fit(X, y)
    stop = EarlyStopping("val_score", patience=1)
    model = kind(hidden_layer_sizes=4, callbacks=[stop], tol=0.0)
    model.fit(X, y, validation_data=(X, y))
    assert stop.best == max(model.validation_scores_)
