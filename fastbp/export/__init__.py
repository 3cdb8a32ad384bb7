"""Export networks to the formats of other libraries, and import them.

    c(net)                 one C99 file with the weights and a predict function
    onnx(net)              an ONNX model, also of a pipeline      pip install "fastbp[onnx]"
    to_state_dict(net)     NumPy arrays with the names and shapes of PyTorch, which is not needed
    to_torch(net)          torch.nn.Sequential                    pip install "fastbp[torch]"
    to_keras_weights(net)  the list that set_weights of Keras takes

`net` is a network, or a fitted estimator of `fastbp.sklearn`. C and ONNX of a
`fastbp.tabular.TableModel`, a `TabularClassifier` or a `TabularRegressor` take the raw columns of
the table: the encoder and all networks are in the file.

`from_state_dict`, `from_torch` and `from_keras_weights` make networks of these formats. An exported
model contains only what is needed for predictions, so no dropout. C and ONNX of a
`fastbp.tabular.TableNetwork` take the raw columns of its table; all other exports contain the bare
network, without `net.preprocessing`.
`net.save` writes safetensors.
"""

from .._public import present
from ._c import c
from ._keras import from_keras_weights, to_keras_weights
from ._onnx import onnx
from ._skl2onnx import register_skl2onnx
from ._torch import from_state_dict, to_state_dict, to_torch
from ._torch_modules import from_torch

__all__ = [
    "c",
    "from_keras_weights",
    "from_state_dict",
    "from_torch",
    "onnx",
    "register_skl2onnx",
    "to_keras_weights",
    "to_state_dict",
    "to_torch",
]

present(__name__, __all__)
