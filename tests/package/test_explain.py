"""`Network.explain` and `fastbp explain`: their reports, without any assertion about speed."""

import copy
import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastbp
from fastbp import _core, gates
from fastbp._cli.main import main
from fastbp._explain import explanation as explaining
from fastbp._explain import measure as measuring
from fastbp._explain.explanation import PRODUCTS
from fastbp._precision import NAMES
from fastbp._types import SparseRows
from fastbp.errors import DivergenceError
from fastbp.optim import SGD, Adam

WIDTHS, BATCH = (5, 9, 7, 3), 8
SECONDS = 0.002
EPS = np.finfo(float).eps


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(measuring, "_LIMIT_SECONDS", 0.001)


def network(widths=WIDTHS, **options):
    options = {"output": "softmax", "loss": "cross_entropy", "seed": 3} | options
    return fastbp.Network(widths, **options)


def data(net, n=27):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, net.widths[0])).astype(net.dtype)
    return X, rng.integers(net.widths[-1], size=n)


def explained(net=None, n=27, **options):
    net = net or network()
    return net.explain(*data(net, n), **{"batch_size": BATCH, "seconds": SECONDS} | options)


def bf16_rows(precision):
    return _core.bf16_rows(_core.isa(), NAMES.index(precision))


def places(found):
    return [(p.layer, p.phase) for p in found.phases]


def kernels(found, phase):
    return [p.kernel for p in found.phases if p.phase == phase]


# ---- figures ------------------------------------------------------------------------------


def test_layers_and_phases():
    found = explained(batch_size=9)
    assert places(found) == [
        *[(1, "forward"), (1, "gradient"), (1, "update")],
        *[(2, "forward"), (2, "delta"), (2, "gradient"), (2, "update")],
        *[(3, "forward"), (3, "loss"), (3, "delta"), (3, "gradient"), (3, "update")],
        *[(None, "waiting"), (None, "other")],
    ]
    assert kernels(found, "forward") == ["gemm_nn"] * 3
    assert kernels(found, "gradient") == ["gemm_tn"] * 3
    assert found.widths == WIDTHS and found.activations == ("relu", "relu", "softmax")
    assert (found.loss, found.dtype, found.isa) == ("cross_entropy", "float32", fastbp.isa())
    assert (found.batch_size, found.optimizer) == (9, repr(Adam()))
    assert found.steps >= 1 and found.weight_tiles >= 3 and found.row_blocks >= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_phases_add_up_to_the_step(dtype, n_threads):
    found = explained(network((30, 200, 150, 3), dtype=dtype), 300, batch_size=100,
                      n_threads=n_threads)  # fmt: skip
    shares = [p.share for p in found.phases]
    assert min(shares) >= 0
    # each term is rounded once, and their sum n times
    assert abs(sum(shares) - 1) <= 2 * len(shares) * EPS
    assert abs(sum(p.us for p in found.phases) / found.step_us - 1) <= 4 * len(shares) * EPS
    totals = [found.total(phase) for phase in {p.phase for p in found.phases}]
    assert abs(sum(totals) - 1) <= 2 * len(shares) * EPS
    assert all(p.us > 0 for p in found.phases if p.phase in PRODUCTS)


@pytest.mark.parametrize("batch", [8, 9])
def test_rates_follow_from_operations_and_bytes(batch):
    found = explained(network(l2=0.1), batch_size=batch, optimizer=SGD(momentum=0.9))
    size, copied = 4, batch > 8
    from_rows = {p.layer for p in found.phases if p.kernel == "update_outer"}
    for p in found.phases[:-2]:
        n_in, n_out = WIDTHS[p.layer - 1 : p.layer + 1]
        rows, outer = batch * (n_in + n_out), p.layer in from_rows
        product = p.phase in PRODUCTS or (outer and p.phase == "update")
        operations = 2 * n_in * n_out * batch if product else None
        n_bytes = (
            size
            * {
                "forward": n_in * n_out + n_out + rows,
                "loss": n_in * n_out + (3 * batch * n_out if p.layer == 3 else 0),
                "delta": n_in * n_out + rows + batch * n_in,
                "gradient": rows,
                "update": 4 * (n_in + 1) * n_out
                + copied * n_in * n_out * (p.layer > 1)
                + outer * rows,
            }[p.phase]
        )
        # GFLOP/s times us, and GB/s times us, are thousands; at most 8 roundings
        case = (p.layer, p.phase)
        assert p.gbytes * p.us * 1e3 == pytest.approx(n_bytes, rel=8 * EPS), case
        fractions = {"memory": p.gbytes / found.memory_rate, "fma": 0.0}
        assert (p.gflops is None) == (operations is None), case
        if operations is not None:
            assert p.gflops * p.us * 1e3 == pytest.approx(operations, rel=8 * EPS), case
            fractions["fma"] = p.gflops / (found.fma_peak * found.threads.at_once)
        assert p.of_limit == pytest.approx(max(fractions.values()), rel=16 * EPS), case
        assert p.limit == max(fractions, key=fractions.get), case
    whole = sum(2 * a * b for a, b in pairwise(WIDTHS)) * batch * 3
    whole -= 2 * WIDTHS[0] * WIDTHS[1] * batch  # the first layer computes no δ of its inputs
    assert found.gflops * found.plain_step_us * 1e3 == pytest.approx(whole, rel=16 * EPS)
    assert found.samples_per_second * found.plain_step_us == pytest.approx(batch * 1e6, rel=8 * EPS)


# Products, the precision of the network, and the planes of their factors in bfloat16
KINDS = [("f32", "highest", None), ("f32 of rounded factors", "high", None),
         ("amx", "high", 2), ("amx", "medium", 1)]  # fmt: skip


@pytest.mark.parametrize(("products", "precision", "planes"), KINDS)
@pytest.mark.parametrize("sparse", [False, True])
def test_products_are_compared_with_the_peak_of_what_makes_them(
    monkeypatch, products, precision, planes, sparse
):
    """The peaks are so low that no phase with a product is limited by memory."""

    def session(*arguments):
        made = begin(*arguments)
        report = {"products": products}
        return SimpleNamespace(
            run=made.run, set_clocks=made.set_clocks, report=lambda: made.report() | report
        )

    peaks = {None: 3e-6, 1: 6e-6, 2: 2e-6}
    monkeypatch.setattr(_core, "isa", lambda: "amx")
    monkeypatch.setattr(_core, "fma_peak", lambda f64, seconds: peaks[None])
    monkeypatch.setattr(_core, "bf16_peak", lambda planes, seconds: peaks[planes])
    net = network(matmul_precision=precision)
    begin = net._timed_session
    monkeypatch.setattr(net, "_timed_session", session)
    X, y = data(net)
    if sparse:
        indptr = np.arange(len(X) + 1) * net.widths[0]
        X = SparseRows(X.ravel(), np.tile(np.arange(5, dtype=np.int32), len(X)), indptr, 5)
    found = net.explain(X, y, batch_size=9, seconds=SECONDS)
    assert found.products == products and found.fma_peak == peaks[None]
    assert found.bf16_peak == (peaks[planes] if planes else None)
    least = 0.0
    for p in found.phases:
        if p.gflops is None:
            assert p.limit in ("memory", None), p
            continue
        by_fma = planes is None or (sparse and p.layer == 1)
        assert p.limit == ("fma" if by_fma else "bf16"), p
        assert (p.kernel == "product in bfloat16") != by_fma, p
        peak = peaks[None if by_fma else planes] * found.threads.at_once
        assert p.of_limit == pytest.approx(p.gflops / peak, rel=16 * EPS), p
        least += p.gflops * p.us / peak
    share = least / found.plain_step_us
    assert found.of_peak == pytest.approx(share, rel=(16 + len(found.phases)) * EPS)
    text = str(found)
    assert ("of the bfloat16 peak" in text) == (" in bfloat16" in text) == bool(planes)
    assert ("of the FMA peak" in text) == (planes is None)


def test_copies_of_W_depend_on_the_batch_and_the_widths():
    few, many = explained(batch_size=8), explained(batch_size=9)
    assert kernels(few, "delta") == ["gemm_nt"] * 2
    assert few.copies.startswith("none: a batch of at most 8 rows")
    assert kernels(many, "delta") == ["gemm_nn, transposed"] * 2
    assert many.copies.startswith("Wᵀ of layers 2 to 3: a batch of more than 8 rows")
    rows = explained(network((5, 16, 32)), batch_size=8)  # whole vectors of outputs on every ISA
    assert kernels(rows, "update") == ["update_outer"] * 2 and kernels(rows, "gradient") == []
    assert kernels(many, "update") == ["update", *["update, 1 copy"] * 2]
    alone = explained(network((5, 3)), batch_size=9)
    assert kernels(alone, "delta") == [] and alone.copies.startswith("none: a single layer")
    wide = explained(network((5, 1024, 3)), batch_size=9)
    assert kernels(wide, "forward") == ["gemm_nn, panels", "gemm_nn"]
    assert kernels(wide, "update") == ["update, 1 copy"] * 2
    assert wide.copies.startswith("Wᵀ of layer 2; W in panels of layer 1: ")


@pytest.mark.products
@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("batch", [1, 8, 9])
def test_copies_of_rounded_W_do_not_depend_on_the_batch(precision, batch):
    found = explained(network(matmul_precision=precision), batch_size=batch)
    if 0 < bf16_rows(precision) <= batch:
        assert kernels(found, "delta") == ["product in bfloat16"] * 2
        names, factors = "Wᵀ of layers 2 to 3; W of layers 1 to 3", "factors in bfloat16"
    else:
        assert kernels(found, "delta") == ["gemm_nn, transposed"] * 2
        names, factors = "Wᵀ of layers 2 to 3; W in panels of layers 1 to 3", "rounded factors"
    assert found.copies == f"{names}: products read {factors}"
    alone = explained(network((5, 3), matmul_precision=precision), batch_size=batch)
    assert alone.copies.endswith(f" of layer 1: products read {factors}")


@pytest.mark.products
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("batch", [1, 9])
def test_a_layer_of_sparse_rows_needs_no_copies(precision, batch):
    net = network((5, 3), matmul_precision=precision)
    X, y = data(net)
    indptr = np.arange(len(X) + 1) * 5
    X = SparseRows(X.ravel(), np.tile(np.arange(5, dtype=np.int32), len(X)), indptr, 5)
    found = net.explain(X, y, batch_size=batch, seconds=SECONDS)
    assert found.copies.startswith("none: ") and found.copies.endswith("sparse rows read W itself")


def test_penalties_are_a_phase_of_every_layer():
    assert kernels(explained(network(l1=0.1)), "loss") == ["penalty", "penalty", "loss_rows"]


@pytest.mark.parametrize("n", [1, 7, 8, 20])
def test_any_number_of_rows(n):
    found = explained(n=n, sample_weight=np.arange(n) >= n - 1)
    assert found.batch_size == min(n, BATCH)
    assert found.steps >= 1


def test_dense_targets():
    net = network(loss="squared_error", output="identity")
    X, _ = data(net)
    found = net.explain(X, np.ones((27, 3)), seconds=SECONDS)
    assert found.loss == "squared_error"


def test_memory_counts_the_buffers_of_the_session():
    small, large = explained(batch_size=2), explained(batch_size=20)
    assert 0 < small.arena_bytes < large.arena_bytes
    assert large.memory_bytes > large.arena_bytes
    # SGD has no moments, Adam two
    plain = explained(batch_size=20, optimizer="sgd")
    assert large.memory_bytes - plain.memory_bytes == 2 * network().theta.nbytes


@pytest.mark.products
def test_memory_counts_what_the_input_needs():
    X, y = np.abs(data(network())[0]), data(network())[1]
    sparse = SparseRows(X.ravel(), np.tile(np.arange(5, dtype=np.int32), 27), np.arange(28) * 5, 5)

    def memory(X, precision="highest"):
        net = network(matmul_precision=precision)
        return net.explain(X, y, batch_size=BATCH, seconds=SECONDS).arena_bytes

    batch = BATCH * X[0].nbytes
    assert memory(X.astype("uint8")) >= memory(X) + batch  # rows that are converted
    places = memory(sparse) - memory(X)  # of sparse rows
    assert places > 0
    assert memory(X, "high") >= memory(sparse, "high") - places + batch  # rounded rows


def test_memory_counts_the_scratch_of_a_loss_that_is_a_formula():
    """Its programs write there unchecked."""
    X, y = data(network())[0], np.ones((27, WIDTHS[-1]))
    losses = "squared_error", gates.loss(lambda a, y: gates.sum((a - y) ** 4))
    plain, formula = (
        network(output="identity", loss=loss).explain(X, y, batch_size=BATCH, seconds=SECONDS)
        for loss in losses
    )
    assert formula.arena_bytes > plain.arena_bytes


# ---- threads ------------------------------------------------------------------------------


def test_the_number_of_threads_and_the_reason():
    large = network((64, 256, 64, 10))
    one = explained(large, 256, batch_size=256, n_threads=1).threads
    assert (one.used, one.allowed, one.why) == (1, 1, "n_threads=1")
    two = explained(large, 256, batch_size=256, n_threads=2).threads
    assert (two.used, two.allowed) == (2, 2) and two.why.startswith("all that are allowed")
    assert two.work >= two.work_each * 2
    tiny = explained(n_threads=2).threads
    assert (tiny.used, tiny.allowed) == (1, 2) and "every thread has to get" in tiny.why
    assert tiny.work < tiny.work_each * 2
    more = explained(n=tiny.next_batch, n_threads=2, batch_size=tiny.next_batch).threads
    less = explained(n=tiny.next_batch, n_threads=2, batch_size=tiny.next_batch - 1).threads
    assert (more.used, less.used) == (2, 1)
    before = fastbp.get_num_threads()
    try:
        fastbp.set_num_threads(1)
        assert explained().threads.why == "this process is to use one"
    finally:
        fastbp.set_num_threads(before)


def test_a_busy_pool_is_mentioned():
    report = {"threads": 1, "threads_planned": 2, "threads_allowed": 4, "step_work": 1e9,
              "thread_work": 1e6, "next_rows": 1}  # fmt: skip
    assert "2 were wanted" in measuring._threads(report, asked=True).why


# ---- no changes ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [Adam(0.1), SGD(0.1, momentum=0.9)])
def test_explain_does_not_change_the_network_and_the_optimizer(optimizer):
    net, twin = network(), network()
    X, y = data(net)
    twin_optimizer = copy.deepcopy(optimizer)
    for each, rule in ((net, optimizer), (twin, twin_optimizer)):
        each.fit(X, y, epochs=2, batch_size=BATCH, optimizer=rule)
        each.forward(X)
        each.backward(y)
    net.explain(X, y, batch_size=9, optimizer=optimizer, seconds=SECONDS)
    assert repr(optimizer) == repr(twin_optimizer) and optimizer.t == twin_optimizer.t
    for one, two in (
        *[(net.theta, twin.theta), (net.grad, twin.grad)],
        *zip(optimizer.moments, twin_optimizer.moments, strict=True),
        *((getattr(a, name), getattr(b, name)) for name in ("z", "a", "delta")
          for a, b in zip(net.layers, twin.layers, strict=True)),
    ):  # fmt: skip
        assert one.tobytes() == two.tobytes()
    net.step(optimizer)
    twin.step(twin_optimizer)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("kept", [False, True])
def test_explain_measures_with_a_copy_of_the_moments(monkeypatch, kept):
    """With those of the optimiser object, or of the optimiser that partial_fit keeps."""
    net, seen = network(), []
    X, y = data(net)
    adam = Adam()
    if kept:
        net.partial_fit(X, y, optimizer="adam")
        adam = net._partial.optimizer
    else:
        net.fit(X, y, epochs=2, batch_size=BATCH, optimizer=adam)
    moments = [moment.copy() for moment in adam.moments]

    def begin(*arguments):
        used = next(each for each in arguments if isinstance(each, Adam))
        seen.append((used.t, [moment.copy() for moment in used.moments], used))
        return fit(*arguments)

    fit = _core.Fit
    monkeypatch.setattr(_core, "Fit", begin)
    net.explain(X, y, batch_size=9, optimizer="adam" if kept else adam, seconds=SECONDS)
    ((t, begun, used),) = seen
    assert t == adam.t > 0 and used is not adam
    for began, before, after in zip(begun, moments, adam.moments, strict=True):
        assert began.tobytes() == before.tobytes() == after.tobytes()


def test_clocks_do_not_change_the_bits():
    net = network((30, 200, 150, 3), l2=0.01)
    X, y = data(net, 300)
    y = y.astype(np.int32)
    found = []
    for clocks, n_threads in ((False, 1), (True, 1), (True, 2)):
        theta, optimizer = net.theta.copy(), Adam()
        optimizer.bind(theta.size, net.dtype)
        fit = _core.Fit(net._backend.net, theta, X, y, None, optimizer, 100, True, 0, n_threads)
        for epoch in range(4):
            fit.set_clocks(clocks and epoch % 2 == 0)
            while not fit.run(0.0)[1]:
                pass
        found.append(theta.tobytes())
        report = fit.report()
        case = (clocks, n_threads)
        assert report["clocked"]["steps"] == (6 if clocks else 0), case
        assert report["plain"]["steps"] == (6 if clocks else 0), case
        seconds = np.sum([layer["seconds"] for layer in report["layers"]])
        assert (seconds > 0) == clocks, case
    assert len(set(found)) == 1


def test_a_session_before_its_first_run():
    net = network()
    X, y = data(net)
    optimizer = SGD()
    fit = _core.Fit(
        net._backend.net, net.theta, X, y.astype(np.int32), None, optimizer, 8, False, 0
    )
    report = fit.report()
    assert report["threads"] == 0
    assert report["clocked"] == report["plain"] == {"steps": 0, "seconds": 0.0}
    nothing = [0.0] * len(measuring.PHASES)
    assert [layer["seconds"] for layer in report["layers"]] == [nothing] * len(WIDTHS)


# ---- bad input ----------------------------------------------------------------------------

BAD = {
    "columns": (lambda n, X, y: n.explain(X[:, 1:], y), ValueError, "X has 4 columns; the network"),
    "nan": (lambda n, X, y: n.explain(X * np.nan, y), ValueError, "X holds NaN or infinity"),
    "targets": (lambda n, X, y: n.explain(X, y[1:]), ValueError, "rows"),
    "weights": (lambda n, X, y: n.explain(X, y, sample_weight=-1 * y), ValueError, "weight"),
    "batch": (lambda n, X, y: n.explain(X, y, batch_size=0), ValueError, "batch_size must be"),
    "threads": (lambda n, X, y: n.explain(X, y, n_threads=0), ValueError, "n_threads must be at"),
    "seconds": (lambda n, X, y: n.explain(X, y, seconds=0), ValueError, "seconds must be"),
    "text": (lambda n, X, y: n.explain(X, y, seconds="1"), TypeError, "seconds must be"),
    "name": (lambda n, X, y: n.explain(X, y, optimizer="magic"), ValueError, "'magic'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    call, error, message = BAD[name]
    net = network()
    before = net.theta.tobytes()
    with pytest.raises(error, match=message):
        call(net, *data(net))
    assert net.theta.tobytes() == before


def test_batches_that_divide_pairs_are_refused():
    net = fastbp.Network((3, 1), loss="margin_ranking", seed=0)
    with pytest.raises(ValueError, match="batch_size must be even for margin_ranking"):
        net.explain(np.ones((20, 3)), None, batch_size=5)


def test_an_optimizer_of_another_network_is_refused():
    adam = Adam()
    adam.bind(5, np.dtype("float32"))
    with pytest.raises(ValueError, match="holds the state of 5 parameters"):
        explained(optimizer=adam)


def test_a_loss_that_is_not_finite_is_an_error():
    net = network()
    net.layers[0].W[0, 0] = np.nan
    with pytest.raises(DivergenceError, match="epoch 0, step 0"):
        explained(net)


# ---- the limits of the machine ------------------------------------------------------------


@pytest.mark.parametrize("f64", [False, True])
@pytest.mark.parametrize("n_threads", [0, 1, 2, 7])
def test_memory_rate(f64, n_threads):
    for n_bytes in (16, 100, 1 << 16):
        assert _core.memory_rate(f64, n_bytes, n_threads, 0.0) > 0, n_bytes


def test_pool_latency():
    assert _core.pool_latency(2, 3) > 0
    assert _core.pool_latency(0, 3) == _core.pool_latency(2, 0) == 0


def test_memory_rate_without_memory():
    assert _core.memory_rate(False, 0, 1, 0.0) == 0
    assert _core.memory_rate(False, 2**62, 1, 0.0) == 0


# ---- as text and as a dict ----------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    return explained(network((11, 30, 30, 30, 30, 7, 3), l2=0.1), 64, batch_size=16)


def test_the_dict_is_json(found):
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["widths"] == [11, 30, 30, 30, 30, 7, 3]
    assert plain["threads"]["used"] == found.threads.used
    assert plain["advice"] == list(found.advice) and len(plain["phases"]) == len(found.phases)


def test_the_table(found):
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("network  11-30×4-7-3 (relu×5, softmax; cross_entropy), float32")
    start = next(i for i, line in enumerate(lines) if line.startswith("layer"))
    body = lines[start + 1 : start + 1 + len(found.phases)]
    for line, p in zip(body, found.phases, strict=True):
        assert p.phase in line and f"{100 * p.share:.1f} %" in line, line
    assert [line.split()[0] for line in body if "->" in line] == list("123456")
    assert lines[start + 1 + len(body)].split()[0] == "step"
    assert 1 <= len(found.advice) <= 2 and found.advice[0].split()[0] in str(found)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4, 1e6])
def test_the_table_keeps_its_width(found, scale):
    phases = tuple(replace(p, us=p.us * scale / found.step_us * 100) for p in found.phases)
    text = str(replace(found, step_us=100 * scale, phases=phases, widths=(12345,) * 7))
    assert max(map(len, text.splitlines())) <= 100


def shares(found, **given):
    """The explanation with other shares of the named phases, in the rows of the first layer."""
    left = 1 - sum(given.values())
    phases = []
    for p in found.phases:
        share = given.pop(p.phase, 0.0) if p.layer in (1, None) else 0.0
        phases.append(replace(p, share=share, of_limit=None if p.limit is None else 0.95))
    phases[0] = replace(phases[0], share=phases[0].share + left)
    threads = replace(found.threads, used=2, allowed=2, cpus=2, work=1e9, work_each=1e6)
    best = _core.fastest_isa()
    return replace(found, phases=tuple(phases), threads=threads, isa=best, cpu_share=1.0)


def test_advice(found):
    good = shares(found)
    assert "nothing else stands out: fewer units" in good.advice[0]
    assert "float32, fewer" in replace(good, dtype="float64").advice[0]
    assert "The update takes 30 %" in shares(found, update=0.3).advice[0]
    assert "books take 15 %" in shares(found, other=0.15).advice[0]
    both = shares(found, waiting=0.25, update=0.3, other=0.15).advice
    assert len(both) == 2 and "The update" in both[0] and "wait for each other for 25 %" in both[1]
    few = replace(good.threads, used=1, allowed=2, work=4e5, next_batch=80)
    idle = replace(good, threads=few, batch_size=16)
    assert "a step worth 0.400 MFLOP is below the threshold of 2; batches of 80" in idle.advice[0]
    assert "Other programs had the CPUs for 40 %" in replace(good, cpu_share=0.6).advice[0]
    assert replace(shares(found, waiting=0.4), cpu_share=0.6).advice[0].startswith("The threads")
    crowd = replace(good, threads=replace(good.threads, used=3, allowed=3, cpus=2))
    assert crowd.advice[0] == "3 threads share 2 CPUs: n_threads=2 is faster."
    assert replace(crowd, phases=shares(found, waiting=0.4).phases).advice == crowd.advice
    slow = replace(good.phases[0], of_limit=0.5)
    text = replace(good, phases=(slow, *good.phases[1:])).advice[0]
    assert "Most is lost in layer 1, forward" in text and "at 50 % of its limit" in text
    lower = replace(good, isa="none")
    assert lower.advice[0].startswith("The kernels are those of none")


@pytest.mark.products
@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("batch", [8, 9])
def test_advice_on_products_of_rounded_factors_in_float32(precision, batch):
    net = network(matmul_precision=precision)
    rule = explaining._rounded_in_float32
    least, found = bf16_rows(precision), explained(net, batch_size=batch)
    if 0 < least <= batch:
        assert rule(found) is None
    else:
        share, text = rule(found)
        assert share == 1 and text.startswith(f"The products at {precision} are made in float32")
        way = f"or batches of {least} rows or more." if least else "use matmul_precision highest."
        assert text.endswith(way)
    assert rule(explained(batch_size=batch)) is None


# The ISAs avx512 and avx512_bf16 as on a machine that gains from the second
FASTER = [
    ("highest", 32, False),  # they have the same kernels
    ("high", 32, False),  # which avx512_bf16 multiplies in float32
    ("medium", 8, False),  # also in float32
    ("medium", 9, True),
]


@pytest.mark.parametrize(("precision", "batch", "faster"), FASTER)
def test_advice_on_a_faster_isa(monkeypatch, found, precision, batch, faster):
    rows = {("avx512_bf16", NAMES.index("medium")): 9}
    monkeypatch.setattr(explaining, "bf16_rows", lambda isa, code: rows.get((isa, code), 0))
    monkeypatch.setattr(explaining, "isa_base", lambda isa: isa.removesuffix("_bf16"))
    made = replace(found, matmul_precision=precision, batch_size=batch)
    for isa, best in (("avx512", "avx512_bf16"), ("avx512_bf16", "avx512")):
        monkeypatch.setattr(explaining, "fastest_isa", lambda best=best: best)
        text = f"The kernels are those of {isa}: this machine has {best}, which is faster."
        expected = (1.0, text) if faster else None
        assert explaining._lower_isa(replace(made, isa=isa)) == expected
        assert explaining._lower_isa(replace(made, isa=best)) is None
        assert explaining._lower_isa(replace(made, isa="avx2")) is not None


def test_the_base_of_an_isa():
    for isa in _core.available_isas():
        base = _core.isa_base(isa)
        assert _core.isa_base(base) == base
        assert _core.bf16_rows(base, NAMES.index("medium")) == 0
        assert (base == isa) == (_core.bf16_rows(isa, NAMES.index("medium")) == 0)
        assert _core.bf16_rows(isa, NAMES.index("highest")) == 0
    assert _core.isa_base("none") is None and _core.bf16_rows("none", 2) == 0


# ---- the command --------------------------------------------------------------------------

QUICK = ["explain", "--seconds", "0.002", "--hidden", "8"]


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_command(capsys, empty_folder):
    assert main([*QUICK, "--batch-size", "16", "--optimizer", "sgd", "--momentum", "0.9"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("network  64-8-10 (relu, softmax; cross_entropy)")
    assert "batch    16, SGD(lr=0.01, momentum=0.9, nesterov=False)" in out
    assert os.listdir() == []


@pytest.mark.products
def test_the_precision_of_products_is_named(capsys, empty_folder):
    assert main([*QUICK, "--matmul-precision", "medium"]) == 0
    assert "float32, matmul_precision medium kernels" in " ".join(capsys.readouterr().out.split())
    assert main([*QUICK, "--matmul-precision", "high", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["matmul_precision"] == "high" and found["products"] not in ("", "f32")


def test_the_command_prints_json(capsys, empty_folder):
    np.savetxt("t.csv", np.random.default_rng(0).normal(size=(40, 3)), delimiter=",")
    args = ["t.csv", "--json", "--threads", "1", "--dtype", "float64", "--l2", "0.1"]
    assert main([*QUICK, *args]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["widths"] == [2, 8, 1] and found["dtype"] == "float64"
    assert found["threads"]["why"] == "n_threads=1"
    assert [p["kernel"] for p in found["phases"] if p["phase"] == "loss"] == [
        "penalty",
        "loss_rows",
    ]


def test_the_command_in_a_terminal_with_only_ascii(capsys, empty_folder, monkeypatch):
    with open("out.txt", "w", encoding="ascii") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert main(QUICK) == 0
    assert "?s with the clocks" in Path("out.txt").read_text("ascii")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seconds", "0"], "--seconds: expected a number > 0"),
        (["--threads", "0"], "--threads: expected 1 to 1024"),
        (["--threads", "1025"], "--threads: expected 1 to 1024"),
        (["--epochs", "3"], "unknown option --epochs"),
        (["--momentum", "0.9"], "need --optimizer sgd"),
        (["--target", "x"], "digits has its own"),
    ],
)
def test_the_command_refuses_bad_arguments(capsys, args, message):
    with pytest.raises(SystemExit) as caught:
        main([*QUICK, *args])
    assert caught.value.code == 2 and message in " ".join(capsys.readouterr().err.split())


def test_the_command_with_bad_data(capsys, empty_folder):
    assert main(["explain", "none.csv"]) == 1
    assert "none.csv: No such file" in capsys.readouterr().err
