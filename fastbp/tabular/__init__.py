"""Read tables from files, turn their columns into inputs, and predict one column by the others.

A column contains either numbers, dates, or text that stands for categories. Messages and options
count columns and lines from 1, as cut, sort and spreadsheets do; -1 is the last column.
"""

from .._public import present
from ._encoder import TableEncoder
from ._inspect import ColumnReport, TableReport, inspect
from ._model import TableModel
from ._network import TableNetwork
from ._read import read_features, read_table
from ._table import Table, from_arrays

__all__ = [
    "ColumnReport",
    "Table",
    "TableEncoder",
    "TableModel",
    "TableNetwork",
    "TableReport",
    "from_arrays",
    "inspect",
    "read_features",
    "read_table",
]
present(__name__, __all__)
