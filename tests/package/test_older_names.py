"""Paths of modules of version 0.1.0: they can be imported, and pickles that hold them load."""

import pickle
import pkgutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

# All modules of version 0.1.0 without an underscore, by package.
PACKAGES = {
    "": (
        "activations callbacks checkpoints cli commands csvfile datasets dense "
        "derivatives errors explain explanation export history hooks initializers io "
        "layers losses lr_range metrics network optim plot preprocessing reference "
        "schedules splits streaming tabular testing tracking bench"
    ),
    "bench": "client data memory peers plot report runner suites timing worker",
    "bench.peers": "base engine jax_cpu numpy_reference pytorch scikit",
    "commands": "bench explain info options predict recipe sources train",
    "datasets": "idx",
    "optim": "adam adaptive averaging base files lbfgs sgd",
    "reference": (
        "cost curves derivatives formulas layers losses network slow slow_losses training updates"
    ),
}
MODULES = [
    f"{package}.{name}".lstrip(".") for package, names in PACKAGES.items() for name in names.split()
]
# Classes and functions by their paths of version 0.1.0, which its pickles hold: where they are now.
OBJECTS = {
    "_monitor:Monitor": "fastbp.metrics._monitor:Monitor",
    "_runner:CallbackRunner": "fastbp.callbacks:CallbackRunner",
    "_runner:ProgressBar": "fastbp.callbacks:ProgressBar",
    "_session:Place": "fastbp._types:Place",
    "_sparse:SparseRows": "fastbp._types:SparseRows",
    "bench.runner:Options": "fastbp.bench:Options",
    "bench.runner:measure": "fastbp.bench:measure",
    "bench.suites:Config": "fastbp.bench:Config",
    "cli:main": "fastbp._cli.main:main",
    "csvfile:read_csv": "fastbp.tabular._csv:read_csv",
    "datasets.idx:read_idx": "fastbp.datasets:read_idx",
    "dense:Dense": "fastbp:Dense",
    "dense:Norm": "fastbp:Norm",
    "layers:Layer": "fastbp._network.layers:Layer",
    "lr_range:LRRange": "fastbp._training.lr_finder:LRRange",
    "lr_range:lr_finder": "fastbp:lr_finder",
    "network:Network": "fastbp:Network",
    "preprocessing:Preprocessing": "fastbp.tabular._preprocessing:Preprocessing",
    "reference.cost:objective": "fastbp.reference:objective",
    "reference.network:Network": "fastbp.reference:Network",
    "reference.slow:slow_backprop": "fastbp.reference:slow_backprop",
    "splits:hold_out": "fastbp._training.splits:hold_out",
    "streaming:ArrayStream": "fastbp._training.streams:ArrayStream",
    "streaming:BlockStream": "fastbp._training.streams:BlockStream",
    "streaming:stream": "fastbp:stream",
    **{
        f"optim.{module}:{name}": f"fastbp.optim:{name}"
        for module, names in {
            "adam": ("Adam", "AdamW", "Adamax", "NAdam", "RAdam"),
            "adaptive": ("Adadelta", "Adagrad", "RMSprop"),
            "averaging": ("SWA", "averaged"),
            "base": ("Optimizer",),
            "files": ("load",),
            "lbfgs": ("LBFGS",),
            "sgd": ("SGD", "Lion", "Rprop"),
        }.items()
        for name in names
    },
}


def pickled(path):
    """A pickle of a class or function, which is its path."""
    module, name = path.split(":")
    return f"cfastbp.{module}\n{name}\n.".encode()


@pytest.fixture(scope="module")
def fresh():
    """What a new interpreter says: the older modules and objects that it does not find."""
    program = """
import importlib, pickle, sys
modules, pickles = eval(sys.stdin.read())
for name in modules:
    try:
        importlib.import_module("fastbp." + name)
    except ImportError:
        print(name)
for path, text in pickles.items():
    try:
        pickle.loads(text)
    except (ImportError, AttributeError):
        print(path)
"""
    asked = repr((MODULES, {path: pickled(path) for path in OBJECTS}))
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, input=asked, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", MODULES)
def test_older_modules_can_be_imported(name, fresh):
    assert name not in fresh.split()


@pytest.mark.parametrize(("path", "today"), OBJECTS.items())
def test_older_paths_give_the_objects_of_today(path, today, fresh):
    assert path not in fresh.split()
    assert pickle.loads(pickled(path)) is pkgutil.resolve_name(today)
