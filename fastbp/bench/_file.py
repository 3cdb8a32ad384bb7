"""Files of reports: reading, writing, and one report per machine."""

from __future__ import annotations

import json
import os
from typing import Any

from .._files.atomic import atomic_write
from ._layout import SCHEMA, Comparison, File, Report, Result
from ._report import text

_SCHEMA_1 = "fastbp-bench/1"
# What makes a machine, as far as `show_config` knows; caches tell apart what has the same name.
_SAME = ("cpu", "tune", "cores", "l1d_bytes", "l2_bytes")


def pack(*reports: Report) -> File:
    """Return the content of a file with some reports."""
    return {"schema": SCHEMA, "machines": list(reports)}


def dumps(file: File) -> str:
    """Return the text of a file."""
    return json.dumps(file, indent=1, ensure_ascii=False) + "\n"


def write(file: File, path: str | os.PathLike[str]) -> None:
    """Write a file; an interrupted write leaves the old one."""
    with atomic_write(path) as stream:
        stream.write(dumps(file).encode())


def read(path: str | os.PathLike[str]) -> File:
    """Read a file of this version of the layout or the one before.

    Raises ValueError if the file has another content or lacks fields that its tables show, and
    OSError if it cannot be read.
    """
    with open(path, encoding="utf-8") as stream:
        try:
            found = json.load(stream)
            dumps(found).encode()  # fails for half of a surrogate pair, which JSON can escape
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{os.fspath(path)} is not JSON: {error}") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema not in (_SCHEMA_1, SCHEMA):
        raise ValueError(f"{os.fspath(path)} is not a report of fastbp bench ({SCHEMA})")
    try:
        file: File = pack(_upgrade(found)) if schema == _SCHEMA_1 else found
        for report in file["machines"]:
            _identity(report)
            text(report)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(path)} is not a whole report of fastbp bench: a field is missing or has "
            f"another type ({type(error).__name__}: {error}); measure it again with --json"
        ) from None
    return file


def merge(file: File, report: Report) -> File:
    """Return a file in which a report replaces the one of the same machine, or comes last.

    The machine is the same if processor, tuning, cores and caches are. Reports of different dtypes
    stay side by side, and so does a report of an instruction set that is not the fastest one.

    >>> def report(cpu, date):
    ...     machine = {"cpu": cpu, "isa": "avx2", "isa_fastest": "avx2"}
    ...     return {"machine": machine, "options": {"dtype": "float32"}, "date": date}
    >>> file = merge(pack(report("A", "1"), report("B", "2")), report("A", "3"))
    >>> [report["date"] for report in file["machines"]]
    ['3', '2']
    """
    reports = list(file["machines"])
    keys = [_identity(old) for old in reports]
    key = _identity(report)
    if key in keys:
        reports[keys.index(key)] = report
    else:
        reports.append(report)
    return pack(*reports)


def _identity(report: Report) -> tuple[object, ...]:
    machine = report["machine"]
    slower_isa = machine["isa"] if machine["isa"] != machine["isa_fastest"] else None
    return (*(machine.get(name) for name in _SAME), slower_isa, report["options"]["dtype"])


def _upgrade(old: dict[str, Any]) -> Report:
    """Return a report of version 1, which had one precision and no processor times."""
    return {
        "date": old["date"],
        "machine": old["machine"] | {"isa_fastest": old["machine"]["isa_available"][-1]},
        "options": old["options"] | {"precisions": ["highest"]},
        "same": {},
        "failures": [failure | {"precision": "highest"} for failure in old["failures"]],
        "results": [_upgrade_result(result) for result in old["results"]],
    }


def _upgrade_result(old: dict[str, Any]) -> Result:
    comparison: Comparison = {
        "chosen": {
            program: {"precision": "highest", "threads": n} for program, n in old["threads"].items()
        },
        "speedup": old["speedup"],
        "ratios": old["ratios"],
        "cpu_ratios": {},
        "best": old["best"],
        "best_usual": old["best_usual"],
    }
    return {
        "config": old["config"],
        "data": old["data"],
        "peak_gflops": old["peak_gflops"],
        "conditions": {},
        "runs": [run | {"precision": "highest"} for run in old["runs"]],
        "comparisons": {"highest": comparison},
    }
