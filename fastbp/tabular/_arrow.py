"""Tables of Parquet and of Arrow files (Feather), by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._checks.size_limit import array_bytes
from .._files.atomic import naming
from ..errors import DataError

ARROW = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
PARQUET = (".parquet", ".pq")


def read_arrow(source: str, kind: str, max_bytes: int) -> dict[str, Any]:
    """Return the columns of a Parquet or Arrow file, by name.

    Raises
    ------
    DataError
        The file is damaged, has no columns, two columns of the same name, or would take more than
        `max_bytes` bytes as numbers.
    ImportError
        The package pyarrow is missing.
    OSError
        As `open` raises it.
    """
    with open(source, "rb"):  # an error of the system names the file
        pass
    pyarrow = _pyarrow(source)
    with _reading(source, pyarrow), naming(source):
        if kind in PARQUET:
            from pyarrow import parquet

            with parquet.ParquetFile(source) as file:
                _check_size(source, file.metadata.num_rows, file.metadata.num_columns, max_bytes)
                table = file.read()
        else:
            from pyarrow import feather

            table = _stream(source) or feather.read_table(source, memory_map=False)
    names = list(table.column_names)
    _check_size(source, table.num_rows, len(names), max_bytes)
    if not names or not table.num_rows:
        raise DataError(f"{source}: the table has {table.num_rows} rows and {len(names)} columns")
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise DataError(f"{source}: two columns are both named {twice[0]!r}; rename one")
    return {name: table.column(i) for i, name in enumerate(names)}


def _stream(source: str) -> Any:
    """The table of an Arrow file that is a stream; None if it is another kind of file."""
    import pyarrow

    with open(source, "rb") as file:
        if file.read(4) != b"\xff\xff\xff\xff":
            return None
        file.seek(0)
        return pyarrow.ipc.open_stream(file).read_all()


def _pyarrow(source: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            f'{source}: reading this file needs pyarrow: run pip install "fastbp[table]"'
        ) from error
    return pyarrow


@contextmanager
def _reading(source: str, pyarrow: Any) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError) or (isinstance(error, OSError) and error.errno):
            raise
        raise DataError(f"{source}: the file is damaged, or not of its kind: {error}") from error


def _check_size(source: str, n_rows: int, n_columns: int, max_bytes: int) -> None:
    what = f"{source}: the table of {n_rows:,} rows"
    array_bytes((n_rows, n_columns), np.dtype(np.float64), max_bytes, what)
