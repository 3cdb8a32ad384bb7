"""A search, for tests on several ranks."""

from sklearn.datasets import load_iris

from fastbp.sklearn import MLPClassifier

X, Y = load_iris(return_X_y=True)
NETWORK = MLPClassifier(8, max_iter=20, random_state=0, learning_rate_init=0.01)
GRID = {"alpha": [0.01, 1.0, 10.0, 0.1], "learning_rate_init": [0.01, 0.1]}


def scores(search):
    """What a search has found, but for times."""
    results = {name: x for name, x in search.cv_results_.items() if "time" not in name}
    return repr(results), search.best_params_, search.predict_proba(X).tobytes()
