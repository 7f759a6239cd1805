"""The ways to train a network, one Protocol for all: gradient steps, a regression of the head, a differential equation."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Protocol

from ..lem import LEM
from . import storage
from .callbacks import Ended
from .checkpoint import Checkpoint
from .errors import FitDivergedError, FitWarning
from .field_network import FieldNetwork
from .field_readout import fit_field_readout
from .field_readout_network import FieldReadoutNetwork
from .flow_network import FlowNetwork
from .head_errors import luck
from .interrupts import Interrupted, again
from .network import IncrementNetwork
from .phases import spend, together
from .random_units import check_one_layer, with_random_units
from .readout import Judge, Problem, fit_readout
from .readout_network import ReadoutNetwork
from .recipe import Recipe
from .run import History, Stopped
from .seeds import torch_stream
from .series import Series
from .training import train

__all__ = ["FITTERS", "Auto", "Both", "Continuous", "Fitter", "Gradient", "Readout", "choose_fitter"]

# Washouts before the free runs that compare the two. States of a trained network are those of a pass along the series from its beginning,
# and from rest in its middle they take a while: of FitzHugh-Nagumo's v alone, with noise, six washouts.
SETTLED = 8


class Fitter(Protocol):
    """How a network is trained.

    Examples
    --------
    >>> class Nothing(Gradient):
    ...     def fit(self, network, series, judge, recipe, seed, verbose=1, checkpoint=None):
    ...         return network, History()
    >>> fitter: Fitter = Nothing()
    >>> print(fitter.fit(None, None, None, None, 0)[1].stopped)
    all steps done
    """

    def check(self, recipe: Recipe, checkpoint: str | os.PathLike[str] | None) -> None:
        """Before anything is done: ValueError for what would be ignored, OSError for a checkpoint that could not be written."""

    def draw(self, network: IncrementNetwork, seed: int) -> None:
        """Initial weights, the seed's."""

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        seed: int,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[IncrementNetwork, History]:
        """Learn from the series, and return the network, the given one or another, with the weights that `judge` found best."""

    def learn_held_out(self, network: IncrementNetwork, history: History) -> None:
        """When all has been judged: learn from `judge`, too, which was a part of the data that the fit itself held out."""


class Gradient:
    """All weights, by gradient steps: `lemode.surrogate.training.train`.

    Examples
    --------
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, window=20, washout=5, verbose=0, train="all")
    >>> len(model.fit(np.sin(np.linspace(0, 9, 91))[:, None]).history_.loss)
    5
    """

    def check(self, recipe: Recipe, checkpoint: str | os.PathLike[str] | None) -> None:
        """A checkpoint has to be writable."""
        if checkpoint is not None:
            storage.check_writable(checkpoint)

    def draw(self, network: IncrementNetwork, seed: int) -> None:
        """As torch and lemode draw them."""
        network.reset_parameters(torch_stream(seed, "weights"))

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        seed: int,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[IncrementNetwork, History]:
        """See `lemode.surrogate.training.train`."""
        return network, train(network, series, judge, recipe, torch_stream(seed, "batches"), verbose, checkpoint)

    def learn_held_out(self, network: IncrementNetwork, history: History) -> None:
        """Not by gradient steps, of which only what is held out says when they are enough."""


class Continuous(Gradient):
    """The map from sample to sample, then from there the differential equation: both by gradient steps.

    The history is that of both, one after the other. A fit that is interrupted in the first part goes no further.

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 10, 41)[:, None] + torch.arange(5))[..., None]
    >>> network = FlowNetwork(lemode.LEM(1, 2), 2, 1)
    >>> network.set_scales(waves)
    >>> series, recipe = Series(network.normalise(waves)), Recipe(steps=5, window=10, washout=5)
    >>> _, history = Continuous().fit(network, series, series, recipe, seed=0, verbose=0)
    >>> len(history.loss), history.validation[0][0], network.discrete
    (7, 5, False)
    """

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        seed: int,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[IncrementNetwork, History]:
        """The second part has a checkpoint of its own; that of the first is beside it."""
        assert isinstance(network, FlowNetwork)
        network.discrete, generator = True, torch_stream(seed, "batches")
        first = None if checkpoint is None else checkpoint.beside(".discrete")
        before = train(network, series, judge, recipe.discrete_part(), generator, verbose, first)
        network.discrete = False
        if before.stopped in (Stopped.INTERRUPTED, Stopped.CALLBACK):
            return network, before
        after = train(network, series, judge, recipe.continuous_part(), generator, verbose, checkpoint)
        if first is not None and after.stopped not in (Stopped.INTERRUPTED, Stopped.CALLBACK):
            first.remove()  # it would refuse the next fit
        return network, before.then(after)


class Readout:
    """The head alone, by least squares over a random core: `lemode.surrogate.readout.fit_readout`.

    Parameters
    ----------
    delays : previous values that are read beside the present one; chosen by default; there are none for a field
    parity : of a field, see `lemode.surrogate.field_readout_network.FieldReadoutNetwork`

    Examples
    --------
    >>> model = lemode.Surrogate(hidden_size=20, train="readout", window=20, washout=5, verbose=0)
    >>> print(model.fit(np.sin(np.linspace(0, 9, 91))[:, None]).history_.stopped)
    ridge regression done
    """

    problem: Problem | None = None

    def __init__(self, delays: int | None = None, parity: int | None = None) -> None:
        self.delays, self.parity = delays, parity

    def check(self, recipe: Recipe, checkpoint: str | os.PathLike[str] | None) -> None:
        """There is nothing to go on from, and nothing to weigh."""
        if checkpoint is not None:
            raise ValueError("checkpoint: train='readout' is one regression, with nothing to go on from; leave it out.")
        if recipe.weights is not None:
            raise ValueError("weights: train='readout' solves for every variable on its own; leave them out.")

    def draw(self, network: IncrementNetwork, seed: int) -> None:
        """As torch and lemode draw them: the network is the pattern of the one that is drawn."""
        network.reset_parameters(torch_stream(seed, "weights"))

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        seed: int,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[IncrementNetwork, History]:
        """See `lemode.surrogate.readout.fit_readout`, and for a field `fit_field_readout`; of the recipe they take the washout."""
        if isinstance(network, FieldNetwork):
            return fit_field_readout(network, series, judge, recipe.washout, seed, self.parity, verbose)
        out, history, self.problem = fit_readout(network, series, judge, recipe.washout, seed, self.delays, verbose)
        return out, history

    def learn_held_out(self, network: IncrementNetwork, history: History) -> None:
        """The head of a readout of a table, by the same least squares with more rows: `lemode.surrogate.readout.Problem`."""
        if self.problem is not None and isinstance(network, ReadoutNetwork):
            start = time.monotonic()
            self.problem.learn_held_out(network)
            spend(history.phases, "held-out part", time.monotonic() - start)


class Auto(Readout):
    """A readout and a trained network, of which the one with the smaller errors on the validation series is kept.

    Both count, the error of free runs and that of one step, by their geometric mean, and the trained one has to be better by more than
    `lemode.surrogate.head_errors.luck`. Free runs begin after `SETTLED` washouts at least, or half of a shorter series, and of ten
    series and more after all that comes before: who has a long one gives all of it to a forecast. ``history_.kept`` says which it was
    and by how much.
    A core that is no LEM is trained alone; a readout, as of a warm start, has its head solved for again. The readout comes first: where
    the training diverges, or is interrupted before it has got anywhere, there is a model, and a FitWarning.

    Parameters
    ----------
    delays, parity : as in `Readout`
    width : units of the readout

    Examples
    --------
    >>> model = lemode.Surrogate(hidden_size=2, train="auto", width=20, steps=5, window=20, washout=5, verbose=0)
    >>> model.fit(np.sin(np.linspace(0, 9, 91))[:, None]).history_.kept.split(":")[0]
    'readout'
    """

    def __init__(self, delays: int | None = None, width: int = 500, parity: int | None = None) -> None:
        super().__init__(delays, parity)
        self.width = width

    def check(self, recipe: Recipe, checkpoint: str | os.PathLike[str] | None) -> None:
        """A checkpoint has to be writable; it is one of the training."""
        Gradient().check(recipe, checkpoint)

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        seed: int,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[IncrementNetwork, History]:
        """The readout first: it takes seconds, and the training its budget."""
        if isinstance(network, (ReadoutNetwork, FieldReadoutNetwork)):
            return super().fit(network, series, judge, recipe, seed, verbose)
        solved: IncrementNetwork
        if isinstance(network, FieldNetwork):
            solved, by_solving = fit_field_readout(
                network, series, judge, recipe.washout, seed, self.parity, verbose, self.width
            )
        elif isinstance(network.core, LEM):
            solved, by_solving, self.problem = fit_readout(
                network, series, judge, recipe.washout, seed, self.delays, verbose, self.width
            )
        else:
            return Gradient().fit(network, series, judge, recipe, seed, verbose, checkpoint)
        try:
            trained, history = Gradient().fit(network, series, judge, recipe, seed, verbose, checkpoint)
        except (FitDivergedError, KeyboardInterrupt, Ended) as e:
            if isinstance(e, KeyboardInterrupt) and not isinstance(e, Interrupted) and again():
                raise
            why = "the training diverged" if isinstance(e, FitDivergedError) else "the training was interrupted"
            if isinstance(e, Ended):
                why = "a callback ended the training"
            by_solving.kept = f"readout: {why}"
            story = f" {e.story()}" if isinstance(e, Ended) else ""
            warnings.warn(f"{why} before it found any weights; the readout is kept.{story}", FitWarning, stacklevel=5)
            return solved, by_solving
        scale = Judge.along(judge, SETTLED * recipe.washout, seed).with_all_the_past()
        return keep_better("readout", solved, by_solving, trained, history, scale, verbose)


class Both(Auto):
    """All weights by gradient steps, then a head that is solved for, over the trained units and random ones that read them.

    What is better on the validation series is kept, compared as `Auto` does; ``history_.kept`` says which it was. A fit that is
    interrupted goes no further. A readout, as of a warm start, has its head solved for again.

    Examples
    --------
    >>> model = lemode.Surrogate(hidden_size=2, train="both", width=20, steps=5, window=20, washout=5, verbose=0)
    >>> model.fit(np.sin(np.linspace(0, 9, 91))[:, None]).history_.kept.split(":")[0]
    'exact head'
    """

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        seed: int,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[IncrementNetwork, History]:
        """The training first: the random units read what it has found."""
        if isinstance(network, ReadoutNetwork):
            return super().fit(network, series, judge, recipe, seed, verbose)
        check_one_layer(network)
        trained, history = Gradient().fit(network, series, judge, recipe, seed, verbose, checkpoint)
        if history.stopped in (Stopped.INTERRUPTED, Stopped.CALLBACK, Stopped.DIVERGED):
            return trained, history
        wide = with_random_units(trained, series, self.width, seed)
        solved, by_solving, self.problem = fit_readout(wide, series, judge, recipe.washout, seed, verbose=verbose)
        scale = Judge.along(judge, SETTLED * recipe.washout, seed).with_all_the_past()
        return keep_better("exact head", solved, by_solving, trained, history, scale, verbose)


def keep_better(
    name: str,
    solved: IncrementNetwork,
    by_solving: History,
    trained: IncrementNetwork,
    history: History,
    scale: Judge,
    verbose: int,
) -> tuple[IncrementNetwork, History]:
    """The network that was solved for, called so, or the trained one, and the history of both, which says why."""
    (free, one), (trained_free, trained_one) = scale.errors(solved), scale.errors(trained)
    # a geometric mean that is better by luck is none that is better
    wins = (1 - luck(scale.validation, trained.increment)) ** 2 * free * one <= trained_free * trained_one
    phases = together(by_solving.phases, history.phases)
    if wins:
        history = history.then(by_solving)
        history.chosen, history.tried = by_solving.chosen, by_solving.tried
    history.phases = phases
    history.kept = (
        f"{name if wins else 'trained network'}: errors on the validation series, of free runs and of one step, are {free:.2g} "
        f"and {one:.2g} of the {name}, {trained_free:.2g} and {trained_one:.2g} of the trained network"
    )
    if wins and trained_free * trained_one < free * one:
        history.kept += ", which is not better by more than chance would have it on values that are few, or move little"
    if verbose:
        print(f"fit: kept the {history.kept}", file=sys.stderr, flush=True)
    return (solved if wins else trained), history


# by the hyper-parameters train and continuous
FITTERS: dict[tuple[str, bool], Callable[[int | None, int], Fitter]] = {
    ("all", False): lambda delays, width: Gradient(),
    ("all", True): lambda delays, width: Continuous(),
    ("readout", False): lambda delays, width: Readout(delays),
    ("auto", False): Auto,
    ("auto", True): lambda delays, width: Continuous(),
    ("both", False): Both,
}


def choose_fitter(train: str, continuous: bool = False, delays: int | None = None, width: int = 500) -> Fitter:
    """The fitter for these hyper-parameters, of `FITTERS`; ValueError if there is none.

    Examples
    --------
    >>> type(choose_fitter("all", continuous=True)).__name__
    'Continuous'
    """
    if train not in {name for name, _ in FITTERS}:
        raise ValueError(
            f"train={train!r}: give 'all', 'readout' for the head alone, 'auto' for the better of the two, or 'both' for a head over "
            "what was trained."
        )
    if (train, bool(continuous)) not in FITTERS:
        raise ValueError(f"train={train!r} is for continuous=False: choose one of the two.")
    return FITTERS[train, bool(continuous)](delays, width)
