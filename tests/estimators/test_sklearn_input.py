"""Bad input of fastbp.sklearn: errors say what was expected and what came."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_cases import BOTH, data_for
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import StandardScaler

from fastbp.sklearn import MLPClassifier, from_sklearn, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_models_that_scikit_learn_cannot_represent_are_refused():
    X, y = data_for(MLPClassifier)
    with pytest.raises(ValueError, match="silu"):
        to_sklearn(MLPClassifier(4, "silu", max_iter=1).fit(X, y))
    with pytest.raises(TypeError, match="StandardScaler"):
        from_sklearn(StandardScaler())
    with pytest.raises(NotFittedError):
        from_sklearn(neural_network.MLPClassifier())


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "params",
    [
        {"alpha": -1},
        {"solver": "newton"},
        {"activation": "step"},
        {"hidden_layer_sizes": (4, 0)},
        {"hidden_layer_sizes": -3},
        {"learning_rate_init": 0},
        {"max_iter": 0},
        {"validation_fraction": 1.0},
        {"batch_size": 0},
        {"n_threads": 0},
        {"n_threads": 2**70},
        {"activation": ["relu"]},
    ],
)
def test_parameters_out_of_range_are_refused(kind, params):
    X, y = data_for(kind, 20)
    with pytest.raises(ValueError, match=r"\w"):
        kind(hidden_layer_sizes=(4, 4), random_state=0).set_params(**params).fit(X, y)


@pytest.mark.parametrize("kind", BOTH)
def test_bad_arguments_are_refused(kind):
    X, y = data_for(kind, 40)
    begun = kind()
    begun.n_outputs_ = 1  # set directly, as in a test of scikit-learn
    with pytest.raises(NotFittedError):
        kind().predict(X)
    with pytest.raises(NotFittedError):
        begun.predict(X)
    with pytest.raises(NotFittedError):
        kind().score(X, y)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        model = kind(hidden_layer_sizes=4, max_iter=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full_like(X, np.nan))
    with pytest.raises(ValueError, match="early_stopping"):
        kind(early_stopping=True).partial_fit(X, y, **classes_of(kind, y))
    with pytest.raises(AttributeError, match="partial_fit"):
        kind(solver="lbfgs").partial_fit(X, y)
    with pytest.raises(ValueError, match="lbfgs minimises one J, but dropout"):
        kind(solver="lbfgs", dropout=0.5).fit(X, y)
    with pytest.raises(ValueError, match="lbfgs takes no steps that could move the statistics"):
        kind(solver="lbfgs", norm="batch").fit(X, y)
    lbfgs = kind(hidden_layer_sizes=4, solver="lbfgs", max_iter=1, early_stopping=True)
    with pytest.raises(ValueError, match="no epochs, which validation_data would monitor"):
        lbfgs.fit(X, y, validation_data=("nonsense",))
    with pytest.raises(ValueError, match="no epochs, which X_val would monitor: leave X_val out"):
        lbfgs.fit(X, y, X_val=X, y_val=y)
    with pytest.raises(ValueError, match="no epochs, which callbacks would monitor"):
        clone(lbfgs).set_params(callbacks=[print]).fit(X, y)
    assert lbfgs.fit(X, y).n_iter_ == 1  # early_stopping has no effect, as in scikit-learn
    with pytest.raises(ValueError, match="sample_weight must not be negative; got -2"):
        kind().fit(X, y, sample_weight=np.full(len(X), -2.0))
    with pytest.warns(UserWarning, match="clipped") as warned:
        kind(hidden_layer_sizes=4, batch_size=1000, max_iter=1).fit(X, y)
    assert "_training" not in warned[0].filename  # it points to the caller of fit
    with pytest.raises(ValueError, match="non-finite"):
        kind(
            hidden_layer_sizes=4, solver="sgd", learning_rate_init=1e30, max_iter=20, random_state=0
        ).fit(X, 5 * y)


def classes_of(kind, y):
    return {"classes": np.unique(y)} if kind is MLPClassifier else {}


def test_bad_classes_are_refused():
    X, y = data_for(MLPClassifier, 60)
    with pytest.raises(ValueError, match="classes must be passed"):
        MLPClassifier().partial_fit(X, y)
    model = MLPClassifier(4).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="not in `self.classes_`"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="same classes"):
        MLPClassifier(4, warm_start=True, max_iter=1).fit(X, y).fit(X[y > 0], y[y > 0])
    with pytest.raises(ValueError, match="class_weight"):
        MLPClassifier(4, class_weight="balanced").fit(X, np.eye(3)[y][:, :2] + 0)
