"""Checkpoints of a fit: what it needs to continue bit for bit, in two files used in turn.

One file is written while the other stays as it is, each whole or not at all, so there is always a
complete one. `checkpoint_file` has the contents of a file, docs/checkpoints.md explains their use.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np

from .._checks import arguments as check
from .._checks.caller import warn_caller
from .._files.atomic import check_writable, sweep
from .._messages import QUOTE, readable
from .._types import Array, Data, Place, SparseRows, Trainee
from ..errors import ModelFileError
from ..history import History
from ..optim import Optimizer
from ..schedules import Schedule
from .checkpoint_file import plain, read, write
from .runner import CallbackRunner
from .signals import SharedSignals, SignalWatch
from .streams import Stream

__all__ = ["Checkpoints", "Record", "identity", "sample_of"]

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_SAMPLE = 64  # rows by which data sets are told apart
_SINCE_0_1 = {"network's matmul_precision": "highest"}  # what checkpoints of version 0.1 lack
_UNITS = ("epoch", "epochs", "step", "steps", *_SECONDS)


class Checkpoints:
    """The two files of a folder, and when the next one is due.

    Half-written files that killed processes have left in the folder are removed.

    Raises TypeError or ValueError for an invalid `every` or `resume`, OSError for a folder that
    cannot be made or written to.

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
        self._alone = False  # whether both files belong to this fit
        self.rest(0)

    def path(self, generation: int) -> Path:
        """The file of a generation."""
        return self.folder / f"checkpoint-{generation % 2}.safetensors"

    # ---- reading --------------------------------------------------------------------------

    def read(self) -> dict[str, Any] | None:
        """The newest complete state, or None if the fit is to start from the beginning.

        Warns (UserWarning) about an incomplete file. Raises FileNotFoundError if resume is True and
        there is no state.
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
        """Whether to save after t steps in all; `epochs` are complete, or None within an epoch."""
        if self._unit.startswith("epoch"):
            return epochs is not None and epochs % self._amount == 0
        if self._unit.startswith("step"):
            return abs(t - self._last_t) >= self._amount
        return perf_counter() - self._last_time >= self._amount * _SECONDS[self._unit]

    def rest(self, t: int) -> None:
        """Count steps and seconds from now on."""
        self._last_t, self._last_time = t, perf_counter()

    def save(self, state: Mapping[str, object], t: int) -> None:
        """Write the next generation. Raises OSError; the one before is still there then."""
        generation = self._generation + 1
        write(self.path(generation), generation, state)
        self._generation = generation
        if not self._alone:  # the other belongs to a fit that was not resumed
            self.path(self._generation + 1).unlink(missing_ok=True)
        self._alone = True
        self.rest(t)


class Record:
    """What a fit writes to its checkpoints, and reads from the one that it continues."""

    def __init__(
        self,
        files: Checkpoints,
        net: Trainee,
        optimizer: Optimizer,
        schedule: Schedule | None,
        runner: CallbackRunner,
        signals: SignalWatch | SharedSignals,
    ) -> None:
        self._files, self._net, self._optimizer, self._schedule = files, net, optimizer, schedule
        self._runner, self._signals = runner, signals
        self._cut_short = False
        self._saved: dict[str, Any] | None = None  # the state that the fit continues from
        # seed, theta, optimiser and schedule before `restore`, until the fit has begun
        self._before: tuple[int, Array, dict[str, Any], dict[str, Any] | None] | None = None

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        """Undo `restore` if the fit could not begin, and restore the handlers of signals."""
        try:
            self._undo()
        finally:
            self._signals.__exit__(*raised)

    def _undo(self) -> None:
        if self._before is None:
            return
        seed, theta, optimizer, schedule = self._before
        self._net._restore(theta, seed)
        vars(self._optimizer).clear()
        vars(self._optimizer).update(optimizer)
        if self._schedule is not None and schedule is not None:
            self._schedule.load_state_dict(schedule)

    def open(self, identity: Mapping[str, object]) -> int:
        """Read the checkpoint, if there is one; returns its seed, or that of the network.

        Raises ValueError for the checkpoint of another fit.
        """
        self._identity = plain(identity)
        self._saved = self._files.read()
        if self._saved is None:
            return self._net.seed
        saved = self._saved
        for name, value in self._identity.items():
            stored = saved["identity"].get(name, _SINCE_0_1.get(name))
            if stored != value:
                shown = readable(str(stored), QUOTE)
                raise ValueError(
                    f"the checkpoint in {self._files.folder} is of another fit: its {name} is "
                    f"{shown}, here it is {value}; give another folder, or resume=False to begin "
                    "anew"
                )
        try:
            self._runner.check_states(saved["callbacks"])
        except ValueError as error:
            raise ValueError(
                f"the checkpoint in {self._files.folder} is of another fit: "
                f"{readable(str(error), QUOTE)}"
            ) from None
        try:
            self._check(saved)
        except (TypeError, ValueError) as error:
            raise self._does_not_hold(error) from error
        seed: int = saved["seed"]
        return seed

    def _does_not_hold(self, error: Exception) -> ModelFileError:
        return ModelFileError(f"the checkpoint in {self._files.folder} does not hold: {error}")

    def _check(self, saved: dict[str, Any]) -> None:
        """Check on copies that network, optimiser and schedule accept the saved state."""
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
        """Restore seed, parameters, optimiser and schedule; returns where to continue from."""
        if self._saved is None:
            return place
        schedule = None if self._schedule is None else self._schedule.state_dict()
        self._before = (
            self._net.seed,
            self._net._copy_of_theta(),
            dict(vars(self._optimizer)),
            schedule,
        )
        self._net._restore(self._saved["theta"], self._saved["seed"])
        self._optimizer.load_state_dict(self._saved["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(self._saved["schedule"])
        self._files.rest(self._optimizer.t)
        found: Place = self._saved["place"]
        return found

    def begin(self, history: History) -> str | None:
        """Restore history and callbacks; returns what had stopped the fit."""
        self._history = history
        saved, self._saved = self._saved, None
        if saved is None:
            return None
        vars(history).update(saved["history"])
        try:
            self._runner.load_states(saved["callbacks"])
        except (TypeError, ValueError) as error:
            raise self._does_not_hold(error) from error
        self._before = None
        stopped_by: str | None = saved["stopped_by"]
        return stopped_by

    def look(self, place: Place) -> None:
        """Save within an epoch, if a checkpoint is due or a signal has arrived."""
        n_signals = self._signals.arrived
        if n_signals or self._files.due(self._optimizer.t):
            self.save(place)
        self._signals.act(n_signals)

    def cut(self, place: Place) -> None:
        """Save within an epoch that ends here and is to be continued later."""
        self._cut_short = True
        self.save(place)

    def epoch_end(self, epochs: int, stopped_by: str | None, last: bool) -> None:
        """Save after `epochs` epochs, if a checkpoint is due or the fit is over.

        Or if a signal has arrived.
        """
        n_signals = self._signals.arrived
        if self.due_after(epochs, last=last or n_signals > 0):
            self.save(Place(epochs), None if stopped_by == "time_budget" else stopped_by)
        self._signals.act(n_signals)

    def due(self) -> bool:
        """Whether a checkpoint is due within an epoch."""
        return not self._cut_short and self._files.due(self._optimizer.t)

    def due_after(self, epochs: int, *, last: bool) -> bool:
        """Whether one is due after `epochs` epochs; last: also if the files do not say so.

        Not after an epoch that was cut short: its checkpoint has been written.
        """
        return not self._cut_short and (last or self._files.due(self._optimizer.t, epochs))

    def save(
        self,
        place: Place,
        stopped_by: str | None = None,
        *,
        whole: Mapping[str, object] | None = None,
        cut: bool = False,
    ) -> None:
        """Write a checkpoint from which a fit continues at `place`.

        whole: the moments and the average, where the optimiser has only a share of them. cut: the
        epoch ends here, and is to be continued later.
        """
        self._cut_short = self._cut_short or cut
        state = {
            "identity": self._identity,
            "seed": self._net.seed,
            "theta": self._net._copy_of_theta(),
            "optimizer": {**self._optimizer.state_dict(), **(whole or {})},
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "place": place,
            "history": self._history.series(),
            "callbacks": self._runner.states(),
            "stopped_by": stopped_by,
        }
        self._files.save(state, self._optimizer.t)


def identity(
    net: Trainee,
    sample: str,
    optimizer: Optimizer,
    schedule: Schedule | None,
    settings: Mapping[str, object],
) -> dict[str, object]:
    """What has to be the same for a fit to continue, by name, as texts and numbers.

    For the data, that is their number, and a checksum over at most 64 of their rows. Learning rates
    may differ, because a fit changes them; those of the checkpoint are used.

    Parameters
    ----------
    net, sample, optimizer, schedule
        What the fit trains, on what, as `sample_of` describes it, and how.
    settings : mapping
        Arguments of `fit` that must be the same, by name.
    """
    ours = ("theta", "preprocessing", "feature_names", "seed", "dropout_step")
    described = {k: _listed(v) for k, v in net.__getstate__().items() if k not in ours}
    state = optimizer.state_dict()
    hyper = {k: v for k, v in state["hyper"].items() if k != "lr"}
    found: dict[str, object] = {f"network's {name}": value for name, value in described.items()}
    found |= {"optimizer": state["name"], "optimizer's settings": hyper}
    found |= {"schedule": None if schedule is None else schedule._kind, **settings}
    return found | {"data": sample}


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def sample_of(net: Trainee, source: Data | Stream) -> str:
    """The number of rows of data, and a checksum over at most 64 of them."""
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
