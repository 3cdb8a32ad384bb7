"""One layer of a network: its views and the arrays of the last passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter

import numpy as np

from .._checks import arguments as check
from .._types import Array
from .dense import Dense


class _Passed:
    """What the last passes made; apart from the layer, where setting an attribute takes longer."""

    __slots__ = ("a", "delta", "z")


class Layer:
    """One dense layer of a network: its views and the arrays of the last passes.

    W (n_in, n_out) and b (n_out,) are views of theta, dW and db of grad: writing into them
    changes the network, and assigning an array to W or b copies it in (ValueError for another
    shape). Likewise gain and shift (n_out,) of a norm, with dgain and dshift; what the layer does
    not have is None. z, a and delta, all (batch, n_out), belong to the last forward and backward,
    and are None before: z = uW + b, a the layer's output, delta = ∂J_i/∂z. Writing into delta
    changes only what `input_gradient` makes of that of the first layer, until the next backward;
    `backward_from` is the way to inject an error signal.

    `trainable`, True at first, may be set: training and `step` leave a layer where it is False as
    it is. Nothing but W, b, gain, shift and trainable may be set: AttributeError.

    >>> from fastbp import Network
    >>> layer = Network((2, 3), seed=0).layers[0]; layer.b = [1, 2, 3]; layer.b
    array([1., 2., 3.], dtype=float32)
    """

    def __init__(
        self,
        dense: Dense,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        on_trainable: Callable[[bool], object] | None = None,
    ) -> None:
        self._dense = dense
        self._parameters, self._gradients = dict(parameters), dict(gradients)
        self._passed = _Passed()
        self._trainable = True
        self.report_to(on_trainable)
        self.forget()

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(getattr(type(self), name, None), property) and name[0] != "_":
            raise AttributeError(
                f"a layer has no {name} to set; W, b, gain, shift and trainable may be set"
            )
        super().__setattr__(name, value)

    dense = property(
        attrgetter("_dense"),
        doc="The `fastbp.Dense` it was made of; whether it is trained is said here.",
    )
    activation = property(attrgetter("_dense.activation"), doc="Its `fastbp.Activation`.")
    z = property(
        attrgetter("_passed.z"), doc="Pre-activations (batch, n_out) of the last forward, or None."
    )
    a = property(
        attrgetter("_passed.a"), doc="Outputs (batch, n_out) of the last forward, or None."
    )

    @property
    def trainable(self) -> bool:
        """Whether training and `step` change the parameters."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: object) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"trainable must be True or False; got {value!r}")
        self._trainable = bool(value)
        if self._on_trainable is not None:
            self._on_trainable(self._trainable)

    @property
    def delta(self) -> Array | None:
        """Errors (batch, n_out) of the last backward, or None; per sample."""
        return self._passed.delta

    @delta.setter
    def delta(self, value: object) -> None:
        raise AttributeError(
            "delta is made by backward: inject an error signal with net.backward_from(delta_L), "
            "or write into the array, layer.delta[...] = …"
        )

    def report_to(self, on_trainable: Callable[[bool], object] | None) -> None:
        """Whom to tell, now and when it changes, whether the layer is trained."""
        self._on_trainable = on_trainable
        self.trainable = self._trainable

    def forget(self) -> None:
        """Drop z, a and delta."""
        self.show_forward(None, None)

    def show_forward(self, z: Array | None, a: Array | None) -> None:
        """What a forward pass has made, for the network to call; delta is gone with it."""
        passed = self._passed
        passed.z, passed.a, passed.delta = z, a, None

    def show_delta(self, delta: Array) -> None:
        """What a backward pass has made, for the network to call."""
        self._passed.delta = delta

    def parameters(self) -> dict[str, Array]:
        """The views that there are, by name: W, b, gain, shift, in the order of theta.

        >>> from fastbp import Dense, Network
        >>> net = Network.from_layers(2, [Dense(3, bias=False)], seed=0)
        >>> {name: view.shape for name, view in net.layers[0].parameters().items()}
        {'W': (2, 3)}
        """
        return dict(self._parameters)

    def gradients(self) -> dict[str, Array]:
        """The views of grad by the same names."""
        return dict(self._gradients)

    def _set(self, name: str, value: object) -> None:
        to = self._parameters.get(name)
        if to is None:
            raise AttributeError(f"this layer has no {name}; it is {self._dense!r}")
        to[...] = check.as_parameters(value, to.shape, to.dtype, name)

    @property
    def W(self) -> Array:
        """Weights (n_in, n_out): W[j, k] leads from unit j below to unit k."""
        return self._parameters["W"]

    @W.setter
    def W(self, value: object) -> None:
        self._set("W", value)

    @property
    def b(self) -> Array | None:
        """Biases (n_out,)."""
        return self._parameters.get("b")

    @b.setter
    def b(self, value: object) -> None:
        self._set("b", value)

    @property
    def gain(self) -> Array | None:
        """Gain (n_out,) of the norm."""
        return self._parameters.get("gain")

    @gain.setter
    def gain(self, value: object) -> None:
        self._set("gain", value)

    @property
    def shift(self) -> Array | None:
        """Shift (n_out,) of the norm."""
        return self._parameters.get("shift")

    @shift.setter
    def shift(self, value: object) -> None:
        self._set("shift", value)

    @property
    def dW(self) -> Array:
        """Gradient of J with respect to W (n_in, n_out)."""
        return self._gradients["W"]

    @property
    def db(self) -> Array | None:
        """Gradient of J with respect to b (n_out,)."""
        return self._gradients.get("b")

    @property
    def dgain(self) -> Array | None:
        """Gradient of J with respect to the norm's gain (n_out,)."""
        return self._gradients.get("gain")

    @property
    def dshift(self) -> Array | None:
        """Gradient of J with respect to the norm's shift (n_out,)."""
        return self._gradients.get("shift")

    def __repr__(self) -> str:
        n_in, n_out = self.W.shape
        said = [f"{n_in} -> {n_out}", str(self.activation), *self._dense.options()]
        return f"Layer({', '.join(said if self.trainable else [*said, 'frozen'])})"
