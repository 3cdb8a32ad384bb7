"""PopulationSearchCV with its fits divided among the ranks of a communicator."""

import warnings
from pathlib import Path

import pytest
from rank_cases import on_ranks

pytest.importorskip("sklearn", reason="fastbp.sklearn cannot be imported")

from search_rank_cases import GRID, NETWORK, X, Y, scores
from sklearn.model_selection import StratifiedKFold

from fastbp.sklearn import PopulationSearchCV

pytestmark = pytest.mark.once

CASES = str(Path(__file__).parents[1])

SCRIPT = """
import warnings
from search_rank_cases import *
from sklearn.model_selection import StratifiedKFold
from fastbp.sklearn import PopulationSearchCV

warnings.simplefilter("ignore")

def refused(search, comm, X=X):
    try:
        search.fit(X, Y, comm=comm)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

"""
FITS = """
def main(comm):
    folds = StratifiedKFold(3, shuffle=True, random_state=comm.rank)
    drawn = PopulationSearchCV(
        NETWORK, param_distributions=GRID, n_iter=3, cv=folds, random_state=comm.rank
    )
    searches = [
        PopulationSearchCV(NETWORK, GRID, cv=3),
        PopulationSearchCV(NETWORK, GRID, cv=3, factor=2),
        drawn,
    ]
    return [scores(each.fit(X, Y, comm=comm)) for each in searches]
"""


def test_all_ranks_have_the_results_of_a_search_on_one_machine(tmp_path):
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    searches = [
        PopulationSearchCV(NETWORK, GRID, cv=3),
        PopulationSearchCV(NETWORK, GRID, cv=3, factor=2),
        PopulationSearchCV(NETWORK, param_distributions=GRID, n_iter=3, cv=folds, random_state=0),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [scores(each.fit(X, Y)) for each in searches]
    assert on_ranks(3, SCRIPT + FITS, tmp_path, PYTHONPATH=CASES) == [expected] * 3


REFUSED = """
def main(comm):
    last = comm.rank == comm.size - 1
    return [
        refused(PopulationSearchCV(NETWORK, {"alpha": [0.1 + comm.rank]}), comm),
        refused(PopulationSearchCV(NETWORK, {"alpha": [0.1]}), comm, X + last),
        refused(PopulationSearchCV(NETWORK, {"alpha": [0.1, -1.0]}, error_score="raise"), comm),
        refused(PopulationSearchCV(NETWORK, {"alpha": [-1.0]}), comm),
        refused(PopulationSearchCV(NETWORK, {"alpha": [0.1]}, min_epochs=3), comm),
        refused(PopulationSearchCV(NETWORK, {"alpha": [0.1]}), comm, X[:, :0] if last else X),
    ]
"""
SAID = [
    "ValueError: all ranks must call fit with the same members, data and arguments; param_grid",
    "ValueError: all ranks must call fit with the same members, data and arguments; X differs",
    "The 'alpha' parameter of MLPClassifier must be a float",
    "ValueError: \nAll the 5 fits failed",
    "min_epochs is for a halving",
    "X differs",
]


def test_errors_are_the_same_on_all_ranks(tmp_path):
    first, *others = on_ranks(2, SCRIPT + REFUSED, tmp_path, PYTHONPATH=CASES)
    assert others == [first]
    for found, said in zip(first, SAID, strict=True):
        assert said in found


def test_arguments_of_fit_that_are_routed_do_not_change():
    assert not hasattr(PopulationSearchCV, "set_fit_request")
