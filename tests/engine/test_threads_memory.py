"""With several threads, a step allocates nothing, and workers access only their arrays."""

from itertools import product
from pathlib import Path

import pytest
from engine_cases import DTYPES, OPTIMIZERS
from test_engine_memory import LINUX, Guarded, count_allocator_calls, needs_elf
from thread_cases import SHAPES, isolated, limit_of, needs_proc, problem, tasks, weights_for

from fastbp import _core

# ---- allocations ------------------------------------------------------------------------------


def fit_and_count(dtype, n_threads):
    calls = count_allocator_calls(Path(_core.__file__).resolve())
    before = tasks()
    for make, weighted in product(OPTIMIZERS.values(), (False, True)):
        net, X, y = problem(dtype=dtype, l2=1e-3)
        optimizer = make()
        optimizer.bind(net.theta.size, net.dtype)
        s = weights_for(X) if weighted else None
        calls.clear()
        fit = _core.Fit(net._backend.net, net.theta, X, y, s, optimizer, 61, True, 0, n_threads)
        assert calls, "the counter has not seen the buffers of a session"
        calls.clear()
        for _ in range(3):
            done = False
            while not done:
                diverged, done, *_ = fit.run(0.0)
                assert not diverged
        fit.run(60.0)
        assert optimizer.t == 4 * 2
        assert calls == []
    assert tasks() == before + n_threads - 1


def pass_and_count(dtype, n_threads):
    """The calls of the allocator after the first pass, which may allocate."""
    calls = count_allocator_calls(Path(_core.__file__).resolve())
    net, X, y = problem(dtype=dtype, n=600)
    s, before = weights_for(X), tasks()
    optimizer = OPTIMIZERS["adam"]()
    optimizer.bind(net.theta.size, net.dtype)
    with limit_of(n_threads):
        for turn in range(4):
            for n in (600, 61):
                net.forward(X[:n])
                net.backward(y[:n], s[:n])
                net.step(optimizer)
                net.backward_from(y[:n])
            if turn == 0:
                assert calls
                calls.clear()
    assert calls == []
    assert tasks() == before + n_threads - 1


@needs_elf
@needs_proc
@pytest.mark.parametrize("work", [fit_and_count, pass_and_count])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_on_several_threads_allocates_nothing(dtype, work):
    isolated(work, dtype, 2)


# ---- guard pages --------------------------------------------------------------------------------


def train_beside_guards(dtype, n_threads):
    for shape, at_end in product(SHAPES, (True, False)):
        guarded = Guarded(at_end)
        net, X, y = problem(shape, dtype=dtype, l1=1e-4)
        net._theta, net._grad = guarded(net._theta), guarded(net._grad)
        X, y, s = guarded(X), guarded(y), guarded(weights_for(X))
        optimizer = OPTIMIZERS["adam"]()
        optimizer.bind(net.theta.size, net.dtype)
        optimizer.moments = [guarded(moment) for moment in optimizer.moments]
        fit = {"batch_size": SHAPES[shape][2], "optimizer": optimizer, "sample_weight": s}
        net.fit(X, y, epochs=1, n_threads=n_threads, **fit)
        with limit_of(n_threads):
            net.value_and_grad(X, y)
            net.backward(y, s)
            net.predict(X)
            net.loss(X, y, s)


@pytest.mark.skipif(not LINUX, reason="calls mprotect through ctypes, as on Linux")
@pytest.mark.parametrize("dtype", DTYPES)
def test_workers_access_only_their_arrays(dtype):
    isolated(train_beside_guards, dtype, 7)
