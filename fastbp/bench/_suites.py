"""What `fastbp bench` measures: networks, batch sizes and kinds of work, grouped into suites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from math import ceil
from typing import TypeVar

T = TypeVar("T")
KINDS = ("steps", "epoch", "predict", "online")

# Operations of an epoch of synthetic data, and the range of its number of batches.
_DATA_FLOPS = 2e9
_FEWEST, _MOST = 8, 128


def join_widths(widths: Iterable[int]) -> str:
    """Write the widths of a network in a short form.

    >>> join_widths((784, 1024, 1024, 1024, 10))
    '784-1024×3-10'
    """
    runs = [(width, len(list(same))) for width, same in groupby(widths)]
    parts = [[f"{width}×{n}"] if n > 2 else [str(width)] * n for width, n in runs]
    return "-".join(chain.from_iterable(parts))


@dataclass(frozen=True)
class Config:
    """A network, the work to measure, and the amount of data.

    Parameters
    ----------
    name : str
        The name of the configuration.
    widths : tuple of int
        The widths of the network.
    activation : str
        The activation of the hidden layers.
    loss : str
        The loss.
    batch : int
        The batch size.
    kind : {"steps", "epoch", "predict", "online"}
        "steps" measures training steps over a data set of several batches, "epoch" one pass over a
        shuffled data set, "predict" one call on `batch` rows, and "online" one training step on a
        batch that the caller passes. A training step is forward, loss, backward and Adam.
    n_rows : int
        The number of samples in the data set. With 0, an epoch takes about 2 GFLOP.
    data : str
        "fashion-mnist" for that data set, if it is installed; otherwise "synthetic".

    Examples
    --------
    >>> rl = CONFIGS["rl"]
    >>> rl.widths, rl.flops_per_sample, rl.n_steps * rl.batch == rl.rows
    ((8, 64, 64, 2), 27392, True)
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    kind: str = "steps"
    n_rows: int = 0
    data: str = "synthetic"

    @property
    def flops_per_sample(self) -> int:
        """The number of floating-point operations in the matrix products for one row.

        Training takes 6 operations per weight: 2 for forward, 2 for the gradient, and 2 for δ of
        the layer below, which the first layer does not need. A prediction takes 2 per weight.
        """
        weights = sum(a * b for a, b in pairwise(self.widths))
        if self.kind == "predict":
            return 2 * weights
        return 6 * weights - 2 * self.widths[0] * self.widths[1]

    @property
    def rows(self) -> int:
        """The number of samples in the data set."""
        if self.n_rows:
            return self.n_rows
        if self.kind in ("predict", "online"):
            return self.batch
        steps = round(_DATA_FLOPS / (self.flops_per_sample * self.batch))
        return self.batch * min(max(steps, _FEWEST), _MOST)

    @property
    def n_steps(self) -> int:
        """The number of steps, or calls, in one pass over the data set."""
        return ceil(self.rows / self.batch)

    @property
    def learning_rate(self) -> float:
        """The learning rate of Adam: tiny, except for an epoch on real data.

        With a tiny rate the weights hardly change, so each round measures the same arithmetic.
        """
        return 1e-3 if self.kind == "epoch" else 1e-6

    def describe(self) -> str:
        """Describe the network and its use in a few words.

        >>> CONFIGS["rl"].describe()
        '8-64-64-2 tanh, mse, batch 64'
        """
        widths = join_widths(self.widths)
        rows = f"{self.rows} rows, batch" if self.kind == "epoch" else "batch"
        return f"{widths} {self.activation}, {self.loss}, {rows} {self.batch}"


@dataclass(frozen=True)
class Suite:
    """Configurations that are measured together; `peers` says whether other programs take part."""

    title: str
    configs: tuple[Config, ...]
    peers: bool = True


_STEPS = (
    Config("rl", (8, 64, 64, 2), "tanh", "mse", 64),
    Config("tab", (30, 64, 32, 1), "relu", "mse", 32),
    Config("mnist-s", (784, 128, 10), "relu", "cross_entropy", 64),
    Config("mnist-m", (784, 512, 512, 10), "relu", "cross_entropy", 128),
    Config("deep", (256, *[256] * 8, 10), "relu", "cross_entropy", 256),
    Config("wide", (784, 1024, 1024, 1024, 10), "relu", "cross_entropy", 512),
    Config("surr", (6, 50, 50, 50, 3), "tanh", "mse", 1000),
)
_FASHION = Config(
    name="fashion-mnist",
    widths=(784, 256, 128, 100, 10),
    activation="relu",
    loss="cross_entropy",
    batch=128,
    kind="epoch",
    n_rows=60_000,
    data="fashion-mnist",
)
_CALLS = (
    Config("predict-mnist-s", (784, 128, 10), "relu", "cross_entropy", 1, "predict"),
    Config("predict-rl", (8, 64, 64, 2), "tanh", "mse", 1, "predict"),
    Config("predict-10k", (784, 128, 10), "relu", "cross_entropy", 10_000, "predict"),
    Config("online-mnist-s", (784, 128, 10), "relu", "cross_entropy", 1, "online"),
)
# Between the widths 45 and 46, a peer starts to use all of its threads.
_WIDTHS = tuple(
    Config(f"width-{w}", (10, w, w, 10), "relu", "cross_entropy", 64)
    for w in (8, 16, 24, 32, 45, 46, 64, 96, 128, 192, 256, 384, 512)
)
_BATCHES = tuple(
    Config(f"batch-{2**i}", (784, 128, 10), "relu", "cross_entropy", 2**i) for i in range(13)
)

SUITES = {
    "steps": Suite("training steps, from tiny to wide", _STEPS),
    "epoch": Suite("an epoch of Fashion-MNIST", (_FASHION,)),
    "calls": Suite("single calls: predictions and online steps", _CALLS),
    "width": Suite("10-w-w-10 by width", _WIDTHS, peers=False),
    "batch": Suite("784-128-10 by batch", _BATCHES, peers=False),
    "threads": Suite("training steps by threads", _STEPS, peers=False),
}
CONFIGS = {config.name: config for suite in SUITES.values() for config in suite.configs}


def select(suites: Iterable[str] = (), configs: Iterable[str] = ()) -> list[tuple[Config, bool]]:
    """Select the configurations of some suites, and further configurations by name.

    Parameters
    ----------
    suites : iterable of str
        Names of suites; "all" selects all of them. Without suites and configurations, the suite
        "steps" is selected.
    configs : iterable of str
        Names of configurations.

    Returns
    -------
    list of (Config, bool)
        Each selected configuration once, and whether peers take part. They do if any of the suites
        or names that select it includes peers.

    Raises
    ------
    ValueError
        A name is unknown; the message lists the known names.

    Examples
    --------
    >>> [config.name for config, _ in select(configs=["tab", "rl", "tab"])]
    ['tab', 'rl']
    """
    suites, configs = list(suites), list(configs)
    if not suites and not configs:
        suites = ["steps"]
    if "all" in suites:
        suites = list(SUITES)
    chosen: dict[str, bool] = {}
    for name in suites:
        suite = _look_up(SUITES, name, "suite", "all")
        for config in suite.configs:
            chosen[config.name] = chosen.get(config.name, False) or suite.peers
    for name in configs:
        chosen[_look_up(CONFIGS, name, "configuration").name] = True
    return [(CONFIGS[name], peers) for name, peers in chosen.items()]


def _look_up(table: dict[str, T], name: str, what: str, *others: str) -> T:
    if name not in table:
        known = ", ".join([*table, *others])
        raise ValueError(f"unknown {what} {name!r}; known: {known}")
    return table[name]
