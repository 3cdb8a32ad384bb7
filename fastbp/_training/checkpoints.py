"""Checkpoints of a fit: what it needs to go on bit for bit, in two files used in turn.

The newer file is written while the older stays as it is, each whole or not at all, so that one is
there whatever happens. `_checkpoint_file` has what is in them, `docs/checkpoints.md` tells how they
are used.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np

from .._checks import arguments as check
from .._checks.caller import warn_caller
from .._files.atomic import check_writable, sweep
from .._types import Data, Place, SparseRows, Trainee
from ..errors import ModelFileError
from ..history import History
from ..optim import Optimizer
from ..schedules import Schedule
from .checkpoint_file import plain, read, write
from .runner import CallbackRunner
from .streams import Stream

__all__ = ["Checkpoints", "Record", "identity"]

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_SAMPLE = 64  # rows that tell a data set from another
_UNITS = ("epoch", "epochs", "step", "steps", *_SECONDS)


class Checkpoints:
    """The two files of a folder, and when the next is due.

    What killed processes left in the folder, half-written files, is removed.

    Raises TypeError or ValueError for an `every` or a `resume` that is none, OSError for a folder
    that cannot be made or written to.

    >>> Checkpoints("run", "500 steps", "auto").path(3).name
    'checkpoint-1.safetensors'
    """

    def __init__(self, folder: str | os.PathLike[str], every: str, resume: bool | str) -> None:
        if not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f"checkpoint must be a folder; got {type(folder).__name__}")
        if resume not in (True, False, "auto"):
            raise ValueError(f"resume must be 'auto', True or False; got {resume!r}")
        self._amount, self._unit = _interval(every)
        self.folder, self._resume = Path(os.fsdecode(folder)), resume
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        for generation in (0, 1):
            check_writable(self.path(generation))
        self._generation = 0
        self._alone = False  # what is in the folder is of this fit
        self.rest(0)

    def path(self, generation: int) -> Path:
        """The file of a generation."""
        return self.folder / f"checkpoint-{generation % 2}.safetensors"

    # ---- reading --------------------------------------------------------------------------

    def read(self) -> dict | None:
        """The newest state that is whole, or None where a fit is to begin anew.

        Warns (UserWarning) of a file that is not whole. Raises FileNotFoundError where resume is
        True and there is none.
        """
        found, broken = [], []
        for path in map(self.path, (0, 1)):
            with suppress(FileNotFoundError):
                try:
                    found.append(read(path, tensors=self._resume is not False))
                except ModelFileError as error:
                    broken.append(str(error))
        generation, state = max(found, key=lambda pair: pair[0], default=(0, None))
        self._generation = generation
        if self._resume is False:
            return None
        for message in broken:
            then = "going on from the other one" if found else "there is no other one"
            warn_caller(f"{message}; {then}")
        if state is None and self._resume is True:
            raise FileNotFoundError(f"no checkpoint to resume from in {self.folder}")
        self._alone = state is not None
        return state

    # ---- writing --------------------------------------------------------------------------

    def due(self, t: int, epochs: int | None = None) -> bool:
        """Whether to save, after t steps in all; epochs: so many are done, None amidst one."""
        if self._unit.startswith("epoch"):
            return epochs is not None and epochs % self._amount == 0
        if self._unit.startswith("step"):
            return abs(t - self._last_t) >= self._amount
        return perf_counter() - self._last_time >= self._amount * _SECONDS[self._unit]

    def rest(self, t: int) -> None:
        """Count steps and seconds from here."""
        self._last_t, self._last_time = t, perf_counter()

    def save(self, state: Mapping[str, object], t: int) -> None:
        """Write the next generation. Raises OSError, with the one before still there."""
        generation = self._generation + 1
        write(self.path(generation), generation, state)
        self._generation = generation
        if not self._alone:  # the other is of a fit that was not resumed
            self.path(self._generation + 1).unlink(missing_ok=True)
        self._alone = True
        self.rest(t)


class Record:
    """What a fit puts into its checkpoints, and takes from the one it goes on from."""

    def __init__(
        self,
        files: Checkpoints,
        net: Trainee,
        optimizer: Optimizer,
        schedule: Schedule | None,
        runner: CallbackRunner,
    ) -> None:
        self._files, self._net, self._optimizer, self._schedule = files, net, optimizer, schedule
        self._runner = runner
        self._cut_short = False
        self._before: tuple | None = None  # what `restore` changed, until the fit has begun

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Put back what `restore` changed where the fit could not begin."""
        if self._before is None:
            return
        seed, theta, optimizer, schedule = self._before
        self._net._restore(theta, seed)
        vars(self._optimizer).clear()
        vars(self._optimizer).update(optimizer)
        if self._schedule is not None:
            self._schedule.load_state_dict(schedule)

    def open(self, identity: Mapping[str, object]) -> int:
        """Read what there is, and return the seed of the fit: its, or the network's own.

        Raises ValueError where it is of a fit of something else.
        """
        self._identity = identity = plain(identity)
        self._saved = self._files.read()
        if self._saved is None:
            return self._net.seed
        saved = self._saved
        for name, value in identity.items():
            stored = saved["identity"].get(name)
            if stored != value:
                raise ValueError(
                    f"the checkpoint in {self._files.folder} is of another fit: its {name} is "
                    f"{stored}, here it is {value}; give another folder, or resume=False to begin "
                    "anew"
                )
        self._runner.check_states(saved["callbacks"])
        try:
            self._check(saved)
        except (TypeError, ValueError) as error:
            raise ModelFileError(
                f"the checkpoint in {self._files.folder} does not hold: {error}"
            ) from error
        return saved["seed"]

    def _check(self, saved: dict) -> None:
        """That parameters, optimiser and schedule take what is saved, tried on copies."""
        net = self._net
        check.as_parameters(saved["theta"], net.theta.shape, net.dtype, "theta")
        if saved["theta"].dtype != net.dtype:
            raise ValueError(f"theta is {saved['theta'].dtype}; the network has {net.dtype}")
        optimizer = copy.copy(self._optimizer)
        optimizer.load_state_dict(saved["optimizer"])
        optimizer.bind(net.theta.size, net.dtype, len(net.layers))
        if (self._schedule is None) != (saved["schedule"] is None):
            raise ValueError("it lacks the state of the schedule, or has one too many")
        if self._schedule is not None:
            copy.deepcopy(self._schedule).load_state_dict(saved["schedule"])

    def restore(self, place: Place) -> Place:
        """Seed, parameters, optimiser, schedule as they were; where to go on, else from `place`."""
        if self._saved is None:
            return place
        schedule = None if self._schedule is None else self._schedule.state_dict()
        self._before = (
            self._net.seed,
            self._net.theta.copy(),
            dict(vars(self._optimizer)),
            schedule,
        )
        self._net._restore(self._saved["theta"], self._saved["seed"])
        self._optimizer.load_state_dict(self._saved["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(self._saved["schedule"])
        self._files.rest(self._optimizer.t)
        return self._saved["place"]

    def begin(self, history: History) -> str | None:
        """History and callbacks as they were, and what had stopped the fit."""
        self._history = history
        saved, self._saved = self._saved, None
        if saved is None:
            return None
        vars(history).update(saved["history"])
        self._runner.load_states(saved["callbacks"])
        self._before = None
        return saved["stopped_by"]

    def look(self, place: Place) -> None:
        """Save amidst an epoch, if that is due."""
        if self._files.due(self._optimizer.t):
            self.save(place)

    def cut(self, place: Place) -> None:
        """Save amidst an epoch that ends here, but is to go on another time."""
        self._cut_short = True
        self.save(place)

    def epoch_end(self, epochs: int, stopped_by: str | None, last: bool) -> None:
        """Save after so many epochs, if that is due or there are no more."""
        if self._cut_short:
            return
        if last or self._files.due(self._optimizer.t, epochs):
            self.save(Place(epochs), None if stopped_by == "time_budget" else stopped_by)

    def save(self, place: Place, stopped_by: str | None = None) -> None:
        """Write a checkpoint from which a fit goes on at `place`."""
        state = {
            "identity": self._identity,
            "seed": self._net.seed,
            "theta": self._net.theta,
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "place": place,
            "history": self._history.series(),
            "callbacks": self._runner.states(),
            "stopped_by": stopped_by,
        }
        self._files.save(state, self._optimizer.t)


def identity(
    net: Trainee,
    source: Data | Stream,
    optimizer: Optimizer,
    schedule: Schedule | None,
    cuts: Mapping[str, object],
) -> dict[str, object]:
    """What has to be the same for a fit to go on: by name, as texts and numbers.

    Of the data: their number, and a checksum over at most 64 of their rows. Learning rates may
    differ, for they change in a fit; the checkpoint's are taken.
    """
    ours = ("theta", "preprocessing", "seed")
    described = {k: _listed(v) for k, v in net.__getstate__().items() if k not in ours}
    state = optimizer.state_dict()
    hyper = {k: v for k, v in state["hyper"].items() if k != "lr"}
    found = {f"network's {name}": value for name, value in described.items()}
    found |= {"optimizer": state["name"], "optimizer's settings": hyper}
    found |= {"schedule": None if schedule is None else type(schedule).__name__, **cuts}
    return found | {"data": _sample(net, source)}


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _sample(net: Trainee, source: Data | Stream) -> str:
    arrays = source.arrays() if isinstance(source, Stream) else source
    if arrays is None:
        return repr(type(source).__name__)
    digest, n = hashlib.sha256(), arrays[0].shape[0]
    for i in sorted({int(i) for i in np.linspace(0, n - 1, _SAMPLE)}):
        row = net._inputs(arrays[0][i : i + 1])
        row = row.toarray() if isinstance(row, SparseRows) else row
        digest.update(row.astype(net.dtype).tobytes())
        for array in arrays[1:]:
            if array is not None:
                digest.update(np.asarray(array[i : i + 1], np.float64).tobytes())
    blocks = f" in blocks of {source.block_rows}" if isinstance(source, Stream) else ""
    return f"{n} rows{blocks} with checksum {digest.hexdigest()[:16]}"


def _interval(every: object) -> tuple[float, str]:
    """(500, "steps") of "500 steps"."""
    wrong = f"every must be a text such as '1 epoch', '500 steps', '90 s', '10 min'; got {every!r}"
    if not isinstance(every, str):
        raise TypeError(wrong)
    try:
        number, unit = every.split()
        amount = float(number) if unit in _SECONDS else int(number)
    except ValueError:
        raise ValueError(wrong) from None
    if unit not in _UNITS or not 0 < amount < float("inf"):
        raise ValueError(wrong)
    return amount, unit
