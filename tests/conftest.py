"""Options, settings and fixtures of the whole test suite."""

import signal
from zlib import crc32

import numpy as np
import pytest
from hypothesis import settings

import fastbp

SEED = 20260101

settings.register_profile("fastbp", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("fastbp")


def pytest_addoption(parser):
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="visit every case where the suite otherwise samples (all float32 arguments, …)",
    )


def pytest_report_header(config):
    return f"fastbp {fastbp.__version__}, ISA {fastbp.isa()}, seed {SEED}, hypothesis derandomised"


@pytest.fixture(scope="session")
def exhaustive(request) -> bool:
    """Whether tests visit every case instead of a sample."""
    return request.config.getoption("--exhaustive")


@pytest.fixture
def rng(request) -> np.random.Generator:
    """Random numbers that depend only on the seed of the suite and the name of the test."""
    return np.random.default_rng([SEED, crc32(request.node.nodeid.encode())])


@pytest.fixture
def keyboard():
    """SIGINT raises KeyboardInterrupt here, and ends programs that the test starts.

    A shell starts background programs with SIGINT ignored, and their children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
