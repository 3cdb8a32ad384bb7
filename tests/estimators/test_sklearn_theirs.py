"""scikit-learn's tests of its MLPs, run with the estimators of fastbp.sklearn.

The installed `sklearn.neural_network.tests.test_mlp` is imported while our estimators replace those
of `sklearn.neural_network`; each of its tests then runs here under its own name. They pass with
scikit-learn 1.6 and later.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from unittest.mock import patch

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import fastbp.sklearn

THEIRS = "sklearn.neural_network.tests.test_mlp"
if find_spec(THEIRS.rpartition(".")[0]) is None:
    pytest.skip("this scikit-learn was packed without its tests", allow_module_level=True)

NAMES = ("MLPClassifier", "MLPRegressor")
# These three tests use private parts of scikit-learn's estimators that ours do not have: the method
# _loss_grad_lbfgs, which is `network_.value_and_grad` in fastbp, and the attribute learning_rate of
# _optimizer, which is lr in fastbp. test_gradcheck tests the gradient; test_sklearn tests the rate
# of warm starts and of learning_rate="adaptive".
PRIVATE = {"test_gradient", "test_learning_rate_warmstart", "test_adaptive_learning_rate"}


def their_tests():
    """{name: test} of scikit-learn's file, with our estimators."""
    assert THEIRS not in sys.modules, "already imported with scikit-learn's own estimators"
    with patch.multiple("sklearn.neural_network", **{n: getattr(fastbp.sklearn, n) for n in NAMES}):
        module = import_module(THEIRS)
    found = {name: each for name, each in vars(module).items() if name.startswith("test_")}
    assert found.keys() >= PRIVATE, "a test that is left out no longer exists"
    return {name: test for name, test in found.items() if name not in PRIVATE}


@pytest.fixture
def global_random_seed():
    """The default seed of scikit-learn's conftest."""
    return 42


globals().update(their_tests())
