"""Exceptions and warnings of fastbp's own."""

__all__ = ["ConvergenceWarning", "DataError", "DivergenceError", "ModelFileError"]


class DivergenceError(ArithmeticError):
    """Raised by `fit` when the objective J stops being finite, before that step's update.

    `epoch` and `step` (the batch within the epoch) count from 0; the parameters are those
    before the step, so that training can go on from them with a smaller learning rate.

    >>> DivergenceError(float("nan"), epoch=3, step=12).step
    12
    """

    def __init__(self, value: float, *, epoch: int, step: int) -> None:
        super().__init__(
            f"the loss is {value} at epoch {epoch}, step {step} (counted from 0); "
            "lower the learning rate, or scale the inputs and targets"
        )
        self.value = value
        self.epoch = epoch
        self.step = step

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.value, self.epoch, self.step)


def _rebuild(cls: type[DivergenceError], value: float, epoch: int, step: int) -> DivergenceError:
    return cls(value, epoch=epoch, step=step)


class ModelFileError(ValueError):
    """Raised when a model file is truncated, forged, or not one of fastbp's.

    The message names the file, what was expected and what came.
    """


class DataError(ValueError):
    """Raised when a data file cannot be read as the table or images it should hold.

    The message names the file and, where there is one, the line and column.
    """


class ConvergenceWarning(UserWarning):
    """Given where training ended at no minimum; the message says why, and what to change."""
