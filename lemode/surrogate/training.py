"""The training loop: windows of the series, a schedule, stages, and the best weights by validation."""

from __future__ import annotations

import copy
import math
import os
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..threads import one_thread
from . import checkpoint
from .data import Series, fill
from .errors import FitDivergedError, FitWarning
from .forecast import closed_loop, free_run_error, free_run_power
from .network import IncrementNetwork
from .recipe import FINE, FREE_POWER, FULL_MATRIX_LIMIT, LEAST_NOISE, Recipe, make_optimizer

__all__ = ["ALL_DONE", "History", "Series", "one_step_loss", "train"]


# of the validation series, whose free runs are looked at during a fit
FREE_RUNS = 4


# seconds after a Ctrl-C that ended a fit, in which another one ends the loop around it
AGAIN = 2.0

# A validation error beyond so many times that of persistence is none of a model
USELESS = 10.0

ALL_DONE = "all steps done"

_interrupted = -math.inf  # when Ctrl-C ended a fit


@dataclass
class History:
    """What happened: training loss at every step; validation error at some, in units of the increment's std; stages after the first.

    best_step is that of the weights that were kept, free_power what `lemode.surrogate.forecast.free_run_power` says of them, in fits
    that ask for it.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 601))[:, None]
    >>> history = lemode.Surrogate(hidden_size=2, steps=60, window=51, verbose=0).fit(wave).history_
    >>> history.stopped, len(history.loss), [step for step, error in history.validation]
    ('all steps done', 60, [50, 60])
    """

    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    free_power: float | None = None
    seconds: float = 0.0
    stopped: str = ALL_DONE
    stages: list[dict[str, Any]] = field(default_factory=list)


def train(
    network: IncrementNetwork,
    series: Series,
    validation: Series,
    recipe: Recipe,
    generator: torch.Generator,
    verbose: int = 1,
    save_to: str | os.PathLike[str] | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> History:
    """Fit `network` and leave in it the weights that were best in validation.

    The schedule of the learning rate follows the steps, or the clock where `max_time` is nearer. A fit whose loss is not finite for
    20 steps, or whose validation error is a thousand times its best, ends with the best weights and a FitWarning; without any, with FitDivergedError. With
    `save_to` everything is written there at every validation, and a fit that was cut off goes on from it, if the fingerprint is the same.
    Ctrl-C ends the fit with the best weights; a second one within two seconds is passed on, to end the loop around it.

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 20, 101)[:, None] + torch.arange(5))[..., None]
    >>> network = IncrementNetwork(lemode.LEM(1, 4), 4, 1)
    >>> network.set_scales(waves)
    >>> series, recipe = Series(network.normalise(waves)), Recipe(steps=100, window=20, washout=5, lr=0.03)
    >>> before = one_step_loss(network, series, washout=5).item()
    >>> history = train(network, series, series, recipe, torch.Generator().manual_seed(0), verbose=0)
    >>> history.stopped, one_step_loss(network, series, washout=5).item() < before / 2
    ('all steps done', True)
    """
    starts = _Starts(series, min(recipe.window, len(series.x) - 1), 8 * recipe.batch_size, recipe.start_counts)
    starts.fill(network)
    run = _Run(network, make_optimizer(network, recipe), generator, recipe, starts, fingerprint or {})
    if save_to is not None and os.path.exists(save_to):
        checkpoint.load(save_to, run)
    history = run.history
    small = sum(p.numel() for p in network.parameters()) <= FULL_MATRIX_LIMIT
    bar = tqdm(total=recipe.steps, initial=len(history.loss), disable=not verbose, unit="step", desc="fit", mininterval=0.5)
    start = time.monotonic() - history.seconds
    try:
        with one_thread(small):
            while run.stage < len(recipe.stages) and history.stopped == ALL_DONE:
                _run_stage(run, validation, start, bar, save_to)
    except KeyboardInterrupt:
        if run.best_weights is None or _again():
            raise
        history.stopped = "interrupted"
    finally:
        bar.close()
        history.seconds = time.monotonic() - start
    if run.best_weights is None and history.stopped != "diverged":  # ended before the first validation
        run.validate(validation)
    if run.best_weights is None or not run.best <= USELESS * max(1.0, _persistence(validation, network)):
        raise FitDivergedError(
            f"the fit diverged within {len(history.loss)} steps (last loss {history.loss[-1] if history.loss else math.nan:g}): "
            "lower lr, or check the data for jumps and outliers."
        )
    network.load_state_dict(run.best_weights)
    if history.stopped in ("diverged", "interrupted"):
        verb = "diverged" if history.stopped == "diverged" else "was interrupted"
        again = f" Ctrl-C again within {AGAIN:g} s ends what fits in a loop."
        warnings.warn(
            f"the fit {verb} at step {len(history.loss)}; the weights of step {history.best_step} (validation error {run.best:.3g} "
            f"increments) were restored.{'' if verb == 'diverged' else again}",
            FitWarning,
            stacklevel=5,
        )
    return history


def _again() -> bool:
    """Whether the Ctrl-C of now follows one that has ended a fit."""
    global _interrupted
    before, _interrupted = _interrupted, time.monotonic()
    return _interrupted - before < AGAIN


def _persistence(validation: Series, network: IncrementNetwork) -> float:
    """The error of the present value as prediction, in increments of the training data."""
    with torch.no_grad():
        steps = (validation.x[1:] - validation.x[:-1]) / network.increment
        return float(steps.square().mean().sqrt())


class _Run:
    """All that changes during a fit: what a checkpoint holds."""

    def __init__(
        self,
        network: IncrementNetwork,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        recipe: Recipe,
        starts: _Starts,
        fingerprint: dict[str, Any],
    ) -> None:
        self.fingerprint = fingerprint
        self.network, self.optimizer, self.generator, self.recipe, self.starts = network, optimizer, generator, recipe, starts
        self.peak = float(optimizer.param_groups[0]["lr"])
        self.history = History()
        self.stage, self.step = 0, 0  # step within the stage
        self.best, self.reached = math.inf, math.inf  # one-step error of the weights that are kept, and the smallest of all
        self.best_weights: dict[str, Tensor] | None = None
        self.progress = 0.0  # of the stage, by steps or by the clock
        self.before_weights: dict[str, Tensor] | None = None  # of a stage that fine-tunes, with their free-run error
        self.free_before = math.nan
        self.averages = [q.detach().clone() for q in network.parameters()] if recipe.average else []
        self.before_refresh = generator.get_state()  # a checkpoint repeats the refresh instead of storing its states

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
            washout = 0 if self.recipe.start_counts else min(self.recipe.washout, len(filled.x) // 2)
            error = math.sqrt(one_step_loss(self.network, filled, washout, self.recipe.weights).item())
            power = self.free_power(validation)
        self.history.validation.append((len(self.history.loss), error))
        self.reached = min(self.reached, error)
        if (not _stays(error, power), error) < (not _stays(self.best, self.history.free_power), self.best):
            self.best = error
            self.history.best_step, self.history.free_power = len(self.history.loss), power
            self.best_weights = copy.deepcopy(self.network.state_dict())
        self.swap_averages()
        self.before_refresh = self.generator.get_state()
        self.starts.refresh(self.network, self.generator)
        return error

    def free_power(self, validation: Series) -> float | None:
        """The power of free runs, if the recipe asks for it and the series are long enough."""
        warmup, steps = max(self.recipe.washout, 1), self.recipe.free_steps
        if not steps or len(validation.x) <= warmup:
            return None
        return free_run_power(self.network, validation.map(lambda s: s[:, :FREE_RUNS]), warmup, steps)


def _stays(error: float, power: float | None) -> bool:
    """Whether free runs stay on the attractor, by their power; that of persistence, whose error is one, says nothing."""
    return math.isfinite(error) and (power is None or (error < 0.5 and FREE_POWER[0] <= power <= FREE_POWER[1]))


def _run_stage(run: _Run, validation: Series, start: float, bar: Any, save_to: str | os.PathLike[str] | None) -> None:
    recipe, history, network = run.recipe, run.history, run.network
    name, steps = recipe.stages[run.stage], recipe.steps_of(run.stage)
    fine = run.stage > 0
    shares = [recipe.steps_of(k) / recipe.steps for k in range(len(recipe.stages))]
    opens, closes = sum(shares[: run.stage]), sum(shares[: run.stage + 1])
    if fine and run.before_weights is None:
        run.before_weights, run.free_before = copy.deepcopy(network.state_dict()), _free(run, validation)
    bad = 0
    while run.step < steps:
        history.seconds = time.monotonic() - start
        progress = run.step / steps
        if recipe.max_time is not None:
            progress = max(progress, (history.seconds / recipe.max_time - opens) / (closes - opens))
            if progress >= 1:
                if history.validation and history.validation[-1][0] < len(history.loss):
                    run.validate(validation)
                if run.stage == len(recipe.stages) - 1:
                    history.stopped = f"max_time={recipe.max_time:g} s reached"
                break
        run.progress = progress
        rate = min(1.0, (run.step + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * progress)) * (FINE if fine else 1.0)
        for group in run.optimizer.param_groups:
            group["lr"] = run.peak * rate
        run.optimizer.zero_grad(set_to_none=True)
        loss = _stage_loss(name, run)
        loss.backward()
        run.optimizer.step()
        run.step += 1
        run.update_averages()
        history.loss.append(loss.item())
        bad = bad + 1 if not math.isfinite(history.loss[-1]) else 0
        if run.step % recipe.validate_every == 0 or run.step == steps:
            error = run.validate(validation)
            bar.set_postfix_str(f"validation {error:.2e}, best {run.best:.2e}", refresh=False)
            if not error < 1e3 * max(run.reached, 1e-30):
                bad = 20
            if save_to is not None:
                checkpoint.save(save_to, run)
        if bad >= 20:
            history.stopped = "diverged"
            return
        bar.update()
    if run.before_weights is not None:  # the free run decides, with the last weights: the learning rate has gone to zero
        free_after = _free(run, validation)
        kept = free_after < run.free_before
        history.stages.append({"name": name, "free_run_before": run.free_before, "free_run_after": free_after, "kept": kept})
        if not kept:
            run.restore(run.before_weights)
        run.before_weights, run.best, run.reached = None, math.inf, math.inf
        run.validate(validation)
    elif run.best_weights is not None:
        run.restore(run.best_weights)
    run.stage, run.step = run.stage + 1, 0


def _free(run: _Run, validation: Series) -> float:
    T = len(validation.x)
    warmup = max(min(run.recipe.washout, T // 2), 1)
    return free_run_error(run.network, validation, warmup, horizon=T - warmup if T < 400 else T // 2)


def _stage_loss(name: str, run: _Run) -> Tensor:
    recipe, network = run.recipe, run.network
    window, state, washout = run.starts.draw(recipe.batch_size, min(recipe.washout, recipe.window) // 5, run.generator)
    if name == "closed-loop":
        warmup = max(1, min(recipe.washout, len(window.x) // 2))
        return closed_loop_loss(network, window.part(0, warmup + recipe.horizon), warmup, recipe.weights, state)
    level: float | Tensor = 0.0
    if name == "noise":
        level = recipe.noise * run.reached
    elif recipe.input_noise[0]:
        first, last = recipe.input_noise
        falling = first * (last / first) ** run.progress
        least = LEAST_NOISE * run.reached if run.history.validation else 0.0
        n = window.x.shape[1]  # in random order
        noisy = torch.arange(n) < max(1, round(recipe.noisy * n))
        level = max(falling, least) * noisy[:, None].to(window.x.dtype)
    return one_step_loss(network, window, washout, recipe.weights, state, level, run.generator)


class _Starts:
    """Where training windows may begin, and the network's state there.

    A window that starts from rest in the middle of a series would teach the network to wake up, over and over, and nothing of how it
    behaves once its state has settled. So a pass without gradients stores its states on a grid of times; they are as old as the last
    validation, which the first samples of a window make up for.
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
        """A batch of windows, the state before them, and how many of their first steps do not count in the loss."""
        rows = torch.randperm(len(self.rows), generator=generator)
        begin, state = self.states[int(torch.randint(0, len(self.states), (), generator=generator))]
        if self.series.mask is not None:  # a series that has ended before the window has nothing to teach there
            alive = self.series.mask[begin + 1 + washout : begin + self.window + 1].any(-1).any(0)[self.rows]
            rows = rows[alive[rows]] if alive.any() else rows
        rows = rows[:batch_size]
        window = self.series.cut(begin, begin + self.window + 1, self.rows[rows])
        return window, _take(state, rows), 0 if begin == 0 and self.start_counts else washout


def _take(state: Any, rows: Tensor) -> Any:
    """The rows of every tensor in a nested state; in all of them the series are the second dimension."""
    if isinstance(state, tuple):
        return tuple(_take(s, rows) for s in state)
    return None if state is None else state[:, rows]


def one_step_loss(
    network: IncrementNetwork,
    window: Series,
    washout: int,
    weights: tuple[float, ...] | None = None,
    state: Any = None,
    noise: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean square error of the scaled increments. With noise (in increments) on what is read, the target is still the true next value.

    The noise is one number, or ``(n, 1)``, one for each series.

    Examples
    --------
    A network that adds one at every step is right about the first step of 0, 1, 3, and wrong by one about the second:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> window = Series(torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1))
    >>> one_step_loss(network, window, washout=0).item(), one_step_loss(network, window, washout=1).item()
    (0.5, 1.0)
    """
    x = window.x[:-1]
    if isinstance(noise, Tensor) or noise:
        x = x + noise * network.increment * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    increments, _ = network(*window.part(0, -1)._replace(x=x).known(state))
    target = (window.x[1:] - x) / network.increment
    trust = None if window.mask is None else _trust(window.mask)[washout:]
    return _mean_square(increments[washout:] - target[washout:], weights, trust)


def closed_loop_loss(
    network: IncrementNetwork, window: Series, warmup: int, weights: tuple[float, ...] | None = None, state: Any = None
) -> Tensor:
    """Mean square error of a free run over the rest of the window, in increments, after `warmup` samples of truth."""
    x, _, _, mask = window
    head, rest = window.part(0, warmup), window.part(warmup, -1)
    predicted, state = network.step(*head.known(state))
    run = closed_loop(network, predicted[-1], state, len(x) - warmup - 1, rest.e, rest.r)
    free = torch.cat([predicted[-1:], run])
    return _mean_square((free - x[warmup:]) / network.increment, weights, None if mask is None else mask[warmup:])


def _trust(mask: Tensor) -> Tensor:
    """Weights ``(T - 1, n, D)`` of the errors: 0 where there is no target, and 1 / k^2 where the last value was seen k steps before it.

    What was predicted since has errors that add up; counted in full they would outweigh those of a single step, which are what is wanted.
    """
    index = torch.arange(len(mask))[:, None, None]
    seen = index.where(mask, torch.tensor(0)).cummax(0).values[:-1]
    return mask[1:] / (index[1:] - seen).square()


def _mean_square(error: Tensor, weights: tuple[float, ...] | None, trust: Tensor | None = None) -> Tensor:
    """Over what is observed: `trust` weighs the entries, and is 0 for those that are missing."""
    square = error.square()
    if weights is not None:
        w = error.new_tensor(weights)
        square = square * (w / w.mean())
    if trust is None:
        return square.mean()
    total = trust.sum(dtype=error.dtype)
    return (trust * square.where(trust > 0, 0.0)).sum() / total.where(total > 0, 1.0)
