"""Model files: a Network saved as safetensors, and loaded again bit for bit, without pickle.

`docs/formats.md` describes the layout.
"""

from __future__ import annotations

import os

from ._files.safetensors import read_safetensors, write_safetensors
from ._network.base import NetworkBase
from ._network.model_file import read_model, write_model
from ._network.network import Network
from ._public import present

__all__ = ["load", "read_safetensors", "save", "write_safetensors"]


def save(
    net: NetworkBase,
    path: str | os.PathLike[str],
    *,
    preprocessing: dict[str, object] | None = None,
) -> None:
    """Write `net` to `path`, whole or not at all: an existing file is replaced at the end.

    Parameters
    ----------
    net : Network
        The network; its weights must be finite.
    path : path
        The file to write, by convention one that ends in .safetensors.
    preprocessing : dict or None, default None
        What to do with inputs and outputs, as a dict that JSON can hold. None stands for
        `net.preprocessing`.

    Raises
    ------
    ValueError
        For a NaN or an infinity in a weight, or in `preprocessing`.
    TypeError
        For `preprocessing` that JSON cannot hold, and for a loss that is a function.
    OSError
        As `open` does.
    """
    preprocessing = net.preprocessing if preprocessing is None else preprocessing
    write_model(path, net._architecture, net.layers, net.seed, preprocessing, net.feature_names)


def load(path: str | os.PathLike[str]) -> Network:
    """Read the network that `save` wrote, or the safetensors package with the same metadata.

    The file may be untrusted: it is checked before memory is allocated for it, and nothing in it is
    executed.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Network
        The network, with its `preprocessing`.

    Raises
    ------
    ModelFileError
        If the file is truncated or forged, holds NaN, or is not a fastbp model.
    OSError
        As `open` does.
    """
    return read_model(path, Network.from_layers)


present(__name__, __all__)
