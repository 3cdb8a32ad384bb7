"""scikit-learn's multi-layer perceptrons on the fastbp engine: change the import, keep the script.

    from fastbp.sklearn import MLPClassifier, MLPRegressor

`from_sklearn` and `to_sklearn` turn fitted estimators of one kind into the other.
Constructor, attributes, defaults and meanings are scikit-learn's own; each class names what it has
beyond them. Needs scikit-learn 1.6 or later: `pip install "fastbp[sklearn]"`.
"""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError('fastbp.sklearn needs scikit-learn: run pip install "fastbp[sklearn]"')

from .._public import present
from ._classifier import MLPClassifier
from ._convert import from_sklearn, to_sklearn
from ._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn", "to_sklearn"]

present(__name__, __all__)
