"""Arrays that a callback, a hook or another thread writes to while the engine uses them.

Class indices and the structure of sparse rows are used as memory offsets. A fit therefore works on
copies of them, and gives the same result as if nobody had changed the originals.
"""

import threading

import numpy as np
import pytest

import fastbp
from fastbp import _core
from fastbp.optim import SGD

N, N_IN, N_CLASSES = 40, 30, 3
BAD_LABELS = [50, -1, 2**31 - 1, -(2**31)]
KINDS = [fastbp.Network, fastbp.reference.Network]


def network(kind=fastbp.Network, widths=(N_IN, 8, N_CLASSES), **options):
    options = {
        "output": "softmax",
        "loss": "cross_entropy",
        "dtype": "float64",
        "seed": 1,
    } | options
    return kind(widths, **options)


def labelled(rng):
    return rng.normal(size=(N, N_IN)), rng.integers(N_CLASSES, size=N).astype(np.int32)


def trained(kind, X, y, write, **options):
    """theta of a fit that calls write() at the end of every epoch and batch."""
    net = network(kind)
    if options.pop("hook", False):
        net.on_delta(lambda layer, delta: None)
    at_ends = fastbp.callbacks.LambdaCallback(
        on_batch_end=lambda step, logs: write(), on_epoch_end=lambda epoch, logs: write()
    )
    net.fit(X, y, epochs=3, batch_size=8, callbacks=[at_ends], **options)
    return net.theta


def untouched():
    pass


OPTIONS = [
    {},
    {"accumulate": 2},
    {"shuffle": False, "optimizer": "sgd"},
    {"validation_split": 0.25},
    {"hook": True},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", BAD_LABELS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_labels_written_during_a_fit(kind, label, options, rng):
    X, y = labelled(rng)
    expected = trained(kind, X, y, untouched, **options)

    def write():
        y[:] = label

    np.testing.assert_array_equal(trained(kind, X, y, write, **options), expected)
    assert (y == label).all()


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_validation_written_during_a_fit(kind, rng):
    X, y = labelled(rng)
    held = y.copy()

    def write():
        held[:] = 50

    net = network(kind)
    callback = fastbp.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: write())
    history = net.fit(X, y, epochs=2, validation_data=(X, held), callbacks=[callback])
    twin = network(kind).fit(X, y, epochs=2, validation_data=(X, y))
    assert history.val_loss == twin.val_loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("value", [N_IN, -1, 2**31 - 1])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sparse_structure_written_during_a_fit(kind, part, value, options, rng):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    X = sparse.csr_matrix(rng.normal(size=(N, N_IN)) * (rng.random((N, N_IN)) < 0.2))
    y = labelled(rng)[1]
    expected = trained(kind, X, y, untouched, **options)

    def write():
        getattr(X, part)[1:] = value

    np.testing.assert_array_equal(trained(kind, X, y, write, **options), expected)


@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_sparse_structure_written_between_forward_and_backward(part, rng):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    X = sparse.csr_matrix(rng.normal(size=(N, N_IN)) * (rng.random((N, N_IN)) < 0.2))
    y = labelled(rng)[1]
    nets = [network(), network()]
    for net in nets:
        net.forward(X)
    nets[0].backward(y)
    getattr(X, part)[1:] = 2**30
    nets[1].backward(y)
    np.testing.assert_array_equal(nets[0].grad, nets[1].grad)


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "cross_entropy(class_weight=[1, 2, 3])", "focal", "multi_margin"]
)
@pytest.mark.parametrize("label", BAD_LABELS)
def test_the_engine_reads_labels_out_of_range_as_class_0(loss, label, rng):
    """A thread may write them between the check and the step."""
    X, y = labelled(rng)
    output = "identity" if loss == "multi_margin" else "softmax"
    net = network(loss=loss, output=output)
    bad, zeros = y.copy(), y.copy()
    bad[::3], zeros[::3] = label, 0
    engine, theta = net._backend.net, net.theta
    assert engine.cost(theta, X, bad, None) == engine.cost(theta, X, zeros, None)
    passes = [_core.Pass(engine, N) for _ in range(2)]
    gradients = [np.empty_like(theta) for _ in passes]
    for each, labels, gradient in zip(passes, (bad, zeros), gradients, strict=True):
        each.forward(theta, X)
        each.backward(theta, labels, None, gradient)
    np.testing.assert_array_equal(*gradients)
    thetas = [theta.copy(), theta.copy()]
    for labels, at in zip((bad, zeros), thetas, strict=True):
        sgd = SGD(0.1)
        sgd.bind(theta.size, theta.dtype)
        _core.Fit(engine, at, X, labels, None, sgd, 7, True, 1).run(1.0)
    np.testing.assert_array_equal(*thetas)


def test_another_thread_writes_labels(rng):
    """These calls check the caller's array and then read it: a valid result or ValueError."""
    X, y = labelled(rng)
    net, sgd, stop = network(), SGD(1e-3), threading.Event()

    def write():
        while not stop.is_set():
            y[:] = 2**31 - 1
            y[:] = 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            for call in (net.loss, net.value_and_grad, lambda X, y: net.train_batch(X, y, sgd)):
                try:
                    call(X, y)
                except ValueError as error:
                    assert "class index" in str(error)
    finally:
        stop.set()
        writer.join()
    assert np.isfinite(net.theta).all()


def test_hvp_keeps_the_targets_of_the_last_backward_alive(rng):
    """A Hessian product reads them, even if the caller has freed its array."""
    X, y = rng.normal(size=(N, N_IN)), rng.normal(size=(N, N_CLASSES))
    net = network(output="identity", loss="log_cosh")
    products = []
    for keep in (True, False):
        p, own = _core.Pass(net._backend.net, N), y.copy()
        p.forward(net.theta, X.copy())
        p.backward(net.theta, own, None, None)
        if not keep:
            del own
            spoiled = [np.full_like(y, np.nan) for _ in range(20)]  # reuses its memory if freed
        out = np.empty_like(net.theta)
        _core.hvp(p, net.theta, np.ones_like(net.theta), out)
        products.append(out)
    assert len(spoiled) == 20
    np.testing.assert_array_equal(*products)
