"""What is measured: networks, batches and kinds of work, grouped into suites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from math import ceil

KINDS = ("steps", "epoch", "predict", "online")

_DATA_FLOPS = 2e9  # of an epoch of synthetic data, between the two numbers of batches below
_FEWEST, _MOST = 8, 128


def join_widths(widths: Iterable[int]) -> str:
    """The widths of a network in short.

    >>> join_widths((784, 1024, 1024, 1024, 10))
    '784-1024×3-10'
    """
    runs = [(width, len(list(same))) for width, same in groupby(widths)]
    parts = [[f"{width}×{n}"] if n > 2 else [str(width)] * n for width, n in runs]
    return "-".join(chain.from_iterable(parts))


@dataclass(frozen=True)
class Config:
    """A network, how it is used, and on how much data.

    kind: "steps", training steps over a data set of several batches; "epoch", one pass over a
    shuffled data set; "predict", one call on `batch` rows; "online", one training step on a
    batch handed over by itself. Training is always forward, loss, backward and Adam.

    n_rows: samples of the data set; 0 for as many as give an epoch of about 2 GFLOP. data:
    "fashion-mnist" to use that where it is installed.

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
        """Floating-point operations of the matrix products for one row.

        Training takes 6 a weight (2 each for forward, for the gradient and for δ), less the 2 of
        the first layer, whose δ goes no further down; a prediction takes 2.
        """
        weights = sum(a * b for a, b in pairwise(self.widths))
        if self.kind == "predict":
            return 2 * weights
        return 6 * weights - 2 * self.widths[0] * self.widths[1]

    @property
    def rows(self) -> int:
        """Samples of the data set."""
        if self.n_rows:
            return self.n_rows
        if self.kind in ("predict", "online"):
            return self.batch
        steps = round(_DATA_FLOPS / (self.flops_per_sample * self.batch))
        return self.batch * min(max(steps, _FEWEST), _MOST)

    @property
    def n_steps(self) -> int:
        """Steps, or calls, that one pass over the data set takes."""
        return ceil(self.rows / self.batch)

    @property
    def learning_rate(self) -> float:
        """Of Adam; next to nothing but in an epoch on real data.

        So the weights stay as they were drawn, and every round measures the same arithmetic.
        """
        return 1e-3 if self.kind == "epoch" else 1e-6

    def describe(self) -> str:
        """The network and its use in a few words.

        >>> CONFIGS["rl"].describe()
        '8-64-64-2 tanh, mse, batch 64'
        """
        widths = join_widths(self.widths)
        rows = f"{self.rows} rows, batch" if self.kind == "epoch" else "batch"
        return f"{widths} {self.activation}, {self.loss}, {rows} {self.batch}"


@dataclass(frozen=True)
class Suite:
    """Configurations that are measured together; `peers`: whether other programs join in."""

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
_WIDTHS = tuple(  # 45 and 46: where a peer begins to start all its threads
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
    """(configuration, whether peers join in) of the suites and then the configurations named.

    None of either means the suite "steps"; the suite "all" is every one. One named twice comes
    once, with peers if either asks for them. Raises ValueError, listing what there is, for an
    unknown name.

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


def _look_up(table: dict, name: str, what: str, *others: str):
    if name not in table:
        known = ", ".join([*table, *others])
        raise ValueError(f"unknown {what} {name!r}; there are: {known}")
    return table[name]
