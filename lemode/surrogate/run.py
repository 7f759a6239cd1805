"""The state of a fit that is under way: what it has found so far, where its windows may start, and its history."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from .forecast import fill, free_run_error, free_run_power
from .losses import one_step_loss
from .network import IncrementNetwork
from .phases import Phases, together
from .recipe import FREE_POWER, Recipe
from .series import Series

__all__ = ["FREE_RUNS", "History", "Run", "Starts", "Stopped", "take"]

# of the validation series, whose free runs are looked at during a fit
FREE_RUNS = 4


class Stopped(str, Enum):
    """Why a fit ended, in words; it is equal to them, and written to JSON as them.

    Examples
    --------
    >>> Stopped.ALL_DONE == "all steps done", f"{Stopped.MAX_TIME}"
    (True, 'max_time reached')
    """

    ALL_DONE = "all steps done"
    MAX_TIME = "max_time reached"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    CALLBACK = "ended by a callback"
    SOLVED = "ridge regression done"

    def __str__(self) -> str:  # Python 3.11 has StrEnum for it
        return str.__str__(self)

    def __format__(self, spec: str) -> str:
        return str.__format__(self, spec)

    @classmethod
    def _missing_(cls, value: object) -> Stopped | None:
        # of an older lemode, with the seconds
        return cls.MAX_TIME if isinstance(value, str) and value.startswith("max_time=") else None


@dataclass
class History:
    """What happened: training loss at every step; validation error at some, in units of the increment's std; stages after the first.

    best_step is that of the weights that were kept, free_power what `lemode.surrogate.forecast.free_run_power` says of them, in fits
    that ask for it. Of a readout, `chosen` says how its core was drawn, with which noise and ridge its head was solved, and its errors
    on the validation series beside those of the linear autoregression with the same inputs, in standard deviations; `tried` what else
    was looked at. Of train='auto', `kept` says which of two networks it is, and why. `phases` has ``seconds`` and ``peak_memory``, in bytes
    and of the whole process by then, of each part of the fit: 'data', 'readout', the stages, 'judging'. `settling` has errors of free
    runs by the samples of truth before them, `lemode.surrogate.settling`.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 601))[:, None]
    >>> history = lemode.Surrogate(hidden_size=2, steps=60, window=51, verbose=0, train="all").fit(wave).history_
    >>> print(history.stopped, len(history.loss), [step for step, error in history.validation])
    all steps done 60 [50, 60]
    """

    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    free_power: float | None = None
    seconds: float = 0.0
    stopped: Stopped = Stopped.ALL_DONE
    stages: list[dict[str, Any]] = field(default_factory=list)
    chosen: dict[str, float] = field(default_factory=dict)
    kept: str = ""
    tried: list[dict[str, float]] = field(default_factory=list)
    phases: Phases = field(default_factory=dict)
    settling: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # as JSON gives them back
        self.stopped = Stopped(self.stopped)
        self.validation = [(step, error) for step, error in self.validation]
        self.settling = [(samples, error) for samples, error in self.settling]

    def then(self, after: History) -> History:
        """The history of two fits, one after the other, of the same network."""
        done = len(self.loss)
        return History(
            loss=self.loss + after.loss,
            validation=self.validation + [(done + step, error) for step, error in after.validation],
            best_step=done + after.best_step,
            seconds=self.seconds + after.seconds,
            stopped=self.stopped if after.stopped == Stopped.ALL_DONE else after.stopped,
            stages=self.stages + after.stages,
            phases=together(self.phases, after.phases),
        )


class Run:
    """All that changes during a fit: what a checkpoint holds.

    Examples
    --------
    >>> network, series = IncrementNetwork(lemode.LEM(1, 2), 2, 1), Series(torch.linspace(0, 1, 20).reshape(20, 1, 1))
    >>> optimizer, generator = torch.optim.Adam(network.parameters()), torch.Generator().manual_seed(0)
    >>> run = Run(network, optimizer, generator, Recipe(washout=5), Starts(series, window=10))
    >>> error = run.validate(series)
    >>> run.best == error, run.history.validation[0][0], run.best_weights is None
    (True, 0, False)
    """

    def __init__(
        self,
        network: IncrementNetwork,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        recipe: Recipe,
        starts: Starts,
    ) -> None:
        self.network, self.optimizer, self.generator, self.recipe, self.starts = network, optimizer, generator, recipe, starts
        self.peak = float(optimizer.param_groups[0]["lr"])
        self.history = History()
        self.stage, self.step = 0, 0  # step within the stage
        self.bad = 0  # steps in a row whose loss was not finite
        self.best, self.reached = math.inf, math.inf  # one-step error of the weights that are kept, and the smallest of all
        self.best_weights: dict[str, Tensor] | None = None
        self.progress = 0.0  # of the stage, by steps or by the clock
        self.before_weights: dict[str, Tensor] | None = None  # of a stage that fine-tunes, with their free-run error
        self.free_before = math.nan
        self.forcing = 1.0  # of the stage "forced"
        self.averages = [q.detach().clone() for q in network.parameters()] if recipe.average else []
        # a checkpoint repeats the last refresh of the stored states instead of holding them
        self.before_refresh = generator.get_state()
        self.refreshed_with: dict[str, Tensor] | None = None

    @torch.no_grad()
    def update_averages(self) -> None:
        """The running average of the weights, over fewer steps at the beginning."""
        rate = min(self.recipe.average, self.step / (self.step + 10))
        for average, now in zip(self.averages, self.network.parameters()):
            average.lerp_(now, 1 - rate)

    @torch.no_grad()
    def swap_averages(self) -> None:
        """Exchange the weights and their averages, if there are any."""
        for average, now in zip(self.averages, self.network.parameters()):
            kept = now.clone()
            now.copy_(average)
            average.copy_(kept)

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Go on from these weights."""
        self.network.load_state_dict(weights)
        self.averages = [q.detach().clone() for q in self.network.parameters()] if self.averages else []

    def validate(self, validation: Series) -> float:
        self.swap_averages()
        with torch.no_grad():
            filled, _ = fill(self.network, validation, trailing=False)
            washout = filled.lead if self.recipe.start_counts else filled.warmup(self.recipe.washout)
            error = math.sqrt(one_step_loss(self.network, filled, washout, self.recipe.weights).item())
            power = self.free_power(validation)
        self.history.validation.append((len(self.history.loss), error))
        self.reached = min(self.reached, error)
        if (not _stays(error, power), error) < (not _stays(self.best, self.history.free_power), self.best):
            self.best = error
            self.history.best_step, self.history.free_power = len(self.history.loss), power
            self.best_weights = copy.deepcopy(self.network.state_dict())
        self.swap_averages()
        self.before_refresh, self.refreshed_with = self.generator.get_state(), copy.deepcopy(self.network.state_dict())
        self.starts.refresh(self.network, self.generator)
        return error

    def free_error(self, validation: Series) -> float:
        """How far free runs leave the truth; it judges the stages that fine-tune."""
        T, warmup = len(validation.x) - validation.lead, validation.warmup(self.recipe.washout)
        return free_run_error(self.network, validation, warmup, horizon=len(validation.x) - warmup if T < 400 else T // 2)

    def free_power(self, validation: Series) -> float | None:
        """The power of free runs, if the recipe asks for it and the series are long enough."""
        warmup, steps = max(self.recipe.washout, 1, validation.lead), self.recipe.free_steps
        if not steps or len(validation.x) <= warmup:
            return None
        return free_run_power(self.network, validation.map(lambda s: s[:, :FREE_RUNS]), warmup, steps)


def _stays(error: float, power: float | None) -> bool:
    """Whether free runs stay on the attractor, by their power; that of persistence, whose error is one, says nothing."""
    return math.isfinite(error) and (power is None or (error < 0.5 and FREE_POWER[0] <= power <= FREE_POWER[1]))


class Starts:
    """Where training windows may begin, and the network's state there.

    A window that starts from rest in the middle of a series would teach the network to wake up, over and over, and nothing of how it
    behaves once its state has settled. So a pass without gradients stores its states on a grid of times; they are as old as the last
    validation, which the first samples of a window make up for.

    Examples
    --------
    >>> network, generator = IncrementNetwork(lemode.LEM(1, 2), 2, 1), torch.Generator().manual_seed(0)
    >>> starts = Starts(Series(torch.zeros(50, 3, 1)), window=10)
    >>> starts.refresh(network, generator)
    >>> window, state, washout = starts.draw(2, 5, generator)
    >>> window.x.shape, len(starts.states) > 3
    (torch.Size([11, 2, 1]), True)
    """

    def __init__(self, series: Series, window: int, most: int | None = None, start_counts: bool = True) -> None:
        self.series, self.window, self.start_counts = series, window, start_counts
        self.most = series.x.shape[1] if most is None else most
        self.rows = torch.arange(series.x.shape[1])
        self.states: list[tuple[int, Any]] = [(0, None)]

    def fill(self, network: IncrementNetwork) -> None:
        """What is read where a value is missing: the network's own prediction, as old as the stored states."""
        self.series, _ = fill(network, self.series, trailing=False)

    @torch.no_grad()
    def refresh(self, network: IncrementNetwork, generator: torch.Generator) -> None:
        """Run along the series, or `most` of them; the grid is shifted at random, so that windows begin everywhere in time."""
        self.fill(network)
        last = len(self.series.x) - 1 - self.window
        self.states, state = [(0, None)], None
        n = self.series.x.shape[1]
        if n > self.most:
            self.rows = torch.randperm(n, generator=generator)[: self.most]
        if last < 1:
            return
        begin, end = 0, 1 + int(torch.randint(0, min(self.window, last), (), generator=generator))
        while end <= last:
            part = self.series.cut(begin, end, self.rows)
            _, state = network(*part.known(state))
            self.states.append((end, state))
            begin, end = end, end + self.window

    def draw(self, batch_size: int, washout: int, generator: torch.Generator) -> tuple[Series, Any, int]:
        """A batch of windows, the state before them, and how many of their first steps do not count in the loss.

        They begin at one time, and where the series are fewer than a batch at several: of one long series all are its windows. Those that
        begin with the series are drawn as often as others, and stay among themselves, as of these all steps may count.
        """
        rows = torch.randperm(len(self.rows), generator=generator)
        first = int(torch.randint(0, len(self.states), (), generator=generator))
        window, state, washout = self._at(first, rows, batch_size, washout)
        more = min(batch_size // len(rows), len(self.states) - 1) - 1
        if first == 0 or more < 1:
            return window, state, washout
        others = torch.randperm(len(self.states) - 2, generator=generator)[:more] + 1
        drawn = [(window, state)]
        for other in others.tolist():
            window, state, _ = self._at(other + (other >= first), rows, batch_size, washout)
            drawn.append((window, state))
        windows, states = zip(*drawn)
        return _beside(windows), _joined(states), washout

    def _at(self, start: int, rows: Tensor, batch_size: int, washout: int) -> tuple[Series, Any, int]:
        """The windows of some of these rows at one of the starts."""
        begin, state = self.states[start]
        if self.series.mask is not None:  # a series that has ended before the window has nothing to teach there
            alive = self.series.mask[begin + 1 + washout : begin + self.window + 1].any(-1).any(0)[self.rows]
            rows = rows[alive[rows]] if alive.any() else rows
        rows = rows[:batch_size]
        window = self.series.cut(begin, begin + self.window + 1, self.rows[rows])
        return window, take(state, rows), 0 if begin == 0 and self.start_counts else washout


def _beside(windows: Sequence[Series]) -> Series:
    """Windows of one length, side by side."""
    parts = (None if any(s is None for s in part) else torch.cat(part, 1) for part in zip(*(w[:4] for w in windows)))
    return Series(*parts)  # type: ignore[arg-type]


def _joined(states: Sequence[Any]) -> Any:
    """Nested states, the series side by side."""
    if isinstance(states[0], tuple):
        return tuple(_joined(part) for part in zip(*states, strict=True))
    return None if states[0] is None else torch.cat(list(states), 1)


def take(state: Any, rows: Tensor) -> Any:
    """The rows of every tensor in a nested state; in all of them the series are the second dimension.

    Examples
    --------
    >>> take((None, torch.tensor([[[1.0], [2.0]]])), torch.tensor([1]))
    (None, tensor([[[2.]]]))
    """
    if isinstance(state, tuple):
        return tuple(take(s, rows) for s in state)
    return None if state is None else state[:, rows]
