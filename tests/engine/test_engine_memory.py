"""Memory: the engine accesses only its operands, and a step allocates nothing.

Both run in a child process, because one may crash and the other replaces the allocator.
"""

import ctypes
import mmap
import struct
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS, in_child, targets_for
from program_cases import STACKS, core_net, logistic_programs, samples, theta_for

import fastbp
from fastbp import Categories, Dense, Periodic, _core

ARITHMETIC = [(dtype, "highest") for dtype in DTYPES]
ARITHMETIC += [
    pytest.param("float32", name, marks=pytest.mark.products) for name in ("high", "medium")
]
LINUX = sys.platform == "linux" and sys.maxsize > 2**32
needs_mprotect = pytest.mark.skipif(
    sys.platform == "win32", reason="guard pages need mprotect, which Windows does not have"
)
needs_elf = pytest.mark.skipif(
    not LINUX, reason="calls of malloc are counted with 64-bit ELF imports and /proc/self/maps"
)


# ---- guard pages --------------------------------------------------------------------------


class Guarded:
    """Copies of arrays that end or begin at a page without read access."""

    def __init__(self, at_end):
        self._at_end, self._maps = at_end, []
        self._protect = ctypes.CDLL(None).mprotect
        self._protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def __call__(self, array):
        page = mmap.PAGESIZE
        size = -(-array.nbytes // page) * page
        room = mmap.mmap(-1, size + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(room))
        for guard in (start, start + page + size):
            assert self._protect(guard, page, 0) == 0
        self._maps.append(room)
        offset = page + (size - array.nbytes if self._at_end else 0)
        copy = np.frombuffer(room, array.dtype, array.size, offset).reshape(array.shape)
        copy[...] = array
        return copy


def multiply_beside_guards(dtype, form):
    panels, kernel = form == "panels", form.replace("panels", "nn")
    sizes = product((1, 5, 15, 57), (1, 9, 16, 31, 33, 66), (1, 9, 17, 385))
    for (m, n, k), at_end in product(sizes, (True, False)):
        print(f"{m=} {n=} {k=} {at_end=}", flush=True)  # the last line names the case of a crash
        guarded = Guarded(at_end)
        A, B = np.ones((m, k), dtype), np.ones((k, n), dtype)
        c, aux, bias = (guarded(np.ones(s, dtype)) for s in ((m, n), (m, n), n))
        a = guarded(A.T if form == "tn" else A)
        b = guarded(B.T if form == "nt" else B)
        _core.gemm(kernel, a, b, c, panels=panels)
        assert (c == k).all()
        if form != "tn":
            _core.gemm(kernel, a, b, c, aux=aux, activation="sigmoid", panels=panels)
        if kernel == "nn":
            _core.gemm(kernel, a, b, c, bias=bias, z=aux, activation="tanh", panels=panels)


def with_options(widths, *, output="identity", **more):
    """A network whose hidden layers use every option of a layer."""
    n_in, *hidden, n_out = widths
    options = {"norm": "layer", "dropout": 0.4, "max_norm": 1.0, "non_negative": True}
    layers = [Dense(n, "tanh", bias=False, **options) for n in hidden]
    layers += [Dense(n, "relu", residual=True, **options) for n in hidden[-1:]]
    layers += [Dense(n_out, output, max_norm=2.0)]
    return fastbp.Network.from_layers(n_in, layers, input_dropout=0.2, **more)


def with_batch_norm(widths, *, output="identity", **more):
    """A network whose hidden layers are normed by the batch."""
    n_in, *hidden, n_out = widths
    layers = [Dense(n, "tanh", norm="batch", dropout=0.4, scale=True) for n in hidden]
    layers += [Dense(n, "relu", residual=True, norm="batch") for n in hidden[-1:]]
    return fastbp.Network.from_layers(n_in, [*layers, Dense(n_out, output)], **more)


def with_embeddings(widths, *, output="identity", **more):
    """A network that embeds its inputs: the last one or two are categories."""
    n_in, *hidden, n_out = widths
    first = {"categories": Categories([300], 20), "scale": True}
    if n_in > 2:
        first = {"categories": Categories([5, 300], [7, 20]), "embedding": Periodic(1, 3)}
    layers = [Dense(n, "tanh", **(first if i == 0 else {})) for i, n in enumerate(hidden)]
    layers += [Dense(n_out, output, **({} if hidden else first))]
    return fastbp.Network.from_layers(n_in, layers, **more)


def inputs_for(rng, net, n):
    """Random inputs of a network, and codes of its categories."""
    X = rng.normal(size=(n, net.widths[0]))
    if (categories := net.dense[0].categories) is not None:
        m = len(categories.levels)
        X[:, -m:] = rng.integers(-1, categories.levels, size=(n, m))
    return X.astype(net.dtype)


def train_beside_guards(dtype, precision, output, loss, kind):
    rng = np.random.default_rng(3)
    shapes = product(((1, 1), (3, 5, 2), (17, 33, 9), (15, 16, 7, 31)), (1, 8, 9, 17))
    for (widths, n), at_end in product(shapes, (True, False)):
        if kind is with_batch_norm and n == 1:
            continue
        print(f"{widths=} {n=} {at_end=}", flush=True)
        guarded = Guarded(at_end)
        options = {"dtype": dtype, "matmul_precision": precision, "seed": 0}
        net = kind(widths, output=output, loss=loss, l1=0.1, **options)
        net._theta, net._grad = guarded(net._theta), guarded(net._grad)
        X = guarded(inputs_for(rng, net, n))
        y = guarded(targets_for(rng, loss, n, widths[-1]).astype(dtype))
        s = guarded(np.ones(n, dtype))
        net.forward(X, training=True)
        net.backward(y, s)
        if not net.dense[0].embeds:
            net.input_gradient()
        net.pull_back(1, guarded(np.ones((n, widths[1]), dtype)))
        net.forward(X)
        net.backward(y, s)
        net.backward_from(y, sample_weight=s)
        if not net.dense[0].embeds:
            net.input_gradient()
        net.predict(X)
        net.loss(X, y, s)
        if loss == "cross_entropy":
            y = guarded(rng.integers(widths[-1], size=n).astype(np.int32))
        for make in OPTIMIZERS.values():
            optimizer = make()
            optimizer.bind(net.theta.size, net.dtype)
            optimizer.moments = [guarded(moment) for moment in optimizer.moments]
            net.value_and_grad(X, y, training=True)
            net.step(optimizer)
            net.fit(X, y, sample_weight=s, epochs=1, batch_size=9, optimizer=optimizer)


FORMULA_LAYERS = ({"norm": 1, "eps": 0.1, "dropout": 0.3}, {"norm": 2, "eps": 0.1}, {})


def run_formulas_beside_guards(dtype, layers):
    rng, activations = np.random.default_rng(3), STACKS["output"]
    shapes = product(((1, 1, 1, 1), (3, 5, 2, 2), (17, 33, 9, 15), (15, 16, 7, 31)), (1, 8, 9, 17))
    for (widths, n), at_end, labels in product(shapes, (True, False), (True, False)):
        print(f"{widths=} {n=} {at_end=} {labels=}", flush=True)
        guarded = Guarded(at_end)
        net = core_net(widths, activations, loss=logistic_programs(), dtype=dtype, layers=layers)
        theta = guarded(theta_for(rng, widths, activations, dtype, layers)[0])
        X, y, s = (guarded(each) for each in samples(rng, n, widths, dtype))
        if labels:
            y = guarded(rng.integers(widths[-1], size=n).astype(np.int32))
        grad, Hv = guarded(np.ones_like(theta)), guarded(np.ones_like(theta))
        out, slope = guarded(np.ones((n, widths[-1]), dtype)), guarded(np.ones_like(X))
        net.predict(theta, X, out)
        net.cost(theta, X, y, s)
        p = _core.Pass(net, n)
        p.forward(theta, X)
        p.backward(theta, y, s, grad)
        _core.sample_gradients(p, guarded(np.ones((n, theta.size), dtype)))
        _core.hvp(p, theta, grad, Hv)
        _core.jvp(p, theta, X, None, out)
        _core.vjp(p, theta, out, slope)
        optimizer = OPTIMIZERS["adam"]()
        optimizer.bind(theta.size, theta.dtype)
        optimizer.moments = [guarded(moment) for moment in optimizer.moments]
        _core.Fit(net, theta, X, y, s, optimizer, 9, True, 0).run(0.0)


@needs_mprotect
@pytest.mark.parametrize("form", ["nn", "panels", "tn", "nt"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_stay_inside_their_operands(dtype, form):
    in_child(multiply_beside_guards, dtype, form)


@needs_mprotect
@pytest.mark.parametrize("kind", [fastbp.Network, with_options, with_batch_norm, with_embeddings])
@pytest.mark.parametrize(("dtype", "precision"), ARITHMETIC)
@pytest.mark.parametrize(
    ("output", "loss"),
    [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("tanh", "mse")],
)
def test_passes_and_training_stay_inside_their_arrays(dtype, precision, output, loss, kind):
    in_child(train_beside_guards, dtype, precision, output, loss, kind)


@needs_mprotect
@pytest.mark.parametrize("layers", [(), FORMULA_LAYERS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_formulas_stay_inside_their_arrays(dtype, layers):
    in_child(run_formulas_beside_guards, dtype, layers)


# ---- allocations --------------------------------------------------------------------------

ALLOCATOR = ("malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "mmap")
HOOKS = []  # kept alive as long as the library may call them


def import_slots(path):
    """{name: [offset, …]}: where a 64-bit ELF file stores the addresses of its imports."""
    data = path.read_bytes()
    start, size, count = struct.unpack_from("<40xQ10xHH", data)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    slots = {}
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        if kind != 4:  # SHT_RELA
            continue
        symbols, strings = sections[link], sections[sections[link][6]]
        for where, info, _ in struct.iter_unpack("<QQq", data[offset : offset + length]):
            (name,) = struct.unpack_from("<I", data, symbols[4] + 24 * (info >> 32))
            begin = strings[4] + name
            slots.setdefault(data[begin : data.index(0, begin)].decode(), []).append(where)
    return slots


def count_allocator_calls(path):
    """Count every call of the allocator by the library; returns the list of calls."""
    calls, libc = [], ctypes.CDLL(None)
    prototype = ctypes.CFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 6)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    maps = Path("/proc/self/maps").read_text().splitlines()
    base = min(int(line.split("-")[0], 16) for line in maps if line.endswith(str(path)))

    def counter(name):
        real = prototype((name, libc))

        def call(*arguments):
            calls.append(name)
            return real(*arguments)

        return prototype(call)

    for name, offsets in import_slots(path).items():
        for offset in offsets if name in ALLOCATOR else ():
            hook, slot = counter(name), base + offset
            HOOKS.append(hook)
            assert libc.mprotect(slot & -mmap.PAGESIZE, mmap.PAGESIZE, 3) == 0
            ctypes.c_void_p.from_address(slot).value = ctypes.cast(hook, ctypes.c_void_p).value
    return calls


def train_and_count(dtype, precision, kind, batch_size):
    calls = count_allocator_calls(Path(_core.__file__).resolve())
    rng = np.random.default_rng(3)
    for name, weighted in product(OPTIMIZERS, (False, True)):
        net = kind((7, 40, 3), dtype=dtype, matmul_precision=precision, l2=0.1, seed=0)
        X, y = inputs_for(rng, net, 50), rng.normal(size=(50, 3)).astype(dtype)
        s = rng.uniform(size=50).astype(dtype) if weighted else None
        print(f"{name=} {weighted=}", flush=True)
        count_steps(calls, net._backend.net, net.theta, (X, y, s), OPTIMIZERS[name](), batch_size)


def count_steps(calls, net, theta, data, optimizer, batch_size):
    optimizer.bind(theta.size, theta.dtype)
    calls.clear()
    fit = _core.Fit(net, theta, *data, optimizer, batch_size, True, 0)
    assert calls, "the counter has not seen the buffers of a session"
    fit.set_clocks(True)
    calls.clear()
    for epoch in range(3):
        fit.set_clocks(epoch == 2)
        while not fit.run(0.0)[1]:
            pass
    fit.run(1.0)
    assert optimizer.t == 4 * -(-50 // batch_size)
    assert calls == []


def pass_and_count(dtype, precision, batch_size):
    calls = count_allocator_calls(Path(_core.__file__).resolve())
    net = with_options((7, 40, 3), dtype=dtype, matmul_precision=precision, seed=0)
    rng, n = np.random.default_rng(3), batch_size
    X, y = rng.normal(size=(n, 7)).astype(dtype), rng.normal(size=(n, 3)).astype(dtype)
    s, grad, slopes = rng.uniform(size=n).astype(dtype), np.empty_like(net.theta), np.empty_like(X)
    p = _core.Pass(net._backend.net, n)

    def run(masks):
        p.forward(net.theta, X, masks)
        p.backward(net.theta, y, s, grad)
        p.input_gradient(net.theta, slopes)

    run(None)
    calls.clear()
    run((0, 0))
    assert calls, "the counter has not seen the buffers of dropout"
    calls.clear()
    for masks in ((0, 1), None, (0, 2), None):
        run(masks)
    assert calls == []


def train_formulas_and_count(dtype, layers, batch_size):
    calls = count_allocator_calls(Path(_core.__file__).resolve())
    rng, activations, widths = np.random.default_rng(3), STACKS["output"], (7, 40, 33, 3)
    for name, programs in product(OPTIMIZERS, (False, True)):
        print(f"{name=} {programs=}", flush=True)
        loss = logistic_programs() if programs else "squared_error"
        net = core_net(widths, activations, loss=loss, dtype=dtype, layers=layers)
        theta, _ = theta_for(rng, widths, activations, dtype, layers)
        data = samples(rng, 50, widths, dtype)
        count_steps(calls, net, theta, data, OPTIMIZERS[name](), batch_size)


@needs_elf
@pytest.mark.parametrize("batch_size", [8, 13])  # few rows, and many
@pytest.mark.parametrize("kind", [fastbp.Network, with_options, with_batch_norm, with_embeddings])
@pytest.mark.parametrize(("dtype", "precision"), ARITHMETIC)
def test_a_step_allocates_nothing(dtype, precision, kind, batch_size):
    in_child(train_and_count, dtype, precision, kind, batch_size)


@needs_elf
@pytest.mark.parametrize("batch_size", [8, 13])
@pytest.mark.parametrize(("dtype", "precision"), ARITHMETIC)
def test_a_training_pass_allocates_only_at_first(dtype, precision, batch_size):
    in_child(pass_and_count, dtype, precision, batch_size)


@needs_elf
@pytest.mark.parametrize("batch_size", [8, 13])
@pytest.mark.parametrize("layers", [(), FORMULA_LAYERS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_of_formulas_allocates_nothing(dtype, layers, batch_size):
    in_child(train_formulas_and_count, dtype, layers, batch_size)


# ---- too little memory --------------------------------------------------------------------


def run_out_of_memory():
    import resource

    fastbp.set_num_threads(1)
    net = fastbp.Network.from_layers(8, [Dense(3000, "tanh", dropout=0.5), Dense(1)], seed=0)
    X, y = np.ones((2000, 8), np.float32), np.ones((2000, 1), np.float32)  # 24 MB per buffer
    net.forward(X)
    net.backward(y)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**22, hard))
    with pytest.raises(MemoryError):
        net.forward(X, training=True)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    for call in (lambda: net.backward(y), lambda: net.pull_back(1, np.ones((2000, 3000)))):
        with pytest.raises(RuntimeError, match="call forward"):
            call()
    for call in (net.input_gradient, lambda: net.step("sgd")):
        with pytest.raises(RuntimeError, match="call (forward|backward)"):
            call()
    assert net.dropout_step == 0
    other = net.copy()
    for each in (net, other):
        each.forward(X, training=True)
        each.backward(y)
    np.testing.assert_array_equal(net.grad, other.grad)


@needs_elf
def test_a_pass_without_memory_leaves_none_behind():
    in_child(run_out_of_memory)


@pytest.mark.parametrize("fails", ["asarray", "ndim"])
def test_a_pass_without_memory_for_its_arrays_leaves_none_behind(fails, monkeypatch):
    """NumPy raises MemoryError, or returns the buffer as a scalar of dtype object."""

    def no_memory(buffer):
        if fails == "asarray":
            raise MemoryError
        return np.array(None)

    net, X, y = fastbp.Network((3, 4, 1), seed=0), np.ones((5, 3)), np.ones((5, 1))
    with monkeypatch.context() as patch:
        patch.setattr("fastbp._network.engine.np.asarray", no_memory)
        with pytest.raises(MemoryError):
            net.forward(X.astype(np.float32))
    with pytest.raises(RuntimeError, match="call forward"):
        net.backward(y)
    other = net.copy()
    np.testing.assert_array_equal(net.forward(X), other.forward(X))
    assert net.backward(y) == other.backward(y)
