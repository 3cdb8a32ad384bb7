"""scikit-learn's own tests of its MLPs, run on the estimators of fastbp.sklearn.

The installed `sklearn.neural_network.tests.test_mlp` is imported while `sklearn.neural_network`
holds our estimators; every test in it then runs here under its own name. It passes from
scikit-learn 1.6 on.
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
# These three look into what is private to scikit-learn's estimators and does not exist in ours: the
# method _loss_grad_lbfgs, which is `network_.value_and_grad` here, and the attribute learning_rate
# of _optimizer, lr here. The gradient is held to differences by test_gradcheck, the rate of warm
# starts and of learning_rate="adaptive" by test_sklearn.
PRIVATE = {"test_gradient", "test_learning_rate_warmstart", "test_adaptive_learning_rate"}


def their_tests():
    """{name: test} of scikit-learn's file, on our estimators."""
    assert THEIRS not in sys.modules, "it has been imported with scikit-learn's own estimators"
    with patch.multiple("sklearn.neural_network", **{n: getattr(fastbp.sklearn, n) for n in NAMES}):
        module = import_module(THEIRS)
    found = {name: each for name, each in vars(module).items() if name.startswith("test_")}
    assert found.keys() >= PRIVATE, "the tests that are left out"
    return {name: test for name, test in found.items() if name not in PRIVATE}


@pytest.fixture
def global_random_seed():
    """The seed that scikit-learn's own conftest takes by default."""
    return 42


globals().update(their_tests())
