"""Fits of many estimators at the same time: the networks in one population, the rest in turn."""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeAlias

from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from .. import _core
from .._training.fit import Steps
from ..losses import CustomLoss
from ..population._together import Judge, run_together
from ._classifier import MLPClassifier
from ._ensemble import end_of
from ._estimator import BaseMLP, HeldOut
from ._fit import fit_steps
from ._member import Member, Shared
from ._regressor import MLPRegressor

# Of one network, or of an ensemble, whose first value is a list of the fits of its members.
_AnySteps: TypeAlias = Generator[Any, Any, Any]
_FITS = (MLPClassifier.fit, MLPRegressor.fit, Pipeline.fit)
_ARGUMENTS = {"sample_weight", *HeldOut._fields}


class Job(NamedTuple):
    """A fit to be made.

    Attributes
    ----------
    estimator : estimator
        What is to be fitted; it changes.
    data : tuple
        Its X and y. Jobs on the same rows share them in memory if they have the same tuple.
    arguments : mapping
        Other arguments of its `fit`, by name.
    steps_key : hashable
        Equal for Pipelines whose steps before the last one are the same and have the same
        parameters. With the same data they are fitted once.
    """

    estimator: Any
    data: tuple[Any, Any]
    arguments: Mapping[str, Any]
    steps_key: Hashable = None


def check_has_network(estimator: object, caller: str) -> None:
    """Raise TypeError for an estimator that has no network to train."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, BaseMLP):
        raise TypeError(
            f"{caller} takes an MLPClassifier or MLPRegressor of fastbp.sklearn, or a Pipeline "
            f"that ends with one; got {type(last).__name__}"
        )


def fit_jobs(
    jobs: Sequence[Job],
    n_threads: int,
    *,
    catch: bool,
    judge: Judge[Exception | None] | None = None,
) -> list[Exception | None]:
    """Fit all estimators; returns for each the exception that its fit raised.

    A judge ends some of the fits at its rungs.

    An estimator that cannot be part of a population is fitted by itself: one of another class,
    one that scikit-learn's callbacks observe, one whose loss is a function in Python, and a
    Pipeline whose `fit` gets arguments for other steps than the last one. Without `catch`, an
    exception is raised, and before any training if the arguments of a network are refused.
    """
    data = _Data()
    engine = _core.Population(n_threads)
    rungs = () if judge is None else judge.rungs
    fits: list[_AnySteps] = []  # that have made their checks
    members: dict[int, list[_AnySteps]] = {}  # of those that are ensembles
    with ExitStack() as stack:
        for job in jobs:
            steps = _outcome(_fit_of(job, data, engine, rungs), catch=catch)
            stack.callback(steps.close)
            try:
                of_members = next(steps)  # after all its checks
            except StopIteration as end:
                steps, of_members = _ended(end.value), None
                next(steps)
            if of_members is not None:
                members[len(fits)] = [_outcome(each, catch=catch) for each in of_members]
            fits.append(steps)
        joined = _Joined([members.get(k, [steps]) for k, steps in enumerate(fits)])
        outcomes = joined.split(run_together(joined.fits, engine, joined.judged_by(judge)))
        return [
            end_of(steps, outcomes[k]) if k in members else outcomes[k][0]
            for k, steps in enumerate(fits)
        ]


def _ended(outcome: Exception | None) -> Steps[Exception | None]:
    """A fit that has ended before it began."""
    yield None
    return outcome


def _outcome(steps: _AnySteps, *, catch: bool) -> _AnySteps:
    """A fit that returns its exception, if `catch`."""
    try:
        return (yield from steps)
    except Exception as error:
        if not catch:
            raise
        return error


class _Joined:
    """The fits of jobs in one list, in which an ensemble has one for each member.

    Parameters
    ----------
    jobs : list of list of generator
        The fits of each job.
    """

    def __init__(self, jobs: Sequence[Sequence[_AnySteps]]) -> None:
        self.fits = [fit for fits in jobs for fit in fits]
        numbers = iter(range(len(self.fits)))
        self._numbers = [[next(numbers) for _ in fits] for fits in jobs]
        self._judge: Judge[Exception | None] | None = None

    def split(self, outcomes: Sequence[Exception | None]) -> list[list[Exception | None]]:
        """What the fits of each job returned."""
        return [[outcomes[k] for k in numbers] for numbers in self._numbers]

    # ---- as a judge of these fits, by one of jobs -----------------------------------------

    def judged_by(self, judge: Judge[Exception | None] | None) -> _Joined | None:
        """A judge of these fits, which asks one of jobs; None if there is none."""
        self._judge = judge
        return None if judge is None else self

    @property
    def rungs(self) -> Collection[int]:
        assert self._judge is not None
        return self._judge.rungs

    def judge(self, ended: Mapping[int, Exception | None]) -> set[int]:
        """The fits of the jobs that go on. A job has ended, or failed, when all its fits have."""
        assert self._judge is not None
        jobs = {
            i: None if None in (found := [ended[k] for k in numbers]) else found[0]
            for i, numbers in enumerate(self._numbers)
            if all(k in ended for k in numbers)
        }
        return {k for i in self._judge.judge(jobs) for k in self._numbers[i]}


def _fit_of(job: Job, data: _Data, engine: _core.Population, rungs: Collection[int]) -> _AnySteps:
    """The fit of one job."""
    est, (X, y) = job.estimator, job.data
    several = isinstance(est, Pipeline)
    last = est.steps[-1][1] if several else est
    arguments = _of_last_step(est, job.arguments) if several else job.arguments
    if not (_may_join(est) and _may_join(last) and _ARGUMENTS.issuperset(arguments)):
        yield None
        est.fit(X, y, **job.arguments)
        return
    if several:
        X = data.transformed(job)
    held_out = HeldOut(*(arguments.get(name) for name in HeldOut._fields))
    member = Member(engine, data.shared(X, y), rungs)
    yield from fit_steps(last, X, y, arguments.get("sample_weight"), held_out, member=member)


def _may_join(est: Any) -> bool:
    """Whether nothing belongs to the fit of an estimator but what is done here."""
    in_python = isinstance(getattr(est, "loss", None), CustomLoss)  # on the caller's thread
    return type(est).fit in _FITS and not hasattr(est, "_skl_callbacks") and not in_python


def _of_last_step(pipeline: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a Pipeline's `fit`; those of its last step by their names there."""
    if get_config()["enable_metadata_routing"]:  # they go where the steps request them
        return {f"any step's {name}": value for name, value in arguments.items()}
    prefix = f"{pipeline.steps[-1][0]}__"
    return {name.removeprefix(prefix): value for name, value in arguments.items()}


class _Data:
    """What jobs on the same data share."""

    def __init__(self) -> None:
        # With the objects whose addresses are the keys, so that no other object has these.
        self._shared: dict[tuple[int, int], tuple[object, object, Shared]] = {}
        self._transformed: dict[tuple[int, Hashable], tuple[object, list[Any], Any]] = {}

    def shared(self, X: object, y: object) -> Shared:
        """What the fits on X and y share."""
        key = id(X), id(y)
        if key not in self._shared:
            self._shared[key] = X, y, Shared()
        return self._shared[key][2]

    def transformed(self, job: Job) -> Any:
        """X after the steps before the last one, which are fitted, and put into the Pipeline."""
        if len(job.estimator.steps) == 1:
            return job.data[0]
        key = (id(job.data), job.steps_key)
        if key not in self._transformed:
            before = clone(job.estimator[:-1])
            X = before.fit_transform(*job.data)
            self._transformed[key] = job.data, before.steps, X
        _, steps, X = self._transformed[key]
        job.estimator.steps[:-1] = steps
        return X
