"""Model files: networks saved as safetensors, and loaded again bit for bit, without pickle.

`docs/formats.md` describes the layout.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._files.safetensors import open_reader, read_safetensors, write_safetensors
from ._network.base import NetworkBase
from ._network.model_file import read_network, write_model
from ._network.network import Network
from ._public import present
from .errors import ModelFileError
from .population import Population
from .population._file import is_of_population, read_members, write_members

if TYPE_CHECKING:
    from .tabular import TableModel

__all__ = ["load", "read_safetensors", "save", "write_safetensors"]


def save(
    net: NetworkBase | Population | TableModel,
    path: str | os.PathLike[str],
    *,
    preprocessing: dict[str, object] | None = None,
) -> None:
    """Write `net` to `path`, whole or not at all: an existing file is replaced at the end.

    Parameters
    ----------
    net : Network, Population or TableModel
        The network, or the population, all members of which go into one file, or the model of a
        table, as its method `save` writes it. The weights must be finite.
    path : path
        The file to write, by convention one that ends in .safetensors.
    preprocessing : dict or None, default None
        What to do with inputs and outputs, as a dict that JSON can hold; of a population, for
        every member. None stands for `preprocessing` of the network, or of each member. A
        TableModel has its own.

    Raises
    ------
    ValueError
        For a NaN or an infinity in a weight, or in `preprocessing`; for a TableModel that is not
        fitted, or one with `preprocessing`.
    TypeError
        For something else than a network or a population, for `preprocessing` that JSON cannot
        hold, and for a loss that is a function.
    OSError
        As `open` does.
    """
    if isinstance(net, Population):
        write_members(path, list(net), preprocessing)
        return
    if not isinstance(net, NetworkBase):
        _save_table_model(net, path, preprocessing)
        return
    net._check_at_x("save")
    preprocessing = net.preprocessing if preprocessing is None else preprocessing
    write_model(path, net._architecture, net.layers, net.seed, preprocessing, net.feature_names)


def _save_table_model(
    model: object, path: str | os.PathLike[str], preprocessing: dict[str, object] | None
) -> None:
    """Write the model of a table; TypeError for anything else."""
    from .tabular import TableModel

    if not isinstance(model, TableModel):
        raise TypeError(
            f"save takes a fastbp.Network, a fastbp.Population or a TableModel; got "
            f"{type(model).__name__}: give a list of networks as fastbp.Population(networks)"
        )
    if preprocessing is not None:
        raise ValueError("a TableModel has its own preprocessing: leave out preprocessing")
    model.save(path)


def load(path: str | os.PathLike[str]) -> Network | Population | TableModel:
    """Read what `save` wrote, or the method of that name, or safetensors with such metadata.

    The file may be untrusted: it is checked before memory is allocated for it, and nothing in it is
    executed.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Network, Population or TableModel
        A `fastbp.tabular.TableModel`, which takes the rows of a table by name, of a file of
        `fastbp train TABLE`. A network with its `preprocessing`; one that `fastbp train` has made
        without an ensemble is a `fastbp.tabular.TableNetwork`. For a file of `Population.save`,
        the population of such networks.

    Raises
    ------
    ModelFileError
        If the file is truncated or forged, holds NaN, or is not a fastbp model; and if its
        `preprocessing` has the fields of `fastbp train` and is invalid.
    OSError
        As `open` does.
    """
    with open_reader(path) as reader:
        if is_of_population(reader):
            nets = read_members(reader, _class_for)
            known = nets[0].preprocessing
            if known is not None and known.get("kind") == "table":
                return _table_model(nets, known)
            return Population(nets)
        return read_network(reader, _class_for)


def _table_model(nets: Sequence[Network], known: dict[str, Any]) -> TableModel:
    """The model of a table; ModelFileError for invalid fields."""
    from .tabular import TableModel

    try:
        return TableModel.from_networks(nets, known)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"invalid preprocessing: {error}") from error


# Fields of `preprocessing` by which a model of `fastbp train` is recognised.
_OF_A_TABLE = frozenset({"task", "features", "categories", "mean", "scale", "target"})


def _class_for(preprocessing: dict[str, Any] | None, widths: Sequence[int]) -> type[Network]:
    """The class of the network in a file; ModelFileError for the fields of a table, if invalid."""
    if preprocessing is None or not preprocessing.keys() >= _OF_A_TABLE:
        return Network
    from .tabular import TableNetwork
    from .tabular._preprocessing import Preprocessing

    try:
        Preprocessing.of_network(preprocessing, widths)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"invalid preprocessing: {error}") from error
    return TableNetwork


present(__name__, __all__)
