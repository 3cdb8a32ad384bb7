"""Checkpoints of a fit: what it needs to go on bit for bit, in two files used in turn.

The newer file is written while the older stays as it is, each whole or not at all, so that one is
there whatever happens. Both are safetensors: the arrays as tensors, and in the metadata `format`
"fastbp-checkpoint", `version` "1", `generation` (a number that goes up), `state` (JSON, in which
{"$tensor": name} stands for an array) and `sha256`, over all of them. `docs/checkpoints.md` tells
how they are used.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from ._files import check_writable, sweep
from ._safetensors import open_reader, read_safetensors, write_safetensors
from ._session import Data, Place
from ._sparse import SparseRows
from .errors import ModelFileError
from .history import History
from .optim import Optimizer
from .schedules import Schedule
from .streaming import Stream

if TYPE_CHECKING:
    from ._base import NetworkBase
    from ._runner import CallbackRunner

__all__ = ["Checkpoints", "Record", "identity"]

FORMAT, VERSION = "fastbp-checkpoint", "1"
_METADATA = {"format", "version", "generation", "state", "sha256"}
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
                    found.append(_read(path, tensors=self._resume is not False))
                except ModelFileError as error:
                    broken.append(str(error))
        generation, state = max(found, key=lambda pair: pair[0], default=(0, None))
        self._generation = generation
        if self._resume is False:
            return None
        for message in broken:
            then = "going on from the other one" if found else "there is no other one"
            warnings.warn(f"{message}; {then}", stacklevel=4)
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
        _write(self.path(generation), generation, state)
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
        net: NetworkBase,
        optimizer: Optimizer,
        schedule: Schedule | None,
        runner: CallbackRunner,
    ) -> None:
        self._files, self._net, self._optimizer, self._schedule = files, net, optimizer, schedule
        self._runner = runner
        self._cut_short = False

    def open(self, identity: Mapping[str, object]) -> int:
        """Read what there is, and return the seed of the fit: its, or the network's own.

        Raises ValueError where it is of a fit of something else.
        """
        self._identity = identity = _plain(identity)
        self._saved = self._files.read()
        if self._saved is None:
            return self._net.seed
        for name, value in identity.items():
            stored = self._saved["identity"].get(name)
            if stored != value:
                raise ValueError(
                    f"the checkpoint in {self._files.folder} is of another fit: its {name} is "
                    f"{stored}, here it is {value}; give another folder, or resume=False to begin "
                    "anew"
                )
        self._runner.check_states(self._saved["callbacks"])
        return self._saved["seed"]

    def restore(self, place: Place) -> Place:
        """Seed, parameters, optimiser, schedule as they were; where to go on, else from `place`."""
        if self._saved is None:
            return place
        self._net._seed = self._saved["seed"]
        self._net.theta = self._saved["theta"]
        self._optimizer.load_state_dict(self._saved["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(self._saved["schedule"])
        self._files.rest(self._optimizer.t)
        return Place(*self._saved["place"])

    def begin(self, history: History) -> str | None:
        """History and callbacks as they were, and what had stopped the fit."""
        self._history = history
        saved, self._saved = self._saved, None
        if saved is None:
            return None
        vars(history).update(saved["history"])
        self._runner.load_states(saved["callbacks"])
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
    net: NetworkBase,
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


def _sample(net: NetworkBase, source: Data | Stream) -> str:
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


# ---- files --------------------------------------------------------------------------------


def _write(path: Path, generation: int, state: Mapping[str, object]) -> None:
    tensors: dict[str, np.ndarray] = {}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "generation": str(generation),
        "state": json.dumps(_flat(state, tensors, "state")),
    }
    metadata["sha256"] = _digest(metadata, tensors)
    write_safetensors(path, tensors, metadata)


def _read(path: Path, *, tensors: bool) -> tuple[int, dict | None]:
    """(generation, state) of a file; without tensors, of the header alone, and no state."""
    if not tensors:
        with open_reader(path) as reader:
            return _generation_of(path, reader.metadata), None
    arrays, metadata = read_safetensors(path)
    generation = _generation_of(path, metadata)
    if _digest(metadata, arrays) != metadata["sha256"]:
        raise ModelFileError(f"{path}: the checksum does not hold, so the file is damaged")
    return generation, _nested(json.loads(metadata["state"]), arrays)


def _generation_of(path: Path, metadata: Mapping[str, str]) -> int:
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise ModelFileError(f"{path}: not a checkpoint of format {FORMAT!r}, version {VERSION!r}")
    if metadata.keys() != _METADATA or not metadata["generation"].isdecimal():
        raise ModelFileError(f"{path}: expected the metadata {', '.join(sorted(_METADATA))}")
    return int(metadata["generation"])


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(metadata.keys() - {"sha256"}):
        digest.update(json.dumps([name, metadata[name]]).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        digest.update(tensor.view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def _flat(value: object, tensors: dict[str, np.ndarray], name: str) -> object:
    """The value as JSON has it, its arrays moved to `tensors`."""
    if isinstance(value, np.ndarray):
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        return {str(key): _flat(each, tensors, f"{name}.{key}") for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_flat(each, tensors, f"{name}.{i}") for i, each in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a checkpoint cannot hold {name}, of {type(value).__name__}")


def _nested(value: object, tensors: Mapping[str, np.ndarray]) -> object:
    if isinstance(value, dict):
        if value.keys() == {"$tensor"}:
            tensor = tensors[value["$tensor"]]
            return tensor.view(tensor.dtype.newbyteorder("="))  # whose buffers say "f", not "<f"
        return {key: _nested(each, tensors) for key, each in value.items()}
    return [_nested(each, tensors) for each in value] if isinstance(value, list) else value


def _plain(value: object) -> object:
    """A value without arrays as it comes back from a file."""
    return json.loads(json.dumps(_flat(value, {}, "identity")))
