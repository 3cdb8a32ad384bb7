"""The programs that `populations.py` measures, each in a process of its own.

    python benchmarks/population_peers.py '{"program": "jax", "job": "small", …}'

The process makes its networks, trains them once, and says so in a line of JSON. It answers each
number of epochs on its input with the seconds that all networks took for them.
"""

import json
import os
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np

from fastbp.bench._memory import forget_peak, peak_bytes
from fastbp.bench._peers._base import Program as Base
from fastbp.bench._suites import Config

ROWS = 2048
RATE = 1e-6  # so small that each round computes with the same weights
FOLDS, SEARCH_EPOCHS = 5, 20


@dataclass(frozen=True)
class Job:
    """A population: how many networks, of what kind, and for how many epochs in a round."""

    name: str
    members: int
    widths: tuple[int, ...]
    activation: str
    batch: int
    epochs: int
    rows: int = ROWS

    @property
    def config(self):
        """The training of one member."""
        return Config(self.name, self.widths, self.activation, "mse", self.batch, n_rows=self.rows)


JOBS = {
    job.name: job
    for job in (
        Job("tab", 64, (30, 64, 32, 1), "relu", 32, 20),
        Job("small", 256, (8, 16, 16, 1), "tanh", 32, 20),
        Job("wide", 64, (14, 384, 384, 384, 2), "relu", 256, 1),
        Job("memory", 1000, (8, 16, 16, 1), "tanh", 32, 1, rows=64),
    )
}


class Program:
    """A way to train a population: `load` imports, `prepare` makes networks, `run` trains them."""

    package = ""  # that must be installed
    kinds = ("steps", "memory")
    threads = (1, 2)  # that it is tried with

    @classmethod
    def environment(cls, threads):
        """Environment variables of its process."""
        return Base.environment(threads)

    def load(self):
        """Import what it needs."""

    def prepare(self, job, members, X, y, threads):
        """Make the networks."""
        raise NotImplementedError

    def run(self, epochs):
        """Train all members for some epochs; returns what is to be reported, if anything."""
        raise NotImplementedError


# ---- fastbp -------------------------------------------------------------------------------


class Population(Program):
    """`fastbp.Population.fit`."""

    def load(self):
        import fastbp

        self.fastbp = fastbp

    def prepare(self, job, members, X, y, threads):
        kind = {"activation": job.activation, "loss": "mse"}
        self.population = self.fastbp.Population.of(members, job.widths, **kind)
        self.optimizers = [self.fastbp.optim.Adam(RATE) for _ in range(members)]
        self.X, self.y, self.batch, self.threads = X, y, job.batch, threads

    def run(self, epochs):
        self.population.fit(
            self.X,
            self.y,
            epochs=epochs,
            batch_size=self.batch,
            optimizer=list(self.optimizers),
            n_threads=self.threads,
        )


class Loop(Population):
    """A Python loop of `fastbp.Network.fit`."""

    kinds = ("steps",)

    def run(self, epochs):
        nets = zip(self.population, self.optimizers, strict=True)
        fit_all(list(nets), self.X, self.y, epochs, self.batch, self.threads)


class Processes(Population):
    """joblib: each process trains its share of the networks, and sends them back."""

    package = "joblib"
    kinds, threads = ("steps",), (2,)

    def run(self, epochs):
        from joblib import Parallel, delayed

        nets, n = list(zip(self.population, self.optimizers, strict=True)), self.threads
        shares = [nets[k::n] for k in range(n)]
        call = delayed(fit_all)
        Parallel(n)(call(each, self.X, self.y, epochs, self.batch, 1) for each in shares if each)


def fit_all(nets, X, y, epochs, batch, threads):
    """Train networks one after another; returns them."""
    for net, optimizer in nets:
        net.fit(X, y, epochs=epochs, batch_size=batch, optimizer=optimizer, n_threads=threads)
    return nets


# ---- PyTorch ------------------------------------------------------------------------------


class Vmap(Program):
    """torch.func: `vmap` over the stacked parameters, with the fused Adam of PyTorch."""

    package = "torch"

    def load(self):
        import torch
        import torch.func

        self.torch = torch

    def prepare(self, job, members, X, y, threads):
        from fastbp.bench._peers._pytorch import Eager

        torch = self.torch
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        models = [Eager()._model(job.config, torch.float32) for _ in range(members)]
        parameters, _ = torch.func.stack_module_state(models)
        self.theta, model = parameters, models[0].to("meta")

        def cost(theta, X, y):
            outputs = torch.func.functional_call(model, theta, (X,))
            return torch.nn.functional.mse_loss(outputs, y)

        self.cost = cost
        self.batches = [tuple(map(torch.from_numpy, rows)) for rows in divide(job, members, X, y)]
        self.prepare_step()

    def prepare_step(self):
        """Set `step` to a function of a batch of each member."""
        total = self.torch.func.vmap(self.cost)
        optimizer = self.torch.optim.Adam(self.theta.values(), lr=RATE, fused=True)

        def step(X, y):
            optimizer.zero_grad(set_to_none=True)
            total(self.theta, X, y).sum().backward()
            optimizer.step()

        self.step = step

    def run(self, epochs):
        for _ in range(epochs):
            for X, y in self.batches:
                self.step(X, y)


class CompiledVmap(Vmap):
    """torch.compile of the whole step: `vmap` of `grad`, and Adam on the stacked parameters."""

    def prepare_step(self):
        torch = self.torch
        gradient = torch.func.vmap(torch.func.grad(self.cost))

        def train(theta, m, v, scale, root, X, y):
            for name, grad in gradient(theta, X, y).items():
                m[name].mul_(0.9).add_(grad, alpha=0.1)
                v[name].mul_(0.999).addcmul_(grad, grad, value=0.001)
                theta[name].sub_(scale * m[name] / (v[name].sqrt() / root + 1e-8))

        train = torch.compile(train)
        theta = {name: p.detach() for name, p in self.theta.items()}
        m, v = ({name: torch.zeros_like(p) for name, p in theta.items()} for _ in range(2))
        t = 0

        def step(X, y):
            nonlocal t
            t += 1
            scale, root = RATE / (1 - 0.9**t), (1 - 0.999**t) ** 0.5
            with torch.no_grad():
                train(theta, m, v, torch.tensor(scale), torch.tensor(root), X, y)

        self.step = step


# ---- JAX ----------------------------------------------------------------------------------


class Jax(Program):
    """JAX: an epoch in one call, `lax.scan` over steps of `vmap` over members."""

    package = "jax"
    devices = False  # whether each thread is a device with its share of the members

    @classmethod
    def environment(cls, threads):
        from fastbp.bench._peers._jax_cpu import JaxSteps

        found = JaxSteps.environment(threads)
        if cls.devices:
            found["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={threads}"
        return found

    def load(self):
        import jax

        self.jax = jax

    def prepare(self, job, members, X, y, threads):
        from functools import partial

        from fastbp.bench._peers import _jax_cpu

        jax = self.jax
        self.train = partial(_jax_cpu._step, job.activation, "mse", RATE)
        one = _jax_cpu._initial_state(job.widths, "float32")
        state = jax.tree_util.tree_map(lambda p: jax.numpy.stack([p] * members), one)
        rows = [np.stack(each, 1) for each in zip(*divide(job, members, X, y), strict=True)]
        epoch = self.epoch  # of (state, X, y), whose first axis are the members
        if self.devices:
            mesh = jax.make_mesh((threads,), ("members",))
            parts = jax.sharding.PartitionSpec("members")
            epoch = jax.shard_map(epoch, mesh=mesh, in_specs=parts, out_specs=parts)
            state, rows = jax.device_put((state, rows), jax.sharding.NamedSharding(mesh, parts))
        self.state, self.rows = state, jax.device_put(rows)
        self.compiled = jax.jit(epoch, donate_argnums=0)

    def epoch(self, state, X, y):
        jax = self.jax
        steps = [each.swapaxes(0, 1) for each in (X, y)]
        step = jax.vmap(self.train)
        return jax.lax.scan(lambda s, batch: (step(s, *batch), None), state, steps)[0]

    def run(self, epochs):
        for _ in range(epochs):
            self.state = self.compiled(self.state, *self.rows)
        self.jax.block_until_ready(self.state)


class JaxDevices(Jax):
    """The same, with a device for each core, and a share of the members on each."""

    kinds, threads = ("steps",), (2,)
    devices = True


class JaxMap(JaxDevices):
    """JAX on devices: `lax.map` over members, each a `lax.scan` over its steps."""

    threads = (1, 2)

    def epoch(self, state, X, y):
        lax = self.jax.lax

        def member(both):
            state, steps = both
            return lax.scan(lambda s, batch: (self.train(s, *batch), None), state, steps)[0]

        return lax.map(member, (state, (X, y)))


def divide(job, members, X, y):
    """The batches of an epoch: (K, batch, n) of X and y for each step, every member in its order.

    They are made once, before the time is taken, and used in every epoch.
    """
    rng = np.random.default_rng(1)
    order = rng.permuted(np.tile(np.arange(len(X)), (members, 1)), axis=1)
    steps = np.split(order, len(X) // job.batch, axis=1)
    return [(X[rows], y[rows]) for rows in steps]


# ---- searches -----------------------------------------------------------------------------


class Grid(Program):
    """GridSearchCV with two jobs, of the networks of scikit-learn."""

    package = "sklearn"
    module = "sklearn.neural_network"
    kinds, threads = ("search",), (2,)
    n_threads = None  # of a network, if it takes it

    @classmethod
    def environment(cls, threads):
        return super().environment(1)  # each job has one thread

    def prepare(self, job, members, X, y, threads):
        from importlib import import_module

        from sklearn.datasets import load_digits

        self.members, self.n = members, threads
        X, self.y = load_digits(return_X_y=True)
        self.X = (X / 16).astype(np.float32)
        network = import_module(self.module).MLPClassifier
        options = {"max_iter": SEARCH_EPOCHS, "n_iter_no_change": SEARCH_EPOCHS}
        if self.n_threads is not None:
            options["n_threads"] = self.n_threads
        self.network = network(batch_size=32, random_state=0, **options)

    def search(self, grid):
        from sklearn.model_selection import GridSearchCV

        return GridSearchCV(self.network, grid, cv=FOLDS, n_jobs=self.n, refit=False)

    def run(self, epochs):
        """Search once; with 0 epochs, among two candidates. Returns the best score."""
        grid = candidates(self.members if epochs else 2)
        return float(self.search(grid).fit(self.X, self.y).best_score_)


class OwnGrid(Grid):
    """GridSearchCV with two jobs, of the networks of fastbp."""

    module = "fastbp.sklearn"
    n_threads = 1


class OwnSearch(Grid):
    """PopulationSearchCV, all networks in one call."""

    module, threads = "fastbp.sklearn", (1, 2)

    @classmethod
    def environment(cls, threads):
        return Base.environment(threads)

    def search(self, grid):
        from fastbp.sklearn import PopulationSearchCV

        return PopulationSearchCV(self.network, grid, cv=FOLDS, n_threads=self.n, refit=False)


def candidates(n):
    """The first n of 48 candidates, as grids of one point."""
    found = [
        {"hidden_layer_sizes": [sizes], "alpha": [alpha], "learning_rate_init": [rate]}
        for rate in (3e-4, 1e-3, 3e-3, 1e-2)
        for sizes in ((32,), (64,), (64, 32))
        for alpha in (1e-5, 1e-4, 1e-3, 1e-2)
    ]
    return found[:n]


PROGRAMS = {
    "fastbp.Population": Population,
    "loop of Network.fit": Loop,
    "joblib, Network.fit": Processes,
    "torch, vmap": Vmap,
    "torch, vmap, compiled": CompiledVmap,
    "jax, vmap": Jax,
    "jax, vmap, devices": JaxDevices,
    "jax, map, devices": JaxMap,
    "PopulationSearchCV": OwnSearch,
    "GridSearchCV, fastbp": OwnGrid,
    "GridSearchCV, scikit-learn": Grid,
}


# ---- the process --------------------------------------------------------------------------


def data(job):
    """X and y of a job, the same numbers in every process."""
    rng = np.random.default_rng(0)
    kind = np.float32
    X = rng.standard_normal((job.rows, job.widths[0]), kind)
    return X, rng.standard_normal((job.rows, job.widths[-1]), kind)


def serve(replies, program, job, members, threads, peak):
    """Prepare a program, and answer requests until the input ends."""
    chosen, before = PROGRAMS[program](), peak_bytes()
    chosen.load()
    forget_peak()
    loaded = peak_bytes()
    began = time.perf_counter()
    searches = job == "search"
    sizes = JOBS.get(job)
    X, y = (None, None) if searches else data(sizes)
    chosen.prepare(sizes, members, X, y, threads)
    chosen.run(0 if searches else 1)  # compiles, and starts threads or processes
    first = time.perf_counter() - began
    memory = {"bytes": peak_bytes(), "loaded": loaded, "before": before}
    epoch = 0.0
    if not searches:
        began = time.perf_counter()
        chosen.run(1)
        epoch = time.perf_counter() - began
    send(replies, first=first, epoch=epoch, **memory)
    for line in sys.stdin:
        gflops = None
        if peak:
            from fastbp import _core

            gflops = _core.fma_peak(False, 0.02)
        began, used = time.perf_counter(), time.process_time()
        score = chosen.run(int(line))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        send(replies, seconds=seconds, cpu=cpu, peak=gflops, score=score)


def send(replies, **values):
    print(json.dumps(values), file=replies, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of searches that end before they have converged
    os.environ["PYTHONWARNINGS"] = "ignore"  # in the processes of joblib too
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to stderr
    serve(out, **json.loads(sys.argv[1]))
