"""The ways to train a network, one Protocol for all: gradient steps, a regression of the head, a differential equation."""

from __future__ import annotations

import os
from typing import Protocol

import torch

from . import storage
from .checkpoint import Checkpoint
from .data import Series
from .flow_network import FlowNetwork
from .network import IncrementNetwork
from .readout import draw, fit_readout
from .recipe import Recipe
from .run import History, Stopped
from .seeds import torch_stream
from .training import train

__all__ = ["FITTERS", "Continuous", "Fitter", "Gradient", "Readout", "choose_fitter"]


class Fitter(Protocol):
    """How a network is trained.

    Examples
    --------
    >>> class Nothing(Gradient):
    ...     def fit(self, network, series, judge, recipe, generator, verbose=1, checkpoint=None):
    ...         return History()
    >>> fitter: Fitter = Nothing()
    >>> print(fitter.fit(None, None, None, None, None).stopped)
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
        generator: torch.Generator,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Learn from the series, and leave in the network the weights that `judge` found best."""


class Gradient:
    """All weights, by gradient steps: `lemode.surrogate.training.train`.

    Examples
    --------
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, window=20, washout=5, verbose=0)
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
        generator: torch.Generator,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """See `lemode.surrogate.training.train`."""
        return train(network, series, judge, recipe, generator, verbose, checkpoint)


class Continuous(Gradient):
    """The map from sample to sample, then from there the differential equation: both by gradient steps.

    The history is that of both, one after the other. A fit that is interrupted in the first part goes no further.

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 10, 41)[:, None] + torch.arange(5))[..., None]
    >>> network = FlowNetwork(lemode.LEM(1, 2), 2, 1)
    >>> network.set_scales(waves)
    >>> series, recipe = Series(network.normalise(waves)), Recipe(steps=5, window=10, washout=5)
    >>> history = Continuous().fit(network, series, series, recipe, torch.Generator().manual_seed(0), verbose=0)
    >>> len(history.loss), history.validation[0][0], network.discrete
    (7, 5, False)
    """

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        generator: torch.Generator,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """The second part has a checkpoint of its own; that of the first is beside it."""
        assert isinstance(network, FlowNetwork)
        network.discrete = True
        first = None if checkpoint is None else checkpoint.beside(".discrete")
        before = train(network, series, judge, recipe.discrete_part(), generator, verbose, first)
        network.discrete = False
        if before.stopped == Stopped.INTERRUPTED:
            return before
        return before.then(train(network, series, judge, recipe.continuous_part(), generator, verbose, checkpoint))


class Readout:
    """The head alone, by ridge regression over a random core: `lemode.surrogate.readout.fit_readout`.

    Examples
    --------
    >>> model = lemode.Surrogate(hidden_size=20, train="readout", window=20, washout=5, verbose=0)
    >>> print(model.fit(np.sin(np.linspace(0, 9, 91))[:, None]).history_.stopped)
    ridge regression done
    """

    def check(self, recipe: Recipe, checkpoint: str | os.PathLike[str] | None) -> None:
        """There is nothing to go on from, and nothing to weigh."""
        if checkpoint is not None:
            raise ValueError("checkpoint: train='readout' is one regression, with nothing to go on from; leave it out.")
        if recipe.weights is not None:
            raise ValueError("weights: train='readout' solves for every variable on its own; leave them out.")

    def draw(self, network: IncrementNetwork, seed: int) -> None:
        """Those of the core wider than for training."""
        network.reset_parameters(torch_stream(seed, "weights"))
        draw(network.core, torch_stream(seed, "weights"))

    def fit(
        self,
        network: IncrementNetwork,
        series: Series,
        judge: Series,
        recipe: Recipe,
        generator: torch.Generator,
        verbose: int = 1,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """See `lemode.surrogate.readout.fit_readout`; of the recipe it takes the washout."""
        return fit_readout(network, series, judge, recipe.washout)


# by the hyper-parameters train and continuous
FITTERS: dict[tuple[str, bool], Fitter] = {
    ("all", False): Gradient(),
    ("all", True): Continuous(),
    ("readout", False): Readout(),
}


def choose_fitter(train: str, continuous: bool = False) -> Fitter:
    """The fitter for these hyper-parameters, of `FITTERS`; ValueError if there is none.

    Examples
    --------
    >>> type(choose_fitter("all", continuous=True)).__name__
    'Continuous'
    """
    if train not in ("all", "readout"):
        raise ValueError(f"train={train!r}: give 'all', or 'readout' for the head alone.")
    if (train, bool(continuous)) not in FITTERS:
        raise ValueError("train='readout' is for continuous=False: choose one of the two.")
    return FITTERS[train, bool(continuous)]
