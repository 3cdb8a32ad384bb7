"""Networks in the formats of others.

    c(net)                 one C99 file with the weights and a predict function
    onnx(net)              an ONNX model                          pip install "fastbp[onnx]"
    to_state_dict(net)     NumPy arrays by PyTorch's names, (out, in); PyTorch is not needed
    to_torch(net)          torch.nn.Sequential                    pip install "fastbp[torch]"
    to_keras_weights(net)  the list that Keras' set_weights takes

and the ways back: `from_state_dict`, `from_torch`, `from_keras_weights`. What makes predictions is
exported; `net.preprocessing` and dropout are not part of that. `net.save` writes safetensors.
"""

from .._public import present
from ._c import c
from ._keras import from_keras_weights, to_keras_weights
from ._onnx import onnx
from ._skl2onnx import register_skl2onnx
from ._torch import from_state_dict, from_torch, to_state_dict, to_torch

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
