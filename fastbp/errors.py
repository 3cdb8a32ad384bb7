"""The exceptions and warnings that fastbp defines."""

from ._messages import RESET_STATISTICS, readable

__all__ = ["ConvergenceWarning", "DataError", "DivergenceError", "ModelFileError"]


class DivergenceError(ArithmeticError):
    """Raised by `fit` when the objective J is no longer finite.

    The step that found it does not update the parameters, so training can continue from them with a
    lower learning rate. After the last step of a fit, no J is computed any more: then it is raised
    for a parameter that is not finite, and the parameters stay as that step has left them.

    Parameters
    ----------
    value : float
        The value of J, or of the parameter.
    epoch : int
        The epoch, counted from 0.
    step : int
        The step (batch) within the epoch, counted from 0.
    parameter : str or None, default None
        The parameter that the last step has spoilt, such as "layers[0].W"; None for J.

    Examples
    --------
    >>> DivergenceError(float("nan"), epoch=3, step=12).step
    12
    """

    def __init__(
        self, value: float, *, epoch: int, step: int, parameter: str | None = None
    ) -> None:
        what = f"the loss is {value} at" if parameter is None else f"{parameter} has {value} after"
        hint = "lower the learning rate, or scale the inputs and targets"
        if parameter is not None and ".running_" in parameter:
            hint += f", and before another fit {RESET_STATISTICS}"
        super().__init__(f"{what} epoch {epoch}, step {step} (counted from 0); {hint}")
        self.value = value
        self.epoch = epoch
        self.step = step
        self.parameter = parameter

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.value, self.epoch, self.step, self.parameter)


def _rebuild(
    cls: type[DivergenceError], value: float, epoch: int, step: int, parameter: str | None = None
) -> DivergenceError:
    return cls(value, epoch=epoch, step=step, parameter=parameter)


class ModelFileError(ValueError):
    """Raised when a model file is truncated, forged, or was not written by fastbp.

    The message says which file it is, what was expected and what was found. What it repeats of the
    file is shortened, and characters that would control a terminal are escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(readable(str(message)))


class DataError(ValueError):
    """Raised when data cannot be read as a table or as images, from a file or from Python.

    The message gives the file, or the argument, and, if possible, the line or row and the column.
    What it repeats of the file is shortened, and characters that would control a terminal are
    escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(readable(str(message)))


class ConvergenceWarning(UserWarning):
    """Issued when training ended before a minimum; the message says why, and what to change."""
