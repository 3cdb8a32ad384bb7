"""scikit-learn's multi-layer perceptrons on the fastbp engine.

Scripts for scikit-learn run after a change of the import:

    from fastbp.sklearn import MLPClassifier, MLPRegressor

Constructors, attributes and defaults are those of `sklearn.neural_network`. The documentation of
each class lists its additional parameters. `from_sklearn` and `to_sklearn` convert fitted
estimators. `TabularClassifier` and `TabularRegressor` take data frames with text, dates and holes.
scikit-learn 1.6 or later is required: `pip install "fastbp[sklearn]"`.
"""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError('fastbp.sklearn needs scikit-learn: run pip install "fastbp[sklearn]"')

from .._public import present
from ._classifier import MLPClassifier
from ._convert import from_sklearn, to_sklearn
from ._cross_val import cross_val_population
from ._regressor import MLPRegressor
from ._search import PopulationSearchCV
from ._tabular import TabularClassifier, TabularRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "PopulationSearchCV",
    "TabularClassifier",
    "TabularRegressor",
    "cross_val_population",
    "from_sklearn",
    "to_sklearn",
]

present(__name__, __all__)
