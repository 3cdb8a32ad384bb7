"""`fastbp.Population`: many networks that learn at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from os import PathLike
from signal import Signals
from typing import Any, overload

import numpy as np

from .._checks import arguments as check
from .._html import cell, heading, table_of_cells
from .._network.network import Network
from .._ranks.team import Team
from .._training.streams import Stream
from .._types import Array
from ..history import History
from ..metrics._metrics import Metric
from ..optim import LBFGS, Optimizer
from ..schedules._registry import Spec as ScheduleSpec
from ._each import made_alike, spread
from ._evolve import Evolution, Rules, check_rules, evolve, own_optimizers
from ._explain import PopulationExplanation, explain
from ._file import write_members
from ._halving import ONLY_OF_FIT, Bracket, Halving, Plan, check_factor, halve, plan_rungs
from ._over_ranks import fit_over_ranks
from ._select import HeldOut, select_members
from ._together import fit_together

_SHOWN = 20  # rows of the table in a notebook


class Population:
    """Networks that are trained in one call, each as it would be trained alone.

    The members may differ in hidden layers, activations, losses, dtype, penalties, dropout, norms
    and seeds; they have the same inputs and the same number of outputs. They are trained on all
    threads at the same time, a member on one thread, without waiting for each other, and after a
    fit each has the parameters that `Network.fit` would have given it, bit for bit.

    The members are the networks themselves, not copies: `population[k]` is one of them.

    Parameters
    ----------
    networks : iterable of Network
        The members, at least one, no two the same object.

    Raises
    ------
    TypeError, ValueError
        For something else than networks, for none, for the same one twice, and for networks whose
        numbers of inputs or outputs differ.

    Examples
    --------
    >>> import fastbp
    >>> nets = [fastbp.Network((2, width, 1), activation="tanh", seed=0) for width in (4, 8)]
    >>> population = fastbp.Population(nets)
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> histories = population.fit(X, y, epochs=[5, 7], batch_size=4)
    >>> [history.epochs for history in histories]
    [5, 7]
    >>> population.predict(X).shape
    (2, 4, 1)
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        members = list(networks)
        if not members:
            raise ValueError("a population needs at least one network")
        for k, net in enumerate(members):
            if not isinstance(net, Network):
                raise TypeError(f"member {k} must be a fastbp.Network; got {type(net).__name__}")
        if len({id(net) for net in members}) < len(members):
            raise ValueError("the same network is there twice: give a copy, net.copy()")
        n_in, n_out = members[0].widths[0], members[0].widths[-1]
        for k, net in enumerate(members):
            if (net.widths[0], net.widths[-1]) != (n_in, n_out):
                raise ValueError(
                    f"member {k} has {net.widths[0]} inputs and {net.widths[-1]} outputs; member 0 "
                    f"has {n_in} and {n_out}, and all must have the same"
                )
        self._members = tuple(members)

    @classmethod
    def of(
        cls, n: int, widths: Sequence[int], *, seeds: Iterable[int] | None = None, **options: Any
    ) -> Population:
        """Make n networks of the same widths.

        Parameters
        ----------
        n : int
            How many, at least 1.
        widths : sequence of int
            As for `Network`.
        seeds : iterable of int or None, default None
            The seeds of the members; None is 0 … n - 1.
        **options
            As for `Network`: one value for all, or a list with one each. A list of activations for
            all is a tuple.

        Examples
        --------
        >>> import fastbp
        >>> population = fastbp.Population.of(3, (4, 8, 2), activation=["relu", "tanh", "elu"])
        >>> [net.seed for net in population]
        [0, 1, 2]
        """
        n = check.check_positive_int(n, "n")
        numbers = list(range(n)) if seeds is None else list(seeds)
        if len(numbers) != n:
            raise ValueError(f"seeds has {len(numbers)} numbers; there are {n} members: one each")
        if "seed" in options:
            raise TypeError("the members have seeds: give seeds=[...], one each")
        each = {name: spread(name, value, n) for name, value in options.items()}
        chosen = [{name: values[k] for name, values in each.items()} for k in range(n)]
        return cls(made_alike(widths, numbers, chosen))

    # ---- a sequence of networks -----------------------------------------------------------

    def __len__(self) -> int:
        """The number of members."""
        return len(self._members)

    @overload
    def __getitem__(self, k: int) -> Network: ...
    @overload
    def __getitem__(self, k: slice) -> Population: ...
    def __getitem__(self, k: int | slice) -> Network | Population:
        """Member k; or a population of those of a slice."""
        return Population(self._members[k]) if isinstance(k, slice) else self._members[k]

    def __iter__(self) -> Iterator[Network]:
        """The members in their order."""
        return iter(self._members)

    # ---- training -------------------------------------------------------------------------

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        rows: Sequence[object] | None = None,
        epochs: int | list[int] = 10,
        initial_epoch: int | list[int] = 0,
        batch_size: int | list[int] = 64,
        accumulate: int | list[int] = 1,
        optimizer: str | Optimizer | LBFGS | list[str | Optimizer | LBFGS] = "adam",
        schedule: ScheduleSpec | list[ScheduleSpec | None] | None = None,
        shuffle: bool | list[bool] = True,
        sample_weight: object = None,
        class_weight: object = None,
        metrics: Iterable[Any] | Mapping[str, str | Metric] = (),
        validation_data: Sequence[object] | None = None,
        X_val: object = None,
        y_val: object = None,
        sample_weight_val: object = None,
        validation_split: float | list[float] = 0.0,
        time_budget: float | None = None,
        checkpoint: str | PathLike[str] | None = None,
        every: str | list[str] = "1 epoch",
        resume: bool | str | list[bool | str] = "auto",
        on_signal: bool | str | Signals | Sequence[str | Signals] = False,
        callbacks: Iterable[Any] = (),
        progress: bool = False,
        n_threads: int | None = None,
        comm: Any = None,
    ) -> list[History]:
        """Train all members at the same time, each as `Network.fit` would.

        Every argument is one value for all members, or a list with one each. Where a single value
        may be a list itself, one each is a list of lists: `metrics=[["f1"], ["f1", "accuracy"]]`.
        An optimiser, a schedule or a callback with a state, such as EarlyStopping, that is given
        for all is copied for each member, and stays as it is.

        Ctrl-C leaves every member after a whole step. A member whose J is not finite stops before
        that step, alone: its History says stopped_by "divergence".

        Parameters
        ----------
        X, y
            As for `Network.fit`. All members read the same arrays, which are never copied.
        rows : list of array_like (n_k,), or None, default None
            For each member, the numbers of the rows of X that are its samples, in their order, some
            perhaps several times: a fold, a bootstrap. Or a mask (n,). None for all rows; a member
            may have None too.
        epochs, initial_epoch, batch_size, accumulate, optimizer, schedule, shuffle
            As for `Network.fit`.
        sample_weight, class_weight
            As for `Network.fit`. Weights of samples are those of the rows of X, whatever `rows` is;
            balanced class weights are those of the member's rows.
        metrics, validation_data, X_val, y_val, sample_weight_val, validation_split
            As for `Network.fit`; what is split are the member's rows.
        time_budget, callbacks
            As for `Network.fit`. A budget begins for all members at the same time.
        checkpoint, every, resume
            As for `Network.fit`. In a folder for all, member 7 has the folder "member-0007".
        on_signal : bool, str or sequence of str, default False
            As for `Network.fit`, for all members: they write their checkpoints, each after a whole
            step, and then the signal has its effect.
        progress : bool, default False
            Whether to show the epochs of all members in one bar, or in lines without tqdm.
        n_threads : int or None, default None
            The most threads to use, None for `fastbp.get_num_threads()`.
        comm : mpi4py.MPI.Comm or None, default None
            Spread the members over the ranks of a communicator. Every rank calls `fit` with the
            same population, the same X and y and the same arguments, and has all members and
            histories afterwards, with the bits of a fit without `comm`. Parameters, seeds and
            optimisers are those of rank 0. Callbacks are called on the rank that has the member.
            See docs/populations.md.

        Returns
        -------
        list of History
            One for each member.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit, with a note that names the member, and with `comm` for
            what differs between the ranks; nothing has changed then.
        KeyboardInterrupt
            When interrupted, with `comm` on any rank.

        Examples
        --------
        Four networks on bootstraps of the same data:

        >>> import fastbp, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((100, 3)); y = X.sum(axis=1)
        >>> population = fastbp.Population.of(4, (3, 8, 1))
        >>> rows = [rng.integers(0, 100, 100) for _ in population]
        >>> histories = population.fit(X, y, rows=rows, epochs=20)
        >>> all(history.loss[-1] < history.loss[0] for history in histories)
        True
        """
        keywords = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "X", "y", "rows", "comm")
        }
        with nullcontext() if comm is None else Team(comm) as team:
            return self._trained(team, X, y, rows, keywords)

    def _trained(
        self,
        team: Team | None,
        X: object,
        y: object,
        rows: object,
        keywords: Mapping[str, object],
        judge: Bracket[History] | None = None,
        given: Mapping[str, object] | None = None,
    ) -> list[History]:
        """Train here, or on the ranks of a team; see `fit_over_ranks`."""
        if team is None:
            return fit_together(self._members, X, y, rows, keywords, judge)
        return fit_over_ranks(team, self._members, X, y, rows, keywords, judge, given)

    def evolve(
        self,
        X: object,
        y: object,
        *,
        validation_data: Sequence[object],
        rounds: int = 10,
        epochs: int = 1,
        optimizer: str | Optimizer | list[str | Optimizer] = "adam",
        quantile: float = 0.25,
        factors: Sequence[float] = (0.8, 1.25),
        metric: str | Metric | None = None,
        seed: int = 0,
        rows: Sequence[object] | None = None,
        batch_size: int | list[int] = 64,
        shuffle: bool | list[bool] = True,
        sample_weight: object = None,
        class_weight: object = None,
        n_threads: int | None = None,
        comm: Any = None,
    ) -> Evolution:
        """Train all members, and let the worst continue from the best with other learning rates.

        Population-based training (Jaderberg et al., arXiv:1711.09846, 2017). Members are trained
        in rounds. After each round but the last, those of the worst quantile take the parameters
        of members of the best one, and the hyper-parameters and moments of their optimisers, and
        multiply the copied learning rate by one of the factors. Which member and which factor is
        drawn, as `seed` says. The results are the same on any number of threads and ranks.

        Parameters
        ----------
        X, y
            As for `fit`, but no stream.
        validation_data : (X, y) or (X, y, sample_weight)
            Held-out data on which the members are compared.
        rounds : int, default 10
            How many rounds, at least 1.
        epochs : int, default 1
            Epochs of a round, at least 1.
        optimizer : str, Optimizer or list of them, default "adam"
            One for all is copied for each. Those of a list are trained themselves, as by `fit`;
            give them different rates. All are of one class, and not LBFGS.
        quantile : float, default 0.25
            The share of members that copy, 0 < quantile <= 0.5; at least one member does. Their
            number is rounded down. All members that diverged copy.
        factors : sequence of float, default (0.8, 1.25)
            Factors of the learning rate, greater than 0.
        metric : str, callable or None, default None
            As for `select`.
        seed : int, default 0
            Of the random choices.
        rows, batch_size, shuffle, sample_weight, class_weight, n_threads, comm
            As for `fit`.

        Returns
        -------
        Evolution
            The scores, the learning rates and the copies of each round.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit, for fewer than two members, and for members that differ
            in loss, dtype or layers (except for dropout); nothing has changed then.
        KeyboardInterrupt
            When interrupted; every member has made a whole step.

        Examples
        --------
        >>> import fastbp, numpy as np
        >>> X = np.linspace(-2, 2, 200)[:, None]; y = np.sin(2 * X)
        >>> population = fastbp.Population.of(8, (1, 16, 1), activation="tanh")
        >>> rates = [fastbp.optim.Adam(lr) for lr in np.geomspace(1e-4, 1e-1, 8)]
        >>> found = population.evolve(
        ...     X[::2], y[::2], validation_data=(X[1::2], y[1::2]), rounds=5, epochs=4,
        ...     optimizer=rates,
        ... )
        >>> found.scores.shape, int((found.parents[0] != np.arange(8)).sum())
        ((5, 8), 2)
        """
        keywords = dict(locals())
        of_fit = ("batch_size", "shuffle", "sample_weight", "class_weight", "n_threads")
        others = ("validation_data", "rounds", "quantile", "factors", "metric", "seed")
        given = {name: keywords[name] for name in others}

        def begin() -> tuple[Rules, list[Optimizer], HeldOut]:
            rules = check_rules(len(self), rounds, epochs, quantile, factors, seed)
            optimizers = own_optimizers(optimizer, self._members)
            if isinstance(X, Stream):
                raise TypeError("evolve takes arrays X and y; got a stream")
            return rules, optimizers, HeldOut(self._members, X, validation_data, metric, "evolve")

        def fit(initial_epoch: int, last: int) -> list[History]:
            options = ONLY_OF_FIT | {name: keywords[name] for name in of_fit}
            options |= {"initial_epoch": initial_epoch, "epochs": last, "accumulate": 1}
            options |= {"optimizer": list(optimizers), "schedule": None, "callbacks": ()}
            options |= {"time_budget": None, "progress": False}
            return self._trained(team, X, y, rows, options, None, given)

        with nullcontext() if comm is None else Team(comm) as team:
            rules, optimizers, held_out = begin() if team is None else team.alike(begin)
            return evolve(self._members, rules, held_out, optimizers, fit, team)

    def halve(
        self,
        X: object,
        y: object = None,
        *,
        validation_data: Sequence[object],
        epochs: int = 27,
        factor: float = 3,
        min_epochs: int | None = None,
        metric: str | Metric | None = None,
        rows: Sequence[object] | None = None,
        batch_size: int | list[int] = 64,
        accumulate: int | list[int] = 1,
        optimizer: str | Optimizer | LBFGS | list[str | Optimizer | LBFGS] = "adam",
        schedule: ScheduleSpec | list[ScheduleSpec | None] | None = None,
        shuffle: bool | list[bool] = True,
        sample_weight: object = None,
        class_weight: object = None,
        callbacks: Iterable[Any] = (),
        time_budget: float | None = None,
        progress: bool = False,
        n_threads: int | None = None,
        comm: Any = None,
    ) -> Halving:
        """Train all members for a few epochs, the best of them for more, and so on.

        Successive halving (Jamieson & Talwalkar, AISTATS 2016; Li et al., JMLR 18, 2018). At each
        rung, a number of epochs, the members are scored on held-out data. The best 1/factor go on
        with their fits; the fits of the others end. The members that are left at the last rung have
        the parameters of a whole fit by `fit` or `Network.fit`, bit for bit. A member whose fit has
        ended by itself, by a callback for example, is compared as it is.

        A schedule is that of the whole fit, so a member that ends early has not seen its end. A
        callback that restores parameters at the end of a fit, such as EarlyStopping, has not done
        so at a rung: the member is compared with those that it has then.

        Parameters
        ----------
        X, y
            As for `fit`.
        validation_data : (X, y) or (X, y, sample_weight)
            Held-out data on which the members are compared.
        epochs : int, default 27
            Epochs of a whole fit.
        factor : float, default 3
            The best 1/factor go on, rounded up; greater than 1.
        min_epochs : int or None, default None
            The first rung; each further one has `factor` times the epochs. None computes the rungs
            down from `epochs`, so many that at most `factor` members are left for the last one.
        metric : str, callable or None, default None
            As for `select`.
        rows, batch_size, accumulate, optimizer, schedule, shuffle, sample_weight, class_weight
            As for `fit`.
        callbacks, progress, n_threads, comm
            As for `fit`.
        time_budget : float or None, default None
            Seconds for the fits of all; those that have not ended then end after a whole step, and
            the best of them is the result.

        Returns
        -------
        Halving
            The rungs, the scores at each of them, and the best member.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit, and for members whose losses differ; nothing has changed
            then.
        KeyboardInterrupt
            When interrupted; every member has made a whole step.

        Examples
        --------
        >>> import fastbp, numpy as np
        >>> X = np.linspace(-2, 2, 200)[:, None]; y = np.sin(2 * X)
        >>> population = fastbp.Population.of(9, (1, 16, 1), activation="tanh")
        >>> rates = [fastbp.optim.Adam(lr) for lr in np.geomspace(1e-4, 1e-1, 9)]
        >>> found = population.halve(
        ...     X[::2], y[::2], validation_data=(X[1::2], y[1::2]), epochs=18, optimizer=rates
        ... )
        >>> found.rungs, [history.epochs for history in found.histories].count(18)
        ((2, 6, 18), 1)
        """
        keywords = dict(locals())
        of_halving = ("validation_data", "factor", "min_epochs", "metric")
        others = ("self", "X", "y", "rows", "comm", *of_halving)
        options = ONLY_OF_FIT | {k: value for k, value in keywords.items() if k not in others}
        given = {name: keywords[name] for name in of_halving}

        def begin() -> tuple[Plan, HeldOut]:
            plan = plan_rungs(
                len(self),
                check.check_positive_int(epochs, "epochs"),
                check_factor(factor),
                None if min_epochs is None else check.check_positive_int(min_epochs, "min_epochs"),
            )
            return plan, HeldOut(self._members, X, validation_data, metric, "halve")

        def fit(bracket: Bracket[History]) -> list[History]:
            return self._trained(team, X, y, rows, options, bracket, given)

        with nullcontext() if comm is None else Team(comm) as team:
            plan, held_out = begin() if team is None else team.alike(begin)
            return halve(self._members, plan, held_out, fit, team)

    # ---- predictions ----------------------------------------------------------------------

    def predict(self, X: object) -> Array:
        """The outputs of every member.

        Parameters
        ----------
        X : array_like (n, n_0) or sparse matrix
            The samples.

        Returns
        -------
        ndarray (K, n, n_L)
            Of the widest dtype among the members.
        """
        outputs = [net.predict(X) for net in self._members]
        return np.stack(outputs).astype(np.result_type(*outputs), copy=False)

    def predict_mean(self, X: object, members: Sequence[int] | None = None) -> Array:
        """The mean of the outputs over the members, (n, n_L).

        Parameters
        ----------
        X : array_like (n, n_0) or sparse matrix
            The samples.
        members : sequence of int or None, default None
            Numbers of members, some perhaps several times, as `select` returns them; None for all.
        """
        chosen = self._numbers_of(X, members)
        mean: Array = chosen.mean(axis=0, dtype=np.float64).astype(chosen.dtype)
        return mean

    def predict_spread(self, X: object, members: Sequence[int] | None = None) -> Array:
        """The standard deviation of the outputs over the members, (n, n_L): how far they disagree.

        Parameters
        ----------
        X, members
            As for `predict_mean`.
        """
        chosen = self._numbers_of(X, members)
        spread_of: Array = chosen.std(axis=0, dtype=np.float64).astype(chosen.dtype)
        return spread_of

    def _numbers_of(self, X: object, members: Sequence[int] | None) -> Array:
        """The outputs of the chosen members; TypeError for the classes of rows by name."""
        outputs = self.predict(X)
        if outputs.dtype.kind != "f":
            raise TypeError(
                "the members answer rows by name with classes, which have no mean; that of their "
                "probabilities is np.mean([net.predict_proba(X) for net in population], axis=0)"
            )
        return outputs if members is None else outputs[self._numbers(members)]

    def _numbers(self, members: Sequence[int]) -> list[int]:
        numbers = [check.check_count(k, "a number in members") for k in members]
        if not numbers or max(numbers) >= len(self):
            raise ValueError(
                f"members must hold numbers from 0 to {len(self) - 1}, at least one; got {members}"
            )
        return numbers

    def loss(self, X: object, y: object = None, sample_weight: object = None) -> Array:
        """J of every member, (K,).

        Parameters
        ----------
        X, y, sample_weight
            As for `Network.loss`.
        """
        return np.array([net.loss(X, y, sample_weight) for net in self._members])

    def select(
        self,
        X: object,
        y: object,
        metric: str | Metric | None = None,
        size: int = 25,
    ) -> list[int]:
        """Choose an ensemble greedily, by the score of its mean on held-out data.

        It begins with the best member, and adds the member with which the mean of all chosen ones
        scores best, again and again; a member may be chosen several times, which gives it more
        weight. Of all ensembles on this way, the best is returned. Caruana, Niculescu-Mizil, Crew
        & Ksikes, ICML 2004.

        Parameters
        ----------
        X, y
            Held-out samples and targets, as for `Network.loss`.
        metric : str, callable or None, default None
            A name of `fastbp.metrics`, or a function (outputs, targets, weights) -> number. None is
            the score of the members' loss.
        size : int, default 25
            The most members to choose, at least 1.

        Returns
        -------
        list of int
            Numbers of members, for `predict_mean` and `predict_spread`.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit, and for members whose losses differ.

        Examples
        --------
        >>> import fastbp, numpy as np
        >>> X = np.linspace(-1, 1, 40)[:, None]; y = X ** 2
        >>> population = fastbp.Population.of(5, (1, 8, 1), activation="tanh")
        >>> histories = population.fit(X, y, epochs=50, batch_size=8)
        >>> chosen = population.select(X, y, size=4)
        >>> 1 <= len(chosen) <= 4, population.predict_mean(X, chosen).shape
        (True, (40, 1))
        """
        return select_members(self._members, X, y, metric, check.check_positive_int(size, "size"))

    # ---- files ----------------------------------------------------------------------------

    def explain(
        self,
        X: object,
        y: object,
        *,
        batch_size: int = 64,
        optimizer: str | Optimizer = "adam",
        n_threads: int | None = None,
        seconds: float = 0.5,
    ) -> PopulationExplanation:
        """Measure how fast the members learn, and say which are trained side by side.

        The engine trains narrow members of one shape side by side, one in each lane of its vectors,
        if it expects that to be faster; their parameters get the same bits either way. The steps
        run on copies, shape by shape, so the members and the optimiser stay as they are.

        Parameters
        ----------
        X, y, n_threads
            As for `fit`, but no stream.
        batch_size : int, default 64
            Samples of a batch.
        optimizer : str or Optimizer, default "adam"
            It is copied for each; not LBFGS.
        seconds : float, default 0.5
            How long to run steps, more than 0.

        Returns
        -------
        PopulationExplanation
            The times, with a table as its `str`.

        Raises
        ------
        TypeError, ValueError
            As `fit` does, and for members whose steps do not run in the engine.

        Examples
        --------
        >>> population = Population.of(16, (4, 8, 1), activation="tanh")
        >>> found = population.explain([[0.5] * 4] * 64, [0.5] * 64, seconds=0.1)
        >>> found.shapes[0].widths, found.shapes[0].members
        ((4, 8, 1), 16)
        """
        return explain(self._members, X, y, batch_size, optimizer, n_threads, seconds)

    def save(self, path: str | PathLike[str]) -> None:
        """Write all members to one file, whole or not at all; `fastbp.load` reads it.

        The members keep their bits, `preprocessing` and `feature_names`. docs/formats.md describes
        the layout, in which every member has what its own model file would have.

        Parameters
        ----------
        path : path
            The file to write, by convention one that ends in .safetensors.

        Raises
        ------
        TypeError, ValueError
            For a member that `Network.save` refuses, with a note that names it, and for more than
            10,000 members or 65,536 arrays of parameters.
        OSError
            As `open` does.

        Examples
        --------
        >>> import fastbp
        >>> population = fastbp.Population.of(3, (2, 8, 1))
        >>> population.save("population.safetensors")
        >>> fastbp.load("population.safetensors")
        fastbp.Population(3 networks, (2, 8, 1))
        """
        write_members(path, self._members)

    # ---- how it shows itself --------------------------------------------------------------

    def __repr__(self) -> str:
        shapes = {net.widths for net in self._members}
        widths = str(shapes.pop()) if len(shapes) == 1 else f"{len(shapes)} shapes"
        networks = "1 network" if len(self) == 1 else f"{len(self)} networks"
        return f"fastbp.Population({networks}, {widths})"

    def _repr_html_(self) -> str:
        """A table of the members, for notebooks."""
        lines = []
        for k, net in enumerate(self._members[:_SHOWN]):
            names = ", ".join(str(activation) for activation in net.activations)
            shown = (k, net.widths, names, net.criterion.name, net.dtype, net.theta.size, net.seed)
            lines.append("".join(cell(str(value)) for value in shown))
        heads = ("", "widths", "activations", "loss", "dtype", "parameters", "seed")
        left = len(self) - len(lines)
        more = "" if left == 0 else f"<p>and {left} more</p>"
        title = heading("Population", f"of {len(self)}")
        return f"<div>{title}{table_of_cells(heads, lines)}{more}</div>"
