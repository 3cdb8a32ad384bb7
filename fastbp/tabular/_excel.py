"""The cells of a sheet of Excel or LibreOffice as text of a .csv file, so that its rules hold."""

from __future__ import annotations

import csv
import datetime as dt
import io
import zipfile
from typing import Any

import numpy as np

from .._checks.size_limit import array_bytes
from ..errors import DataError

EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def read_sheet(source: str, sheet: str | None, max_bytes: int) -> tuple[bytes, list[str]]:
    """Return a sheet as a .csv file, with a line for each row, and notes for the user.

    Numbers have all their digits, dates are ISO 8601, truth values are true and false, and
    durations are seconds.

    Parameters
    ----------
    source : str
        The file.
    sheet : str, optional
        The name of the sheet, or its number from 1; by default the first.
    max_bytes : int
        The maximum size of the file in memory.

    Raises
    ------
    DataError
        There is no such sheet, it is empty, or the file is damaged or too large.
    ImportError
        The package python-calamine is missing.
    """
    try:
        import python_calamine
    except ImportError as error:
        raise ImportError(
            f'{source}: reading Excel files needs python-calamine: run pip install "fastbp[table]"'
        ) from error
    with open(source, "rb"):  # an error of the system names the file
        pass
    _check_size(source, max_bytes)
    try:
        book = python_calamine.CalamineWorkbook.from_path(source)
        names = list(book.sheet_names)
        name = _chosen(source, names, sheet)
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except (python_calamine.CalamineError, zipfile.BadZipFile) as error:
        raise DataError(f"{source}: the file is damaged: {error}") from error
    notes = []
    if sheet is None and len(names) > 1:
        notes = [f"the file has {len(names)} sheets; {name!r} is read (--sheet names another)"]
    return _as_csv(source, rows, notes), notes


def _chosen(source: str, names: list[str], sheet: str | None) -> str:
    if sheet is None and names:
        return names[0]
    if sheet in names:
        return str(sheet)
    if sheet is not None and sheet.isdecimal() and 1 <= int(sheet) <= len(names):
        return names[int(sheet) - 1]
    shown = ", ".join(map(repr, names))
    raise DataError(f"{source}: no sheet {sheet!r}; there are {len(names)}: {shown}")


def _check_size(source: str, max_bytes: int) -> None:
    """DataError for a compressed file that would take more memory than allowed."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            n = sum(member.file_size for member in archive.infolist())
        array_bytes((n,), np.dtype("u1"), max_bytes, f"{source}: the file, decompressed,")


def _as_csv(source: str, rows: list[list[Any]], notes: list[str]) -> bytes:
    filled = [[j for j, cell in enumerate(row) if cell != ""] for row in rows]
    used = [each for each in filled if each]
    if not used:
        raise DataError(f"{source}: the sheet is empty")
    first, last = min(each[0] for each in used), max(each[-1] for each in used)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    durations = False
    for row, each in zip(rows, filled, strict=True):
        cells = row[first : last + 1]
        durations |= any(isinstance(cell, dt.timedelta) for cell in cells)
        if each:
            writer.writerow([_written(cell) for cell in cells])
        else:
            text.write("\n")  # an empty line, which the reader counts and skips
    if durations:
        notes.append("durations are read in seconds")
    return text.getvalue().encode("utf-8", "replace")


def _written(cell: Any) -> str:
    """Return a cell as a .csv file has it, without line breaks, so that lines are rows."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        whole = cell.is_integer() and abs(cell) < 2**53
        return str(int(cell)) if whole else repr(cell)
    if isinstance(cell, dt.datetime):
        return cell.isoformat(" ")
    if isinstance(cell, dt.timedelta):
        return repr(cell.total_seconds())
    return " ".join(str(cell).split("\n")) if isinstance(cell, str) else str(cell)
