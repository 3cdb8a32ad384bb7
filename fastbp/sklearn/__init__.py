"""scikit-learn's multi-layer perceptrons on the fastbp engine: change the import, keep the script.

    from fastbp.sklearn import MLPClassifier, MLPRegressor

`from_sklearn` and `to_sklearn` turn fitted estimators of one kind into the other.
Constructor, attributes, defaults and meanings are scikit-learn's own; each class names what it has
beyond them. Needs scikit-learn 1.6 or later: `pip install "fastbp[sklearn]"`.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastbp.sklearn needs scikit-learn: run pip install "fastbp[sklearn]"'
    ) from error

from ._classifier import MLPClassifier
from ._convert import from_sklearn, to_sklearn
from ._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn", "to_sklearn"]
