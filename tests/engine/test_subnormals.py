"""Subnormals are zeros inside the engine, on every thread; the caller's modes do not change.

The results of the engine show whether it flushes subnormals; NumPy and Python's floats on the same
thread show the modes of the caller. Nothing is timed.
"""

import ctypes
import platform
import signal
import threading

import numpy as np
import pytest
from program_cases import MIXED, core_net, squared_error_programs

import fastbp
from fastbp import _core
from fastbp.optim import SGD, Adam, RMSprop

MACHINE = platform.machine().lower()
pytestmark = pytest.mark.skipif(
    MACHINE not in {"x86_64", "amd64", "aarch64", "arm64"},
    reason="the engine cannot flush subnormals on this machine",
)
DTYPES = [np.float32, np.float64]


def small(dtype):
    """The smallest normal number, and a subnormal."""
    info = np.finfo(dtype)
    return dtype(info.tiny), dtype(info.tiny / 4)


def is_subnormal(array):
    return (array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)


def keeps_subnormals():
    """Whether the arithmetic of this thread keeps subnormals, as inputs and as results."""
    kept = []
    for dtype in DTYPES:
        tiny, subnormal = small(dtype)
        halves = np.full(40, tiny) / dtype(4)  # long enough for loops over vectors
        kept += [halves == subnormal, np.full(40, subnormal) * dtype(4) == tiny]
    tiny = float(np.finfo(float).tiny)
    return bool(np.all(kept)) and tiny / 4 != 0.0 and (tiny / 4) * 4 == tiny


class Modes:
    """The floating-point environment of this thread by fegetenv, as bytes with status flags."""

    def __init__(self):
        library = ctypes.CDLL(None)
        self.env = ctypes.create_string_buffer(64)  # fenv_t is shorter on every platform
        self._get, self._set = library.fegetenv, library.fesetenv

    def read(self):
        ctypes.memset(self.env, 0, len(self.env))
        assert self._get(self.env) == 0
        return self.env.raw

    def write(self, raw):
        assert self._set(ctypes.create_string_buffer(raw, 64)) == 0


needs_fenv = pytest.mark.skipif(
    platform.system() == "Windows", reason="ctypes finds no library with fegetenv"
)
IS_X86 = MACHINE in {"x86_64", "amd64"}
WORD = slice(28, 32) if IS_X86 else slice(0, 4)  # MXCSR, FPCR within glibc's fenv_t
FLUSH = 0x8040 if IS_X86 else 1 << 24
ROUND_UP = 0x4000 if IS_X86 else 1 << 22
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the test knows the layout of fenv_t of glibc"
)


def with_bits(raw, bits):
    """The same modes with these bits of the control word set."""
    word = int.from_bytes(raw[WORD], "little") | bits
    return raw[: WORD.start] + word.to_bytes(4, "little") + raw[WORD.stop :]


# ---- subnormals in the engine -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["nn", "tn", "nt"])
@pytest.mark.parametrize("n", [1, 3, 16, 37])
def test_products(dtype, form, n):
    """Subnormal inputs, and small numbers whose product is subnormal."""
    tiny, subnormal = small(dtype)
    for a, b, want in (
        (subnormal, dtype(4), 0),
        (dtype(4), subnormal, 0),
        (tiny, dtype(0.25), 0),
        (tiny, dtype(2), 2 * n * tiny),
    ):
        c = np.empty((n, n), dtype)
        _core.gemm(form, np.full((n, n), a), np.full((n, n), b), c)
        np.testing.assert_array_equal(c, np.full((n, n), want, dtype), f"{a} · {b}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions(dtype):
    tiny, subnormal = small(dtype)
    x = np.array([subnormal, -subnormal], dtype)
    for name in ("expm1", "log1p", "tanh", "sin", "gelu_tanh", "silu"):
        np.testing.assert_array_equal(np.abs(_core.vmath(name, x)), [0, 0], err_msg=name)
    np.testing.assert_array_equal(_core.vmath("log", x), [-np.inf, -np.inf])
    low = np.log(tiny) - dtype(2)
    np.testing.assert_array_equal(_core.vmath("exp", np.array([low], dtype)), [0])


OPTIMIZERS = {
    "momentum": lambda: SGD(1e-3, momentum=0.9),
    "nesterov": lambda: SGD(1e-3, momentum=0.9, nesterov=True),
    "adam": lambda: Adam(1e-3, betas=(0.9, 0.95)),
    "amsgrad": lambda: Adam(1e-3, betas=(0.9, 0.95), amsgrad=True),
    "rmsprop": lambda: RMSprop(1e-3, 0.9),
    "clipped": lambda: Adam(1e-3, betas=(0.9, 0.95), clip_global_norm=1.0),
}


def dead_network(dtype):
    """A network with 12 inputs, and data in which all inputs but the first are 0."""
    net = fastbp.Network((12, 37, 2), activation="tanh", dtype=dtype, seed=0)
    X = np.zeros((8, 12), dtype)
    X[:, 0] = np.linspace(-1, 1, 8)
    return net, X, np.stack([X[:, 0], -X[:, 0]], axis=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by", ["fit", "train_batch", "step", "one row"])
def test_moments_of_dead_gradients_end_at_zero(dtype, name, by):
    """They begin just above the smallest normal number; without flushing they stay subnormal."""
    net, X, y = dead_network(dtype)
    optimizer = OPTIMIZERS[name]()
    optimizer.bind(net.theta.size, net.dtype)
    for moment in optimizer.moments:
        moment[:] = np.finfo(dtype).tiny * dtype(1.5)
    if by == "one row":
        X, y = X[:1], y[:1]
    for _ in range(20):
        if by == "fit":
            net.fit(X, y, epochs=1, batch_size=4, optimizer=optimizer)
        elif by == "step":
            net.value_and_grad(X, y)
            net.step(optimizer)
        else:
            net.train_batch(X, y, optimizer)
    for i, moment in enumerate(optimizer.moments):
        assert not is_subnormal(moment).any(), f"moment {i}"
        dead = net.blocks(moment)[0]["W"][1:]
        largest = name == "amsgrad" and i == 2  # the maximum so far, which does not decay
        kept = np.finfo(dtype).tiny * dtype(1.5) if largest else 0
        assert (dead == kept).all(), f"moment {i}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_keeps_subnormals(dtype):
    """It uses NumPy, in the modes of the caller."""
    net = fastbp.reference.Network((12, 5, 2), activation="tanh", dtype=dtype, seed=0)
    _, X, y = dead_network(dtype)
    optimizer = SGD(1e-3, momentum=0.9)
    optimizer.bind(net.theta.size, net.dtype)
    optimizer.moments[0][:] = np.finfo(dtype).tiny
    net.train_batch(X, y, optimizer)
    assert is_subnormal(net.blocks(optimizer.moments[0])[0]["W"][1:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_passes_and_derivatives(dtype):
    """Every call of the engine: subnormal weights give zeros."""
    subnormal = small(dtype)[1]
    net = fastbp.Network((5, 4, 3), activation="identity", dtype=dtype, seed=0, l2=0.5)
    net.theta[:] = 1
    net.layers[1].W[...] = subnormal
    net.layers[1].b[...] = 0
    X, y, four = np.ones((20, 5), dtype), np.zeros((20, 3), dtype), np.full((20, 3), 4, dtype)
    assert (net.predict(X[:1]) == 0).all()  # the buffers of small calls
    assert (net.predict(X) == 0).all()  # blocks of rows
    assert (net.forward(X) == 0).all()
    net.backward_from(four)
    assert (net.layers[0].delta == 0).all() and (net.input_gradient() == 0).all()
    assert (net.jacobian(X) == 0).all()
    assert (net.vjp(X, four) == 0).all()
    assert (net.jvp(X, np.full_like(X, 4)) == 0).all()
    assert all((part == 0).all() for part in net.relevance(X, y)[1:])
    net.theta[:] = 0
    net.layers[0].W[...] = np.sqrt(subnormal)  # whose squares are subnormal
    assert net.loss(X, y) == 0
    net.forward(X)
    assert net.backward(y) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_formulas(dtype):
    """a = α tanh z + γ z with subnormal α and γ; J = Σ a² with outputs whose squares are."""
    tiny, subnormal = small(dtype)
    net = core_net((1, 4), [MIXED], loss=squared_error_programs(), dtype=np.dtype(dtype).name)
    theta = np.ones(net.n_params, dtype)
    theta[-2:] = subnormal
    X, y, out = np.full((20, 1), 4, dtype), np.zeros((20, 4), dtype), np.ones((20, 4), dtype)
    for n in (1, 20):
        net.predict(theta, X[:n], out[:n])
        assert (out[:n] == 0).all()
    p = _core.Pass(net, 20)
    p.forward(theta, X)
    g = np.full((20, 4), 4, dtype)
    _core.pull_back(p, 1, g)
    assert (g == 0).all()
    theta[-2:] = np.sqrt(tiny) / dtype(16), 0
    assert net.cost(theta, X, y, None) == 0


def test_any_number_of_threads_flushes():
    """One thread and several give the same bits, where most moments become 0."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 300)).astype(np.float32)
    X[:, 20:] *= np.float32(1e-22)
    y = rng.normal(size=(256, 10)).astype(np.float32)
    found = []
    for n_threads in (1, 2, 3):
        net = fastbp.Network((300, 400, 10), activation="tanh", seed=0)
        adam = Adam(1e-3)
        net.fit(X, y, epochs=3, batch_size=128, optimizer=adam, n_threads=n_threads)
        assert not any(is_subnormal(m).any() for m in adam.moments), f"{n_threads} threads"
        found.append([net.theta, *adam.moments])
    for n_threads, others in zip((2, 3), found[1:], strict=True):
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other, f"{n_threads} threads")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Adam, RMSprop])
def test_a_subnormal_eps_counts_as_the_smallest_normal(kind, dtype):
    """If it were flushed to 0, moments of 0 would give 0/0."""
    net, X, y = dead_network(dtype)
    before = net.layers[0].W[1:].copy()
    optimizer = kind(1e-3, eps=float(small(dtype)[1]))
    net.fit(X, y, epochs=3, batch_size=4, optimizer=optimizer)
    np.testing.assert_array_equal(net.layers[0].W[1:], before)
    assert np.isfinite(net.theta).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_subnormal_eps_of_a_norm_counts_as_the_smallest_normal(dtype):
    norm = fastbp.Norm("layer", float(small(dtype)[1]))
    net = fastbp.Network.from_layers(3, [fastbp.Dense(4, norm=norm), fastbp.Dense(1)], dtype=dtype)
    net.theta[:] = 0
    assert np.isfinite(net.predict(np.ones((2, 3)))).all()


def test_sample_weights_that_are_all_subnormal_are_refused():
    net, X, y = dead_network(np.float32)
    weights = np.full(8, small(np.float32)[1])
    with pytest.raises(ValueError, match="sample_weight must have a positive"):
        net.loss(X, y, weights)


# ---- the caller's modes -------------------------------------------------------------------------


def calls():
    """{name: call}, one call of every kind that computes."""
    net, X, y = dead_network(np.float32)
    wide = fastbp.Network((64, 600, 10), seed=0)
    data = np.ones((300, 64), np.float32), np.zeros((300, 10), np.float32)
    adam, other = Adam(), Adam()
    return {
        "fit": lambda: net.fit(X, y, epochs=1, optimizer=adam),
        "fit on threads": lambda: wide.fit(*data, epochs=1, batch_size=300, n_threads=3),
        "predict on threads": lambda: wide.predict(data[0]),
        "train_batch": lambda: net.train_batch(X, y, other),
        "predict": lambda: (net.predict(X[:1]), net.predict(X)),
        "loss": lambda: net.loss(X, y),
        "passes": lambda: (net.value_and_grad(X, y), net.input_gradient(), net.step(other)),
        "derivatives": lambda: (net.jacobian(X), net.hvp(X, y, np.ones_like(net.theta))),
        "explain": lambda: net.explain(X, y, batch_size=4, seconds=0.01),
        "vmath": lambda: _core.vmath("exp", np.zeros(3, np.float32)),
        "gemm": lambda: _core.gemm("nn", *(np.ones((3, 3), np.float32) for _ in range(3))),
        "limits": lambda: (
            _core.memory_rate(seconds=1e-3, bytes=1 << 16),
            _core.fma_peak(0, 1e-3),
            _core.bf16_peak(1, 1e-3),
        ),
    }


@pytest.mark.parametrize("name", list(calls()))
def test_the_callers_arithmetic_does_not_change(name):
    call = calls()[name]
    seen = []

    def look():
        before = keeps_subnormals()
        call()
        seen.extend((before, keeps_subnormals()))

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [True] * 4


@needs_fenv
@needs_glibc
@pytest.mark.parametrize("bits", [0, FLUSH, ROUND_UP, ROUND_UP | FLUSH])
@pytest.mark.parametrize("name", list(calls()))
def test_the_callers_modes_do_not_change(name, bits):
    """Not even for a caller who flushes subnormals."""
    call, modes = calls()[name], Modes()
    at_first = modes.read()
    seen = []
    try:
        modes.write(with_bits(at_first, bits))
        before = modes.read()[WORD]
        call()
        seen = [before, modes.read()[WORD]]
    finally:
        modes.write(at_first)
    control = ~0x3F if IS_X86 else -1  # MXCSR without the status flags, which Python itself sets
    words = [int.from_bytes(word, "little") & control for word in seen]
    assert words[0] == words[1] and words[0] & bits == bits


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_callers_modes_are_restored_after_an_error(n_threads):
    net = fastbp.Network((64, 600, 10), seed=0)
    X, y = np.ones((300, 64), np.float32), np.zeros((300, 10), np.float32)
    options = {"batch_size": 300, "n_threads": n_threads}
    with pytest.raises(fastbp.DivergenceError):
        net.fit(X, y, epochs=5, optimizer=SGD(1e30), **options)
    assert keeps_subnormals()
    with pytest.raises(ValueError):
        net.predict(X[:, 1:])
    assert keeps_subnormals()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_callers_modes_are_restored_after_an_interrupt(keyboard, n_threads):
    net = fastbp.Network((64, 600, 10), seed=0)
    X, y = np.ones((300, 64), np.float32), np.zeros((300, 10), np.float32)

    def interrupt(epoch, logs):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=5, batch_size=300, n_threads=n_threads, callbacks=[interrupt])
    assert keeps_subnormals()


class Raised(Exception):
    pass


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("fail", [False, True])
def test_a_custom_loss_runs_in_the_callers_modes(n_threads, fail):
    """On the thread of the caller and on those of the pool, and if it calls the engine itself."""
    seen, shared, other = [], False, threading.Event()
    inner, rows, _ = dead_network(np.float32)

    def loss(a, y):
        if threading.current_thread() is not threading.main_thread():
            other.set()
        elif shared:
            assert other.wait(60)  # until the pool's thread has taken a block
        seen.append(keeps_subnormals())
        inner.predict(rows)
        seen.append(keeps_subnormals())
        if fail:
            raise Raised
        return ((a - y) ** 2).sum(axis=1) / 2, a - y

    net = fastbp.Network((64, 600, 10), loss=loss, seed=0)
    X, y = np.ones((3000, 64), np.float32), np.zeros((3000, 10), np.float32)
    calls = (
        lambda: net.fit(X, y, epochs=1, batch_size=1500, n_threads=n_threads),
        lambda: net.train_batch(X, y, SGD()),
        lambda: net.loss(X[:3], y[:3]),
        lambda: net.value_and_grad(X, y),
        lambda: net.relevance(X, y),
    )
    before = fastbp.get_num_threads()
    fastbp.set_num_threads(n_threads)
    try:
        for call in calls:
            if fail:
                with pytest.raises(Raised):
                    call()
            else:
                call()
            assert keeps_subnormals()
        shared = n_threads > 1 and not fail
        if not fail:
            net.loss(X, y)
            assert other.is_set() == shared
    finally:
        fastbp.set_num_threads(before)
    assert len(seen) >= 2 * len(calls) and all(seen)


@needs_fenv
@needs_glibc
def test_a_custom_loss_runs_in_the_modes_of_a_caller_who_flushes():
    modes, seen = Modes(), []

    def loss(a, y):
        seen.append(keeps_subnormals())
        return ((a - y) ** 2).sum(axis=1) / 2, a - y

    net = fastbp.Network((4, 3), loss=loss, seed=0)
    at_first = modes.read()
    try:
        modes.write(with_bits(at_first, FLUSH))
        net.train_batch(np.ones((2, 4)), np.zeros((2, 3)), SGD())
        net.loss(np.ones((2, 4)), np.zeros((2, 3)))
    finally:
        modes.write(at_first)
    assert seen == [False, False]
