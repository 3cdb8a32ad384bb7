"""One layer of a network, as users see it: views of its parameters and of the last passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from numbers import Real

from .._checks import arguments as check
from .._checks.keywords import OF_LAYERS, hinting_attributes
from .._types import Array, Lock
from ..activations import Activation
from .dense import Dense
from .embedding import EMBEDDED, VECTORS


class _Passed:
    """The arrays of the last passes; a separate object, because `Layer` checks what is set."""

    __slots__ = ("a", "delta", "z")

    def __init__(self) -> None:
        self.z: Array | None = None
        self.a: Array | None = None
        self.delta: Array | None = None


def _views(name: str, key: str = "") -> str:
    at = f"[{key!r}]" if key else ""
    return f"write into the view, layer.{name}{at}[...] = …"


_FIXED = "it belongs to the architecture: make a network with other layers"
# What the properties without a setter say.
_READ_ONLY = {
    "z": "forward makes it",
    "a": "forward makes it",
    "delta": "backward makes it: inject an error signal with net.backward_from(delta_L), or "
    + _views("delta"),
    **{f"d{name}": _views(f"d{name}") for name in ("W", "b", "gain", "shift", "scale")},
    "dconstants": _views("dconstants", "alpha"),
    "embedding": _views("embedding", "phases"),
    "dembedding": _views("dembedding", "phases"),
    "tables": "write into a view, layer.tables[0][...] = …",
    "dtables": "write into a view, layer.dtables[0][...] = …",
    "dense": _FIXED,
    "activation": _FIXED,
}


class Constants(Mapping[str, Array]):
    """The trained constants of a layer by name: views of theta, (1,) each or (n_out,).

    Assigning an array of that shape, or a number for all, copies the values. KeyError for a name
    that the layer does not have, ValueError for another shape.

    >>> from fastbp import Network
    >>> constants = Network((2, 3), output="prelu", seed=0).layers[0].constants; constants
    {'alpha': array([0.25], dtype=float32)}
    >>> constants["alpha"] = 0.5; constants["alpha"]
    array([0.5], dtype=float32)
    """

    def __init__(self, views: Mapping[str, Array], lock: Lock) -> None:
        self._views, self._lock = dict(views), lock

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __setitem__(self, name: str, value: object) -> None:
        self.assign({name: value})

    def assign(self, values: Mapping[str, object]) -> None:
        """Copy the values of some constants: of all of them, or if one is refused, of none."""
        checked = {name: self._checked(name, value) for name, value in values.items()}
        with self._lock:
            for name, value in checked.items():
                self._views[name][...] = value

    def _checked(self, name: str, value: object) -> Array | float:
        to = self._views.get(name)
        if to is None:
            known = f"it has {', '.join(self._views)}" if self._views else "it has none"
            raise KeyError(f"this layer has no constant {name!r}; {known}")
        if isinstance(value, Real):
            return check.check_real(value, name)
        return check.as_parameters(value, to.shape, to.dtype, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return repr(self._views)


@hinting_attributes(OF_LAYERS)
class Layer:
    """One dense layer of a network: views of its parameters and of the last passes.

    W (n_in, n_out) and b (n_out,) are views of theta, dW and db are views of grad. Writing into
    them changes the network. Assigning an array to W or b copies its values; ValueError for another
    shape. gain and shift (n_out,) of a norm, with dgain and dshift, and the scale (n_in,) of the
    inputs, with dscale, behave likewise, and so do running_mean and running_var (n_out,) of batch
    norm, which no gradient changes. Those that the layer does not have are None. `constants` are
    the trained constants of the activation by name, (1,) each or (n_out,), and `dconstants` their
    gradients.

    z, a and delta, all (batch, n_out), belong to the last forward and backward, and are None
    before: z = uW + b, or (u ⊙ scale)W + b, a is the output of the layer, delta = ∂J_i/∂z. Writing
    into delta changes only the result of `input_gradient`, and only in the first layer, until the
    next backward; use `backward_from` to inject an error signal.

    `trainable` is True at first. Training and `step` do not change a layer where it is False. Only
    W, b, gain, shift, scale, running_mean, running_var, constants and trainable can be set;
    AttributeError for anything else.

    >>> from fastbp import Network
    >>> layer = Network((2, 3), seed=0).layers[0]; layer.b = [1, 2, 3]; layer.b
    array([1., 2., 3.], dtype=float32)
    """

    def __init__(
        self,
        dense: Dense,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        lock: Lock,
    ) -> None:
        self._dense, self._lock = dense, lock
        self._parameters, self._gradients = dict(parameters), dict(gradients)
        self._passed = _Passed()
        self._trainable = True
        self._on_trainable: Callable[[bool], object] | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name in _READ_ONLY:
            raise AttributeError(f"{name} of a layer cannot be set: {_READ_ONLY[name]}")
        if name[0] != "_" and not isinstance(getattr(type(self), name, None), property):
            hint = f": {OF_LAYERS[name]}" if name in OF_LAYERS else ""
            raise AttributeError(
                f"a layer has no {name} to set; W, b, gain, shift, scale, running_mean, "
                f"running_var, constants and trainable may be set{hint}"
            )
        super().__setattr__(name, value)

    @property
    def dense(self) -> Dense:
        """The `fastbp.Dense` that it was made from; `trainable` of the layer itself is current."""
        return self._dense

    @property
    def activation(self) -> Activation:
        """The `fastbp.activations.Activation`."""
        return self._dense.activation

    @property
    def z(self) -> Array | None:
        """Pre-activations (batch, n_out) of the last forward, or None."""
        return self._passed.z

    @property
    def a(self) -> Array | None:
        """Outputs (batch, n_out) of the last forward, or None."""
        return self._passed.a

    @property
    def trainable(self) -> bool:
        """Whether training and `step` change the parameters."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: object) -> None:
        trainable = check.check_flag(value, "trainable")
        with self._lock:
            self._trainable = trainable
            if self._on_trainable is not None:
                self._on_trainable(trainable)

    @property
    def delta(self) -> Array | None:
        """Errors (batch, n_out) of the last backward, or None; per sample."""
        return self._passed.delta

    def report_to(self, on_trainable: Callable[[bool], object]) -> None:
        """Call a function, now and at every change, with the value of `trainable`."""
        self._on_trainable = on_trainable
        on_trainable(self._trainable)

    def forget(self) -> None:
        """Drop z, a and delta; the network calls this."""
        self.show_forward(None, None)

    def show_forward(self, z: Array | None, a: Array | None) -> None:
        """Take z and a of a forward pass, and drop delta; the network calls this."""
        passed = self._passed
        passed.z, passed.a, passed.delta = z, a, None

    def show_delta(self, delta: Array) -> None:
        """Take delta of a backward pass; the network calls this."""
        self._passed.delta = delta

    def hide_delta(self) -> None:
        """Drop delta; the network calls this."""
        self._passed.delta = None

    def parameters(self) -> dict[str, Array]:
        """The views of the parameters that the layer has, by name, in the order of theta.

        >>> from fastbp import Dense, Network
        >>> net = Network.from_layers(2, [Dense(3, bias=False)], seed=0)
        >>> {name: view.shape for name, view in net.layers[0].parameters().items()}
        {'W': (2, 3)}
        """
        return dict(self._parameters)

    def gradients(self) -> dict[str, Array]:
        """The views of grad, by the same names; those of running statistics are 0."""
        return dict(self._gradients)

    def _set(self, name: str, value: object) -> None:
        to = self._parameters.get(name)
        if to is None:
            raise AttributeError(f"this layer has no {name}; it is {self._dense!r}")
        checked = check.as_parameters(value, to.shape, to.dtype, name)
        with self._lock:
            to[...] = checked

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
    def running_mean(self) -> Array | None:
        """Running mean (n_out,) of z of batch norm, which evaluation uses."""
        return self._parameters.get("running_mean")

    @running_mean.setter
    def running_mean(self, value: object) -> None:
        self._set("running_mean", value)

    @property
    def running_var(self) -> Array | None:
        """Running variance (n_out,) of z of batch norm, which evaluation uses."""
        return self._parameters.get("running_var")

    @running_var.setter
    def running_var(self, value: object) -> None:
        to = self._parameters.get("running_var")
        if to is not None:
            value = check.as_parameters(value, to.shape, to.dtype, "running_var")
            if not (value >= 0).all():
                raise ValueError(f"running_var must not be negative; got {value!r}")
        self._set("running_var", value)

    @property
    def scale(self) -> Array | None:
        """Trained factors (n_in,) of the inputs, if `dense.scale`."""
        return self._parameters.get("scale") if self._dense.scale else None

    @scale.setter
    def scale(self, value: object) -> None:
        if not self._dense.scale:
            raise AttributeError(f"this layer has no scale; it is {self._dense!r}")
        self._set("scale", value)

    @property
    def embedding(self) -> Constants:
        """The trained parameters of the embedding of numbers by name; {} if there is none.

        They are views: frequencies and phases (n, k), projections (n, k, outputs) and offsets
        (n, outputs). `fastbp.Periodic` has the formula. The tables of categories are in `tables`.
        """
        return Constants(self._of_embedding(self._parameters), self._lock)

    @property
    def dembedding(self) -> dict[str, Array]:
        """Gradients of J with respect to the parameters of the embedding of numbers, by name."""
        return self._of_embedding(self._gradients)

    def _of_embedding(self, views: Mapping[str, Array]) -> dict[str, Array]:
        names = EMBEDDED if self._dense.embedding is not None else ()
        return {name: views[name] for name in names}

    @property
    def tables(self) -> tuple[Array, ...]:
        """The trained vectors (levels, width) of each category; () if there are none.

        They are views: `layer.tables[0][3] = 0` sets the vector of level 3 of the first category.
        """
        return self._tables(self._parameters)

    @property
    def dtables(self) -> tuple[Array, ...]:
        """Gradients of J with respect to `tables`; rows that no sample has read are 0."""
        return self._tables(self._gradients)

    def _tables(self, views: Mapping[str, Array]) -> tuple[Array, ...]:
        categories = self._dense.categories
        return () if categories is None else tuple(categories.tables(views[VECTORS]))

    @property
    def constants(self) -> Constants:
        """The trained constants of the activation by name; {} if it has none.

        Assigning a mapping copies the values of its names.

        >>> from fastbp import Dense, Network
        >>> layer = Network.from_layers(2, [Dense(2, "prelu(0.1, per=unit)")], seed=0).layers[0]
        >>> layer.constants = {"alpha": [0.5, 1.0]}; layer.constants
        {'alpha': array([0.5, 1. ], dtype=float32)}
        """
        return Constants(self._of_activation(self._parameters), self._lock)

    @constants.setter
    def constants(self, values: Mapping[str, object]) -> None:
        if not isinstance(values, Mapping):
            raise TypeError(f"constants must be a mapping of names to values; got {values!r}")
        self.constants.assign(values)

    def _of_activation(self, views: Mapping[str, Array]) -> dict[str, Array]:
        return {name: views[name] for name in self.activation.constants}

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

    @property
    def dscale(self) -> Array | None:
        """Gradient of J with respect to the scale of the inputs (n_in,)."""
        return self._gradients.get("scale") if self._dense.scale else None

    @property
    def dconstants(self) -> dict[str, Array]:
        """Gradients of J with respect to the trained constants, by name; {} if there are none."""
        return self._of_activation(self._gradients)

    def __repr__(self) -> str:
        n_in, n_out = self.W.shape
        parts = [f"{n_in} -> {n_out}", str(self.activation), *self._dense.options()]
        return f"Layer({', '.join(parts if self.trainable else [*parts, 'frozen'])})"
