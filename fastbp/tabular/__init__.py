"""A user's table from a .csv, .npz or .npy file, and what its target asks for.

Columns are numbers, or texts that stand for categories. In messages and options columns and
lines count from 1, as in cut, sort and spreadsheets; -1 is the last column.
"""

from .._public import present
from ._table import Table, from_arrays, read_features, read_table

__all__ = ["Table", "from_arrays", "read_features", "read_table"]
present(__name__, __all__)
