"""The networks of `fastbp train`: one, or with --members an ensemble, trained as a population."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._network.network import Network
from .._types import Array
from ..callbacks import EarlyStopping
from ..errors import DivergenceError
from ..io import save
from ..population import Population
from ..population._file import MAX_MEMBERS, check_fit_in_file
from ..tabular._preprocessing import Preprocessing
from . import recipe
from .options import UsageError
from .sources import Source

_LAST_SEED = 2**64 - 1


class Trained(NamedTuple):
    """What a training has left.

    Attributes
    ----------
    nets : list of Network
        The networks; without members that have diverged.
    epochs : str
        How many epochs they have completed, for messages.
    interrupted : bool
        Whether Ctrl-C has ended it.
    """

    nets: list[Network]
    epochs: str
    interrupted: bool


def check_members(args: argparse.Namespace) -> None:
    """Raise UsageError for too many members, or seeds."""
    n = args.members
    if n > MAX_MEMBERS:
        raise UsageError(
            f"--members must be at most {MAX_MEMBERS}, as many as a file takes; got {n}"
        )
    if args.seed + n - 1 > _LAST_SEED:
        raise UsageError(
            f"--members {n} takes the seeds from --seed on, which must be at most 2**64 - {n}; got "
            f"{args.seed}"
        )
    if n > 1 and args.parts is not None:
        raise UsageError(
            "--parts cuts the rows of one network, and --members trains whole networks, which "
            "several ranks share: leave --parts out"
        )


def make_networks(args: argparse.Namespace, source: Source, prep: Preprocessing) -> list[Network]:
    """The networks of the command line; member k has the seed --seed + k."""
    nets = [
        recipe.make_network(args, source, prep, seed=args.seed + k) for k in range(args.members)
    ]
    if len(nets) > 1:
        check_fit_in_file(nets)
    return nets


def train(
    nets: Sequence[Network], data: tuple[Array, Array], patience: int | None, **keywords: Any
) -> Trained:
    """Train networks with the keywords of `fit`; members that diverge are told, and left out.

    Raises DivergenceError if all diverge.
    """
    watches = [_Watch() for _ in nets]
    callbacks = [
        [watch, *([] if patience is None else [EarlyStopping(patience=patience)])]
        for watch in watches
    ]
    interrupted = False
    try:
        if len(nets) == 1:
            nets[0].fit(*data, callbacks=callbacks[0], **keywords)
        else:
            Population(nets).fit(*data, callbacks=callbacks, **keywords)
    except KeyboardInterrupt:
        interrupted = True
    gone = {k: watch.error for k, watch in enumerate(watches) if watch.error is not None}
    if len(gone) == len(nets):
        raise gone[0]
    if gone:
        k, error = next(iter(gone.items()))
        seeds = ", ".join(str(nets[k].seed) for k in gone)
        print(
            f"fastbp: {len(gone)} of {len(nets)} members diverged and are left out (--seed "
            f"{seeds}); with --seed {nets[k].seed}, {error}",
            file=sys.stderr,
        )
    done = sorted(watch.epochs for k, watch in enumerate(watches) if k not in gone)
    epochs = f"{done[0]}" if done[0] == done[-1] else f"{done[0]} to {done[-1]}"
    return Trained([net for k, net in enumerate(nets) if k not in gone], epochs, interrupted)


def write(nets: Sequence[Network], path: str, prep: Preprocessing, *, as_population: bool) -> None:
    """Write the file of a population, or the model file of one network."""
    if not as_population:
        save(nets[0], path, preprocessing=prep.to_dict())
        return
    for net in nets:
        net.preprocessing = prep.to_dict()
    Population(nets).save(path)


def outputs_of_each(nets: Sequence[Network], X: Array) -> Array:
    """The outputs of every network for prepared inputs, (members, n, n_L), in the widest dtype."""
    outputs = [Network.predict(net, X) for net in nets]  # of inputs, also if it takes rows by name
    return np.stack(outputs).astype(np.result_type(*outputs), copy=False)


def mean_of(outputs: Array) -> Array:
    """The mean over the members, of (members, …), in their dtype."""
    mean: Array = outputs.mean(axis=0, dtype=np.float64).astype(outputs.dtype)
    return mean


class _Watch:
    """A callback that counts complete epochs, and keeps the error of a divergence."""

    def __init__(self) -> None:
        self.epochs = 0
        self.error: DivergenceError | None = None

    def state_dict(self) -> dict[str, Any]:
        """What the ranks that have not trained this member get."""
        return {"epochs": self.epochs, "error": self.error}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs, self.error = state["epochs"], state["error"]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.epochs = epoch + 1

    def on_divergence(self, error: DivergenceError) -> None:
        self.error = error
