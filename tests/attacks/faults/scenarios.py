"""What the attacks of this folder do with fastbp: small fits, derivatives, files, commands.

A scenario is a function of a folder that returns a `Case`. Everything comes from fixed seeds, so
that each run of a case gives the same bits.
"""

import contextlib
import io
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # tests/

import numpy as np
from engine_cases import OPTIMIZERS, targets_for

import fastbp
from fastbp import Dense, _core
from fastbp._cli.main import main
from fastbp._files.atomic import sweep
from fastbp._files.safetensors import read_safetensors
from fastbp.callbacks import CSVLogger, EarlyStopping
from fastbp.tabular import read_table

SCENARIOS = {}
TEMPORARY = ".fastbp-*.tmp"


@dataclass
class Case:
    """One run of a scenario.

    Attributes
    ----------
    act : callable
        Does it, from the same beginning at each call, and returns bytes that depend on every bit of
        the result.
    whole : callable
        Whether what is there after an error is as before or after a whole step; it raises
        AssertionError if not.
    files : tuple of Path
        Files that an error may name.
    """

    act: Callable[[], bytes]
    whole: Callable[[], None] = field(default=lambda: None)
    files: tuple[Path, ...] = ()


def scenario(*kinds):
    """Add a function to the scenarios; kinds: "engine", "python" and "kill", where it is used."""

    def add(make):
        SCENARIOS[make.__name__.replace("_", " ")] = (make, frozenset(kinds))
        return make

    return add


def of_kind(kind):
    """{name: function} of the scenarios of that kind."""
    return {name: make for name, (make, kinds) in SCENARIOS.items() if kind in kinds}


def bits(*results):
    """The bytes of arrays, numbers and lists of them."""
    return b"|".join(
        bits(*each) if isinstance(each, (list, tuple)) else np.asarray(each).tobytes()
        for each in results
    )


def problem(widths=(5, 19, 3), n=40, loss="squared_error", **options):
    """A network with samples X and y."""
    rng = np.random.default_rng(31)
    net = fastbp.Network(widths, loss=loss, seed=6, **options)
    X = rng.normal(size=(n, widths[0])).astype(net.dtype)
    return net, X, targets_for(rng, loss, n, widths[-1]).astype(net.dtype)


def layered(**more):
    """A network whose layers use every option and an activation that is a formula."""
    options = {"norm": "layer", "dropout": 0.4, "max_norm": 1.0, "non_negative": True}
    layers = [
        Dense(33, "tanh", bias=False, **options),
        Dense(33, "formula(z * sigmoid(beta * z), beta=1.5)", residual=True, norm="rms"),
        Dense(3, "identity"),
    ]
    return fastbp.Network.from_layers(5, layers, input_dropout=0.2, seed=3, **more)


# ---- networks and passes ------------------------------------------------------------------


@scenario("engine", "python")
def networks(folder):
    """Construct networks of all kinds, copy and pickle them."""

    def act():
        found = []
        for make in (
            lambda: fastbp.Network((5, 8, 3), output="softmax", loss="cross_entropy", seed=0),
            lambda: layered(dtype="float64"),
            lambda: layered(matmul_precision="medium"),
            lambda: fastbp.Network(
                (4, 8, 2), activation="prelu", loss="formula(mean(abs(a - y)))", l1=0.1, seed=0
            ),
        ):
            net = make()
            found += [net.theta, net.copy().theta, pickle.loads(pickle.dumps(net)).theta]
        return bits(found)

    return Case(act)


def passes_on(make, n=40):
    """Every pass and derivative of a network, with buffers that grow."""

    def case(folder):
        net = make()
        rng = np.random.default_rng(1)
        X = rng.normal(size=(n, net.widths[0])).astype(net.dtype)
        y = rng.normal(size=(n, net.widths[-1])).astype(net.dtype)
        start, v = net.theta.copy(), np.ones_like(net.theta)

        def act():
            net.theta[...] = start
            found = [net.forward(X[:3]).copy(), net.forward(X).copy()]
            found += [net.backward(y), net.grad.copy(), net.input_gradient()]
            found += [net.pull_back(1, np.ones((n, net.widths[1]), net.dtype))]
            found += [net.predict(X), net.loss(X, y), *net.value_and_grad(X, y)]
            found += [net.vjp(X, y), net.jacobian(X[:5]), net.jvp(X, X)]
            found += [net.per_sample_gradients(X[:5], y[:5]), net.gradient_norms(X, y)]
            found += [net.hvp(X, y, v), *net.relevance(X[:5], y[:5])]
            return bits(found)

        return Case(act, lambda: unchanged(net, start))

    return case


def unchanged(net, *allowed):
    """Assert that theta is one of some vectors."""
    assert net.theta.tobytes() in {each.tobytes() for each in allowed}, "theta is of no whole step"


@scenario("engine", "python")
def passes(folder):
    return passes_on(lambda: problem()[0])(folder)


@scenario("engine")
def passes_of_medium_precision(folder):
    return passes_on(lambda: problem((5, 64, 64, 3), matmul_precision="medium")[0], 80)(folder)


@scenario("engine")
def passes_of_formulas(folder):
    return passes_on(
        lambda: fastbp.Network(
            (5, 19, 3),
            activation="prelu(0.25, per=unit)",
            loss="formula(sum((a - y) ** 2))",
            seed=1,
        )
    )(folder)


@scenario("engine", "python")
def passes_in_training(folder):
    """Passes with dropout and layers with options."""
    net, (_, X, y) = layered(), problem()

    def act():
        net.dropout_step = 0
        outputs = net.forward(X, training=True).copy()
        return bits(outputs, net.backward(y), net.grad, net.input_gradient(), net.predict(X))

    return Case(act)


@scenario("engine")
def predictions_on_threads(folder):
    net, X, y = problem((20, 300, 300, 4), 600)

    def act():
        with threads(3):
            return bits(net.predict(X), net.loss(X, y), net.predict(X[:2]), net.predict(X[:1]))

    return Case(act)


@contextlib.contextmanager
def threads(n):
    before = fastbp.get_num_threads()
    fastbp.set_num_threads(n)
    try:
        yield
    finally:
        fastbp.set_num_threads(before)


@scenario("engine")
def kernels(folder):
    """Single products and programs, as benchmarks and tests call them."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=s).astype("f") for s in ((30, 50), (50, 70), (30, 70)))
    isa = _core.bf16_rows(_core.isa(), 2)

    def act():
        found = []
        for panels in (False, True):
            _core.gemm("nn", a, b, c, panels=panels)
            found.append(c.copy())
        if isa:
            _core.bf16_product(a, b, c, planes=2)
            found.append(c.copy())
        found.append(_core.round_factor(a, 2))
        return bits(found)

    return Case(act)


# ---- fits ---------------------------------------------------------------------------------


class Thetas:
    """A callback that keeps theta after each step."""

    def __init__(self, net):
        self._net, self.found = net, [net.theta.copy()]

    def on_batch_end(self, step, logs):
        self.found.append(self._net.theta.copy())


def fit_of(make, n_threads=1, rule="adam", convert=lambda X: X, **options):
    """A fit of make() → (net, X, y)."""

    def case(folder):
        net, X, y = make()
        X = convert(X)
        start = net.theta.copy()
        options_of_fit = {"epochs": 2, "batch_size": 7} | options

        def train(**more):
            net.theta[...] = start
            optimizer = OPTIMIZERS[rule]()
            history = net.fit(
                X, y, optimizer=optimizer, n_threads=n_threads, **options_of_fit | more
            )
            return bits(net.theta, *optimizer.moments, history.loss, optimizer.t)

        def act():
            return train()

        steps = Thetas(net)
        train(callbacks=[steps])
        return Case(act, lambda: unchanged(net, *steps.found))

    return case


def wide():
    return problem((20, 130, 121, 9), 263)


@scenario("engine", "python")
def fit(folder):
    return fit_of(problem, metrics=["r2"], validation_split=0.2, schedule="cosine")(folder)


@scenario("engine")
def fit_on_2_threads(folder):
    return fit_of(wide, 2, batch_size=263)(folder)


@scenario("engine")
def fit_on_3_threads(folder):
    return fit_of(wide, 3, "rmsprop", batch_size=61)(folder)


@scenario("engine")
def fit_with_options_of_layers(folder):
    return fit_of(lambda: (layered(), *problem()[1:]), rule="adamw", accumulate=3)(folder)


@scenario("engine")
def fit_of_formulas(folder):
    loss = "formula(mean(abs(a - y)))"
    return fit_of(
        lambda: (
            fastbp.Network((5, 19, 3), activation="prelu(0.25, per=unit)", loss=loss, seed=1),
            *problem()[1:],
        )
    )(folder)


@scenario("engine")
def fit_of_medium_precision(folder):
    return fit_of(lambda: problem((5, 64, 64, 3), 80, matmul_precision="medium"), 2, batch_size=64)(
        folder
    )


@scenario("engine", "python")
def fit_of_sparse_rows(folder):
    from scipy import sparse

    return fit_of(problem, convert=sparse.csr_matrix, rule="momentum")(folder)


@scenario("engine")
def fit_of_whole_numbers(folder):
    return fit_of(problem, convert=lambda X: (X * 3).astype(np.int16), rule="rmsprop")(folder)


@scenario("engine", "python")
def fit_of_a_stream(folder):
    """Blocks, read by a thread of Python."""
    net, X, y = problem()
    start = net.theta.copy()

    def act():
        net.theta[...] = start
        source = fastbp.stream(X, y, block_rows=15)
        history = net.fit(source, epochs=2, batch_size=7, n_threads=1)
        return bits(net.theta, history.loss)

    return Case(act)


@scenario("engine", "python")
def fit_of_a_population(folder):
    """Members of several shapes on two threads, each with rows of its own."""
    shapes = ((5, 19, 3), (5, 3), (5, 40, 30, 3), (5, 7, 7, 3))
    nets = [problem(widths)[0] for widths in shapes]
    _, X, y = problem()
    starts = [net.theta.copy() for net in nets]
    rows = [None, np.arange(25), np.arange(40) % 3, None]

    def train(**more):
        for net, start in zip(nets, starts, strict=True):
            net.theta[...] = start
        histories = fastbp.Population(nets).fit(
            X, y, rows=rows, epochs=2, batch_size=7, n_threads=2, **more
        )
        return bits(*(net.theta for net in nets), *(history.loss for history in histories))

    steps = [Thetas(net) for net in nets]
    train(callbacks=[[each] for each in steps])

    def whole():
        for net, each in zip(nets, steps, strict=True):
            unchanged(net, *each.found)

    return Case(train, whole)


@scenario("engine", "python")
def single_batches(folder):
    """train_batch with batches that grow, and steps by hand."""
    net, X, y = problem()
    start = net.theta.copy()

    def act():
        net.theta[...] = start
        adam, sgd = OPTIMIZERS["adam"](), OPTIMIZERS["sgd"]()
        losses = [net.train_batch(X[:n], y[:n], optimizer=adam) for n in (3, 1, 9, 40)]
        net.value_and_grad(X, y)
        net.step(sgd)
        return bits(net.theta, losses, *adam.moments)

    return Case(act)


@scenario("engine", "python")
def fit_by_lbfgs(folder):
    net, X, y = problem()
    start = net.theta.copy()

    def act():
        net.theta[...] = start
        history = net.fit(X, y, epochs=3, optimizer="lbfgs", n_threads=1)
        return bits(net.theta, history.loss)

    return Case(act)


@scenario("engine")
def threads_begin_and_end(folder):
    """The pool: started, used, ended, started again."""
    case = fit_of(wide, 3, epochs=1, batch_size=263)(folder)

    def act():
        fastbp.stop_threads()
        first = case.act()
        fastbp.stop_threads()
        return first + case.act()

    return Case(act, case.whole)


# ---- files --------------------------------------------------------------------------------


def model_bits(path):
    """The bits of a model file, or None if there is none."""
    return fastbp.load(path).theta.tobytes() if path.exists() else None


@scenario("python", "kill")
def save_over_a_file(folder):
    path = folder / "model.safetensors"
    old, new = (fastbp.Network((40, 40), seed=seed) for seed in (1, 2))
    old.save(path)

    def act():
        new.save(path)
        return model_bits(path)

    def whole():
        assert model_bits(path) in (old.theta.tobytes(), new.theta.tobytes()), "half a file"

    return Case(act, whole, (path,))


@scenario("python", "kill")
def save_in_a_new_file(folder):
    path = folder / "model.safetensors"
    net = fastbp.Network((40, 40), seed=2)

    def act():
        path.unlink(missing_ok=True)
        net.save(path)
        return model_bits(path)

    def whole():
        assert model_bits(path) in (None, net.theta.tobytes()), "half a file"

    return Case(act, whole, (path,))


@scenario("python")
def load_a_file(folder):
    path = folder / "model.safetensors"
    layered().save(path)

    def act():
        return bits(fastbp.load(path).theta)

    return Case(act, files=(path,))


def fit_with_checkpoints(folder, source, **options):
    run, log = folder / "run", folder / "log.csv"

    def act():
        net, X, y = problem()
        stop = EarlyStopping("loss", patience=9)
        optimizer = OPTIMIZERS["adam"]()
        history = net.fit(
            *source(X, y),
            epochs=3,
            batch_size=7,
            optimizer=optimizer,
            schedule="cosine",
            callbacks=[stop, CSVLogger(log)],
            checkpoint=run,
            every="2 steps",
            **options,
        )
        return bits(net.theta, *optimizer.moments, history.loss, stop.best)

    def whole():
        found = sorted(run.glob("checkpoint-*")) if run.exists() else []
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                read_safetensors(path)  # ModelFileError for half a file

    return Case(act, whole, (run, *(run / f"checkpoint-{i}.safetensors" for i in (0, 1)), log))


@scenario("python", "kill")
def fit_with_checkpoints_of_arrays(folder):
    return fit_with_checkpoints(folder, lambda X, y: (X, y), validation_split=0.2)


@scenario("python", "kill")
def fit_with_checkpoints_of_a_stream(folder):
    return fit_with_checkpoints(folder, lambda X, y: (fastbp.stream(X, y, block_rows=15),))


@scenario("kill")
def fit_with_checkpoints_on_2_threads(folder):
    run = folder / "run"

    def act():
        net, X, y = wide()
        history = net.fit(
            X, y, epochs=3, batch_size=263, n_threads=2, checkpoint=run, every="1 step"
        )
        return bits(net.theta, history.loss)

    return Case(act, files=(run,))


# ---- tables and commands ------------------------------------------------------------------


def write_table(path, n=120):
    rng = np.random.default_rng(8)
    lines = ["a,b,kind,target"]
    for a, b in rng.normal(size=(n, 2)):
        kind = "xyz"[int(abs(a) * 5) % 3]
        lines.append(f"{a:.6f},{b:.4f},{kind},{a * b + len(kind):.5f}")
    path.write_text("\n".join(lines) + "\n")


@scenario("engine", "python")
def read_a_table(folder):
    path = folder / "table.csv"
    write_table(path)

    def act():
        table = read_table(path, target="target")
        return bits(table.values, table.target) + repr(list(table.text.values())).encode()

    return Case(act, files=(path,))


def command(*arguments):
    """Run `fastbp`; OSError, MemoryError or RuntimeError with its message if it fails."""
    errors, output = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
        code = main([str(each) for each in arguments])
    if code:
        raise CommandFailed(code, errors.getvalue())
    return output.getvalue()


class CommandFailed(Exception):
    """A command has ended with an exit code and a message."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code, self.message = code, message


@scenario("python", "kill")
def command_train(folder):
    data, model = folder / "table.csv", folder / "model.safetensors"
    write_table(data)

    def act():
        options = ("--hidden", "8", "--epochs", "2", "--seed", "1", "--target", "target")
        command("train", data, "-o", model, *options, "-q")
        return model_bits(model)

    def whole():
        model_bits(model)  # ModelFileError for half a file

    return Case(act, whole, (data, model))


@scenario("python", "kill")
def command_predict(folder):
    data, model, output = (folder / name for name in ("table.csv", "model.safetensors", "out.csv"))
    write_table(data)
    command("train", data, "-o", model, "--hidden", "8", "--epochs", "1", "--seed", "1", "-q")
    output.write_text("old\n")

    def act():
        command("predict", model, data, "-o", output, "--keep", "kind")
        return output.read_bytes()

    expected = {b"old\n", act()}
    output.write_text("old\n")

    def whole():
        assert output.read_bytes() in expected, "half a file"

    return Case(act, whole, (data, model, output))


def leftovers(folder):
    """The temporary files in a folder and its folders."""
    return sorted(folder.rglob(TEMPORARY))


def clean(folder):
    """Remove temporary files of processes that have ended, as the next process does."""
    for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sweep(each)
    return not leftovers(folder)
