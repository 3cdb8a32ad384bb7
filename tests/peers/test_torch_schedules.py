"""Every schedule against that of PyTorch over 50 steps."""

import warnings

import numpy as np
import pytest

from fastbp import schedules
from fastbp.schedules import Span

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

STEPS, LR = 50, 0.3
CASES = [
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 9}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 20}),
    ("StepLR", {"step_size": 7}),
    ("MultiStepLR", {"milestones": [3, 20, 20, 41], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 30, "power": 2.5}),
    ("CosineAnnealingLR", {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 12, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 50}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 55, "three_phase": True}),
    (
        "OneCycleLR",
        {"max_lr": 0.5, "total_steps": 50, "pct_start": 0.4, "anneal_strategy": "linear"},
    ),
]


def torch_optimizer():
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    return torch.optim.SGD([parameter], lr=LR, momentum=0.9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_rates_of_fifty_steps(name, options):
    optimizer = torch_optimizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that no step came before
        theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
        lrs, momenta = [], []
        for _ in range(STEPS):
            lrs.append(float(optimizer.param_groups[0]["lr"]))
            momenta.append(float(optimizer.param_groups[0]["momentum"]))
            theirs.step()
    ours = getattr(schedules, name)(**options)
    t = np.arange(STEPS)
    # PyTorch multiplies step by step: STEPS roundings of each of a few factors, of size LR
    tolerance = 10 * STEPS * np.finfo(float).eps
    np.testing.assert_allclose(ours.rates(LR, t), lrs, rtol=tolerance, atol=tolerance * LR)
    if ours.momenta(t) is not None:
        np.testing.assert_allclose(ours.momenta(t), momenta, rtol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2, "factor": 0.5, "cooldown": 3, "min_lr": 0.01},
        {"mode": "max", "patience": 1, "threshold": 0.2},
        {"patience": 1, "threshold": 0.3, "threshold_mode": "abs", "eps": 0.02},
        {"mode": "max", "patience": 0, "threshold": 0.3, "threshold_mode": "abs"},
    ],
)
def test_plateau(options):
    optimizer = torch_optimizer()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    ours = schedules.ReduceLROnPlateau(**options)
    rng = np.random.default_rng(0)
    values = 2 + np.exp(-0.2 * np.arange(STEPS)) + 0.3 * rng.normal(size=STEPS)
    for value in values:
        lr = ours.rates(LR, ours.counts(1))[0]
        assert lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-14)
        ours.observe({"loss": value})
        theirs.step(value)


def test_warm_up_before_a_cosine():
    optimizer = torch_optimizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rise = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=8)
        after = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 42)
        both = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, after], [8])
        lrs = []
        for _ in range(STEPS):
            lrs.append(float(optimizer.param_groups[0]["lr"]))
            both.step()
    ours = schedules.Warmup("cosine", 8)
    ours.bind(Span(STEPS, 10, 10))
    tolerance = 10 * STEPS * np.finfo(float).eps
    np.testing.assert_allclose(ours.rates(LR, np.arange(STEPS)), lrs, rtol=tolerance, atol=1e-14)
