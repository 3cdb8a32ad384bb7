"""Read tables from .csv, .npz and .npy files, and predict with models of tables.

A column contains either numbers, or text that stands for categories. Messages and options count
columns and lines from 1, as cut, sort and spreadsheets do; -1 is the last column.
"""

from .._public import present
from ._encoder import TableEncoder
from ._network import TableNetwork
from ._read import read_features, read_table
from ._table import Table, from_arrays

__all__ = ["Table", "TableEncoder", "TableNetwork", "from_arrays", "read_features", "read_table"]
present(__name__, __all__)
