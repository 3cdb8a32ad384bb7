"""Fits in workers of multiprocessing, concurrent.futures and joblib: same bits, no hang."""

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from thread_cases import LIMIT, NARROW, isolated, limit_of, problem, trajectory

import fastbp

pytestmark = pytest.mark.once

THREAD_COUNTS = [2, 3]
SECONDS = LIMIT / 2
STARTS = multiprocessing.get_all_start_methods()


def expected(used_before=True):
    """The result that workers must return; used_before: this process starts its threads first."""
    if used_before:
        trajectory(3)
    return [trajectory(1)] * len(THREAD_COUNTS)


# ---- multiprocessing --------------------------------------------------------------------------


def predict(net, X):
    with limit_of(3):
        return net.predict(X).tobytes()


def pool_of_processes(start, used_before):
    alone = expected(used_before)
    net, X, _ = problem(NARROW, n=2100)
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.map_async(trajectory, THREAD_COUNTS).get(SECONDS) == alone
        outputs = pool.starmap_async(predict, [(net, X)] * 3).get(SECONDS)
    assert outputs == [predict(net, X)] * 3
    assert trajectory(2) == alone[0]


@pytest.mark.parametrize("start", STARTS)
def test_multiprocessing(start):
    isolated(pool_of_processes, start, True)


def test_multiprocessing_before_the_first_fit():
    isolated(pool_of_processes, STARTS[0], False)


def send_result(n, queue):
    queue.put(trajectory(n))


def single_processes(start):
    """Several Process objects at the same time, which send their results through a queue."""
    alone = expected()
    context = multiprocessing.get_context(start)
    queue = context.Queue()
    children = [context.Process(target=send_result, args=(n, queue)) for n in THREAD_COUNTS]
    for child in children:
        child.start()
    assert [queue.get(timeout=SECONDS) for _ in children] == alone
    for child in children:
        child.join(SECONDS)
        assert child.exitcode == 0


@pytest.mark.parametrize("start", STARTS)
def test_processes_with_a_queue(start):
    isolated(single_processes, start)


# ---- concurrent.futures -----------------------------------------------------------------------


def process_executor(start):
    alone = expected()
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(trajectory, THREAD_COUNTS, timeout=SECONDS)) == alone


@pytest.mark.parametrize("start", STARTS)
def test_process_executor(start):
    isolated(process_executor, start)


def thread_executor():
    alone = expected()
    with ThreadPoolExecutor(3) as executor:
        assert list(executor.map(trajectory, THREAD_COUNTS * 8, timeout=SECONDS)) == alone * 8


def test_thread_executor():
    isolated(thread_executor)


# ---- joblib -----------------------------------------------------------------------------------


@contextlib.contextmanager
def ending_loky():
    """End the workers of loky: a child of multiprocessing would wait for them at exit."""
    from joblib.externals.loky import get_reusable_executor

    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True)


def with_joblib(backend):
    from joblib import Parallel, delayed

    alone = expected()
    with ending_loky() if backend == "loky" else contextlib.nullcontext():
        for _ in range(2):  # loky reuses its workers
            parallel = Parallel(n_jobs=2, backend=backend, timeout=SECONDS)
            assert parallel(delayed(trajectory)(n) for n in THREAD_COUNTS) == alone


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend):
    pytest.importorskip("joblib", reason="joblib is optional")
    isolated(with_joblib, backend)


def limits_in_loky(n_jobs):
    from joblib import Parallel, cpu_count, delayed

    with ending_loky():
        limits = Parallel(n_jobs)(delayed(fastbp.get_num_threads)() for _ in range(n_jobs))
    assert limits == [max(1, cpu_count() // n_jobs)] * n_jobs


def test_loky_divides_the_processors_among_its_workers(monkeypatch):
    """It sets OMP_NUM_THREADS in its workers, which overrides FASTBP_NUM_THREADS."""
    pytest.importorskip("joblib", reason="joblib is optional")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("FASTBP_NUM_THREADS", "9")
    isolated(limits_in_loky, 2)
