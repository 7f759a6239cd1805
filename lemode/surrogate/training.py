"""The training loop: windows of the series, a schedule, stages, and the best weights by validation."""

from __future__ import annotations

import copy
import math
import time
import warnings

import torch
from torch import Tensor

from ..threads import one_thread
from .checkpoint import Checkpoint
from .errors import FitDivergedError, FitWarning
from .losses import closed_loop_loss, one_step_loss
from .network import IncrementNetwork
from .progress import Progress
from .recipe import FINE, FULL_MATRIX_LIMIT, LEAST_NOISE, Recipe, make_optimizer
from .run import History, Run, Starts, Stopped
from .series import Series

__all__ = ["train"]

# seconds after a Ctrl-C that ended a fit, in which another one ends the loop around it
AGAIN = 2.0

# A validation error beyond so many times that of persistence is none of a model
USELESS = 10.0

_interrupted = -math.inf  # when Ctrl-C ended a fit


def train(
    network: IncrementNetwork,
    series: Series,
    validation: Series,
    recipe: Recipe,
    generator: torch.Generator,
    verbose: int = 1,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Fit `network` and leave in it the weights that were best in validation.

    The schedule of the learning rate follows the steps, or the clock where `max_time` is nearer. A fit whose loss is not finite for
    20 steps, or whose validation error is a thousand times its best, ends with the best weights and a FitWarning; without any, with
    FitDivergedError. With a checkpoint everything is written there at every validation, and a fit that was cut off goes on from it,
    if it is that fit's. Ctrl-C ends the fit with the best weights; a second one within two seconds is passed on, to end the loop
    around it.

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 20, 101)[:, None] + torch.arange(5))[..., None]
    >>> network = IncrementNetwork(lemode.LEM(1, 4), 4, 1)
    >>> network.set_scales(waves)
    >>> series, recipe = Series(network.normalise(waves)), Recipe(steps=100, window=20, washout=5, lr=0.03)
    >>> before = one_step_loss(network, series, washout=5).item()
    >>> history = train(network, series, series, recipe, torch.Generator().manual_seed(0), verbose=0)
    >>> print(history.stopped, one_step_loss(network, series, washout=5).item() < before / 2)
    all steps done True
    """
    starts = Starts(series, min(recipe.window, len(series.x) - 1), 8 * recipe.batch_size, recipe.start_counts)
    starts.fill(network)
    run = Run(network, make_optimizer(network, recipe), generator, recipe, starts)
    if checkpoint is not None:
        checkpoint.load(run)
    history = run.history
    small = sum(p.numel() for p in network.parameters()) <= FULL_MATRIX_LIMIT
    progress = Progress(recipe.steps, len(history.loss), verbose)
    start = time.monotonic() - history.seconds
    try:
        with one_thread(small):
            while run.stage < len(recipe.stages) and history.stopped == Stopped.ALL_DONE:
                _run_stage(run, validation, start, progress, checkpoint)
    except KeyboardInterrupt:
        if run.best_weights is None or again():
            raise
        history.stopped = Stopped.INTERRUPTED
    finally:
        progress.close()
        history.seconds = time.monotonic() - start
    if run.best_weights is None and history.stopped != Stopped.DIVERGED:  # ended before the first validation
        run.validate(validation)
    if run.best_weights is None or not run.best <= USELESS * max(1.0, _persistence(validation, network)):
        raise FitDivergedError(
            f"the fit diverged within {len(history.loss)} steps (last loss {history.loss[-1] if history.loss else math.nan:g}): "
            "lower lr, or check the data for jumps and outliers."
        )
    network.load_state_dict(run.best_weights)
    if history.stopped in (Stopped.DIVERGED, Stopped.INTERRUPTED):
        verb = "diverged" if history.stopped == Stopped.DIVERGED else "was interrupted"
        twice = f" Ctrl-C again within {AGAIN:g} s ends what fits in a loop."
        warnings.warn(
            f"the fit {verb} at step {len(history.loss)}; the weights of step {history.best_step} (validation error {run.best:.3g} "
            f"increments) were restored.{'' if verb == 'diverged' else twice}",
            FitWarning,
            stacklevel=5,
        )
    return history


def again() -> bool:
    """Whether the Ctrl-C of now follows one that has ended a fit; it counts from now on as one that has."""
    global _interrupted
    before, _interrupted = _interrupted, time.monotonic()
    return _interrupted - before < AGAIN


def _persistence(validation: Series, network: IncrementNetwork) -> float:
    """The error of the present value as prediction, in increments of the training data."""
    with torch.no_grad():
        x = validation.x[validation.lead :]
        steps = (x[1:] - x[:-1]) / network.increment
        return float(steps.square().mean().sqrt())


def _run_stage(run: Run, validation: Series, start: float, progress: Progress, checkpoint: Checkpoint | None) -> None:
    recipe, history, network = run.recipe, run.history, run.network
    name, steps = recipe.stages[run.stage], recipe.steps_of(run.stage)
    fine = run.stage > 0
    shares = [recipe.steps_of(k) / recipe.steps for k in range(len(recipe.stages))]
    opens, closes = sum(shares[: run.stage]), sum(shares[: run.stage + 1])
    if fine and run.before_weights is None:
        run.before_weights, run.free_before = copy.deepcopy(network.state_dict()), run.free_error(validation)
    bad = 0
    while run.step < steps:
        history.seconds = time.monotonic() - start
        run.progress = run.step / steps
        if recipe.max_time is not None:
            run.progress = max(run.progress, (history.seconds / recipe.max_time - opens) / (closes - opens))
            if run.progress >= 1:
                if history.validation and history.validation[-1][0] < len(history.loss):
                    run.validate(validation)
                if run.stage == len(recipe.stages) - 1:
                    history.stopped = Stopped.MAX_TIME
                break
        rise = min(1.0, (run.step + 1) / recipe.lr_rise)
        rate = rise * 0.5 * (1 + math.cos(math.pi * run.progress)) * (FINE if fine else 1.0)
        for group in run.optimizer.param_groups:
            group["lr"] = run.peak * rate
        run.optimizer.zero_grad(set_to_none=True)
        loss = _stage_loss(name, run)
        loss.backward()
        run.optimizer.step()
        run.step += 1
        run.update_averages()
        history.loss.append(loss.item())
        progress.step()
        bad = bad + 1 if not math.isfinite(history.loss[-1]) else 0
        if run.step % recipe.validate_every == 0 or run.step == steps:
            error = run.validate(validation)
            progress.validated(error, run.best)
            if not error < 1e3 * max(run.reached, 1e-30):
                bad = 20
            if checkpoint is not None:
                checkpoint.save(run)
        if bad >= 20:
            history.stopped = Stopped.DIVERGED
            return
    if run.before_weights is not None:  # the free run decides, with the last weights: the learning rate has gone to zero
        free_after = run.free_error(validation)
        kept = free_after < run.free_before
        history.stages.append({"name": name, "free_run_before": run.free_before, "free_run_after": free_after, "kept": kept})
        if not kept:
            run.restore(run.before_weights)
        run.before_weights, run.best, run.reached = None, math.inf, math.inf
        run.validate(validation)
    elif run.best_weights is not None:
        run.restore(run.best_weights)
    run.stage, run.step = run.stage + 1, 0


def _stage_loss(name: str, run: Run) -> Tensor:
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
