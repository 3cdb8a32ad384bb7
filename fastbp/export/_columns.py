"""The columns of a table, where an export takes a network that knows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tabular._preprocessing import Preprocessing


def columns_of(net: Any, raw: object, unknown: object) -> Preprocessing | None:
    """What a network does with the columns of its table; None to export the bare network.

    Parameters
    ----------
    net : Any
        What is exported.
    raw : bool or None
        Whether the export takes the raw columns; None for a `TableNetwork` only.
    unknown : {"error", "ignore"}
        What the export does with an unknown category.

    Raises
    ------
    TypeError
        `raw` is neither True, False nor None.
    ValueError
        `raw` is True, and the network knows no table; or `unknown` is invalid, or "ignore" for an
        export that takes no raw columns.
    """
    if unknown not in ("error", "ignore"):
        raise ValueError(f"unknown must be one of error, ignore; got {unknown!r}")
    if raw is not None and not isinstance(raw, bool):
        raise TypeError(f"raw must be True, False or None; got {raw!r}")
    module = sys.modules.get("fastbp.tabular")  # which has been imported if net is of its class
    known = module is not None and isinstance(net, module.TableNetwork)
    if known and raw is not False and net.preprocessing is not None:
        prep: Preprocessing = net._prep
        return prep
    if raw:
        raise ValueError(
            "raw=True takes a network that knows the columns of a table, such as fastbp.load "
            "returns for a model of fastbp train; leave raw out for the inputs of the network"
        )
    if unknown == "ignore":
        raise ValueError(
            'unknown="ignore" is for exports that take the raw columns of a table; this one takes '
            "the inputs of the network"
        )
    return None


def without_names(prep: Preprocessing) -> bool:
    """Whether the table had no names, such as an array: the columns are numbers "1", "2", …."""
    numbered = tuple(str(i + 1) for i in range(len(prep.features)))
    return not prep.categories and prep.features == numbered
