"""Whether a fit is worth anything: beside persistence, beside a linear autoregression, and where its free runs go."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .containment import edges
from .forecast import fill, free_run
from .network import IncrementNetwork
from .run import FREE_RUNS, History, Stopped
from .series import Series

__all__ = ["Worth", "is_trial", "measure", "verdict", "what_it_is_worth"]

# A fit of fewer steps, as they were asked for or the clock ended it, is a trial, and nobody takes it for the model of his data
TRIAL = 500
# Below this part of persistence's error a model has learned something, even where a straight line has learned more
LEARNED = 0.5
# on a random walk nobody is better than persistence, and whoever has learned of it is a little worse
MARGIN = 1.05
# free runs are looked at for so many steps, at most
STEPS = 500
# a free run that is at the bounds of the network for such a share of the time has left the data
HELD = 0.1
# for a linear autoregression, the most variables and inputs, and rows: it takes no time
WIDTH, ROWS = 64, 20_000


@dataclass(frozen=True)
class Worth:
    """What was measured on the validation series.

    Attributes
    ----------
    error, persistence, autoregression : root mean square errors one step ahead, in increments; nan where there is none to compare with
    left_at, left_by : the step at which a free run is more than one range of the training data outside of it, or at which it is held,
        if it is time and again, and the variable; None if none is

    Examples
    --------
    >>> Worth(error=0.1, persistence=1.0, autoregression=0.5).left_at is None
    True
    """

    error: float
    persistence: float
    autoregression: float
    left_at: int | None = None
    left_by: int = 0


@torch.no_grad()
def measure(
    network: IncrementNetwork,
    training: Series,
    judge: Series,
    warmup: int,
    along: tuple[Series, Tensor | None] | None = None,
) -> Worth:
    """One step ahead and in free runs on the series of `judge`, after `warmup` samples; all are normalised.

    `along` is what `fill` says of the series of `judge`, where it was asked already.

    Examples
    --------
    A network that adds a step of one is right about a ramp, and persistence is wrong by one; the ramp leaves its data:

    >>> from lemode import LEM
    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> ramp = Series(torch.arange(12.0).reshape(12, 1, 1))
    >>> found = measure(network, ramp, ramp, warmup=2)
    >>> found.error, found.persistence, found.left_at
    (0.0, 1.0, None)
    >>> measure(network, ramp.part(0, 3), ramp, warmup=2).left_at
    4
    """
    start = judge.warmup(warmup)
    _, predicted = fill(network, judge) if along is None else along
    assert predicted is not None
    weights = _linear(network, training)
    guesses = [predicted[:-1], judge.x[:-1]]
    if weights is not None:
        guesses.append(judge.x[:-1] + network.increment * (_features(judge, network.increment) @ weights))
    there = _seen(judge)[start:]
    errors = [_rms(((guess - judge.x[1:]) / network.increment)[start:][there]) for guess in guesses]
    left_at, left_by = _left(network, training, judge, start)
    return Worth(errors[0], errors[1], errors[2] if weights is not None else math.nan, left_at, left_by)


def verdict(found: Worth, names: tuple[str, ...], history: History) -> str | None:
    """A sentence about a fit that ran its course and is worth little; None for one that is, or that was a trial.

    Examples
    --------
    >>> history = History(loss=[0.5] * 1000)
    >>> print(verdict(Worth(1.7, 1.0, 0.82), ("v",), history).split(". ")[0].split("series is ")[1])
    1.7 increments, that of persistence 1, and that of a linear autoregression 0.82
    >>> verdict(Worth(0.1, 1.0, 0.05), ("v",), history), verdict(Worth(1.7, 1.0, 0.82), ("v",), History(loss=[0.5] * 20))
    (None, None)
    >>> print(verdict(Worth(0.1, 1.0, 0.05, left_at=3), ("v",), history).split(":")[0])
    free runs leave the data
    """
    if is_trial(history):
        return None
    beside = f"that of persistence {found.persistence:.3g}"
    if math.isfinite(found.autoregression):
        beside += f", and that of a linear autoregression {found.autoregression:.3g}"
    least = min(x for x in (found.persistence, found.autoregression, math.inf) if not math.isnan(x))
    if not found.error <= MARGIN * least and not found.error < LEARNED * found.persistence:
        return (
            f"the fit is worth little: one step ahead its error on the validation series is {found.error:.3g} increments, {beside}. "
            "Train for longer, bring more data, or take lemode.baselines.Autoregression."
        )
    if found.left_at is not None:
        return (
            f"free runs leave the data: after {found.left_at} steps along the validation series {names[found.left_by]} is far outside of "
            "the range of the training data, or would be if it were not held (one step ahead the error is "
            f"{found.error:.3g} increments, {beside}). "
            "Add stages=('one-step', 'noise'), train for longer, or forecast fewer steps."
        )
    return None


def what_it_is_worth(
    network: IncrementNetwork,
    training: Series,
    judge: Series,
    warmup: int,
    names: tuple[str, ...],
    history: History,
    along: tuple[Series, Tensor | None] | None = None,
) -> str | None:
    """The verdict on a fit, see `measure`; nothing is measured of a trial, nor of a field, whose surrogate looks at its free runs itself.

    Examples
    --------
    >>> from lemode import LEM
    >>> network, walk = IncrementNetwork(LEM(1, 2), 2, 1), Series(torch.randn(60, 1, 1, generator=torch.Generator().manual_seed(0)))
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.constant_(network.head.bias, 9.0)
    >>> what_it_is_worth(network, walk, walk, 5, ("v",), History(loss=[0.5] * 1000)).split(":")[0]
    'the fit is worth little'
    >>> what_it_is_worth(network, walk, walk, 5, ("v",), History(loss=[0.5] * 10)) is None
    True
    """
    if is_trial(history) or hasattr(network, "grid"):
        return None
    return verdict(measure(network, training, judge, warmup, along), names, history)


def is_trial(history: History) -> bool:
    """Whether a fit did not run its course, of which nothing is said: one that diverged or was interrupted says so itself.

    Examples
    --------
    >>> is_trial(History(loss=[0.5] * 20)), is_trial(History(loss=[0.5] * 1000)), is_trial(History(stopped=Stopped.SOLVED))
    (True, False, False)
    """
    if history.stopped in (Stopped.DIVERGED, Stopped.INTERRUPTED):
        return True
    return history.stopped != Stopped.SOLVED and len(history.loss) < TRIAL


def _run(network: IncrementNetwork, series: Series, warmup: int, steps: int) -> Tensor:
    e = series.e
    return free_run(
        network,
        series.x[:warmup],
        steps,
        None if e is None else e[:warmup],
        None if e is None else e[warmup : warmup + steps - 1],
    )


def _left(network: IncrementNetwork, training: Series, judge: Series, start: int) -> tuple[int | None, int]:
    """When a free run is a whole range of the training data outside of them, and in which variable."""
    few = judge.map(lambda s: s[:, :FREE_RUNS])
    steps = min(STEPS, len(few.x) - start)
    if few.r is not None or few.mask is not None or steps < 1:
        return None, 0
    low, high = training.x.amin((0, 1)), training.x.amax((0, 1))
    run = _run(network, few, start, steps)
    held = edges(network, run)
    outside = ~((run >= low - (high - low)) & (run <= high + (high - low))) & (high > low)
    outside |= held & (held.double().mean(0) > HELD)
    if not bool(outside.any()):
        return None, 0
    step, _, variable = (int(i) for i in outside.nonzero()[0])
    return step + 1, variable


def _seen(series: Series) -> Tensor:
    """The targets that are there, with the two values before them."""
    if series.mask is None:
        return torch.ones_like(series.x[1:], dtype=torch.bool)
    m = series.mask
    return m[1:] & m[:-1] & torch.cat([m[:1], m[:-2]])


def _features(series: Series, increment: Tensor) -> Tensor:
    """What a linear autoregression of order two reads: one, the value, its last step, and the inputs."""
    x = series.x[:-1]
    step = torch.cat([torch.zeros_like(x[:1]), x[1:] - x[:-1]]) / increment
    return torch.cat([torch.ones_like(x[..., :1]), x, step, *([] if series.e is None else [series.e[:-1]])], -1)


def _linear(network: IncrementNetwork, training: Series) -> Tensor | None:
    """Its coefficients by least squares; None for too many variables, or samples at uneven times."""
    wide = training.x.shape[-1] + (0 if training.e is None else training.e.shape[-1])
    if wide > WIDTH or training.r is not None or len(training.x) < 3:
        return None
    there = _seen(training).all(-1)
    there[0] = False
    features = _features(training, network.increment)[there][:ROWS]
    targets = ((training.x[1:] - training.x[:-1]) / network.increment)[there][:ROWS]
    if len(features) < features.shape[-1]:
        return None
    solution = torch.linalg.lstsq(features.double(), targets.double(), driver="gelsd").solution
    return solution.to(training.x.dtype)


def _rms(error: Tensor) -> float:
    return float(error.double().square().mean().sqrt()) if error.numel() else math.nan
