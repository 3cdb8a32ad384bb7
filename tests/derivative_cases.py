"""Networks for the tests of derivatives, with every kind of output and loss."""

from engine_cases import DTYPES, Twins
from hypothesis import strategies as st
from loss_cases import CASES

from fastbp.losses import resolve

WIDTHS = (5, 19, 8, 3)
TALL = (40, 257, 255, 9)  # large enough for several threads
# every loss and option with outputs of three kinds: its pair, other probabilities, any number
KINDS = ("softmax", "sigmoid", "tanh")
LOSSES_ON = [(s, out) for s, out in CASES if out in KINDS[: 2 + (resolve(s).pair is None)]]
LOSSES_ON = [(s, out) for s, out in LOSSES_ON if resolve(s).targets != "pairs"]

ANY_SHAPE = {
    "widths": st.lists(st.integers(1, 40), min_size=2, max_size=5),
    "n": st.integers(1, 40),
    "seed": st.integers(0, 1000),
    "dtype": st.sampled_from(DTYPES),
}


def twins(rng, output="identity", loss="squared_error", *, widths=WIDTHS, n=11, **options):
    options = {"hidden": "tanh", "dtype": "float64", **options}
    return Twins(rng, widths, output=output, loss=loss, n=n, **options)
