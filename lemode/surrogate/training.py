"""The training loop: windows of the series, a schedule, stages, and the best weights by validation."""

from __future__ import annotations

import copy
import math
import time
import warnings
from typing import Any

import torch
from torch import Tensor

from ..threads import one_thread
from .callbacks import Ended
from .checkpoint import Checkpoint
from .errors import FitDivergedError, FitWarning
from .flow_network import FlowNetwork
from .forcing import forcing_strength
from .interrupts import AGAIN, Interrupted, Interrupts, again
from .losses import closed_loop_loss, forced_loss, one_step_loss, trust
from .network import IncrementNetwork
from .phases import spend
from .processes import Processes, processes
from .progress import Progress
from .recipe import FINE, FULL_MATRIX_LIMIT, LEAST_NOISE, Recipe, make_optimizer
from .run import History, Run, Starts, Stopped, take
from .series import Series

__all__ = ["train"]

# A validation error beyond so many times that of persistence is none of a model
USELESS = 10.0

# steps in a row without a finite loss, which end a fit
MOST_BAD = 20


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
    FitDivergedError. With a checkpoint everything is written there when it is due, and a fit that was cut off goes on from it,
    if it is that fit's. Ctrl-C and SIGTERM end the fit after the step with the best weights, and the checkpoint is of that step; a second
    one within two seconds is passed on, to end the loop around it.

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
        processes().check_alike({"checkpoint": (run.stage, run.step)})
    history = run.history
    small = sum(p.numel() for p in network.parameters()) <= FULL_MATRIX_LIMIT
    progress = Progress(recipe.steps, len(history.loss), verbose)
    start, ended = time.monotonic() - history.seconds, None
    try:
        with one_thread(small), Interrupts() as interrupts:
            try:
                while run.stage < len(recipe.stages) and history.stopped == Stopped.ALL_DONE:
                    _run_stage(run, validation, start, progress, checkpoint, interrupts)
                with processes().ending_together(interrupts):
                    pass
            except (Interrupted, Ended):
                if checkpoint is not None:  # the step is done; one that was broken off in its middle is no state to go on from
                    checkpoint.save(run)
                raise
    except KeyboardInterrupt as e:
        if run.best_weights is None or (not isinstance(e, Interrupted) and again()):
            raise
        history.stopped = Stopped.INTERRUPTED
    except Ended as e:
        if run.best_weights is None and e.error is not None:
            raise
        history.stopped, ended = Stopped.CALLBACK, e
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
    why = {Stopped.DIVERGED: "the fit diverged", Stopped.INTERRUPTED: "the fit was interrupted"}.get(history.stopped, "")
    if ended is not None and ended.error is not None:
        why = "a callback ended the fit"
    if why:
        twice = f" Ctrl-C again within {AGAIN:g} s ends what fits in a loop." if history.stopped == Stopped.INTERRUPTED else ""
        warnings.warn(
            f"{why} at step {len(history.loss)}; the weights of step {history.best_step} (validation error {run.best:.3g} "
            f"increments) were restored.{twice}{f' {ended.story()}' if ended is not None else ''}",
            FitWarning,
            stacklevel=5,
        )
    return history


def _persistence(validation: Series, network: IncrementNetwork) -> float:
    """The error of the present value as prediction, in increments of the training data."""
    with torch.no_grad():
        x = validation.x[validation.lead :]
        steps = (x[1:] - x[:-1]) / network.increment
        return float(steps.square().mean().sqrt())


def _run_stage(
    run: Run, validation: Series, start: float, progress: Progress, checkpoint: Checkpoint | None, interrupts: Interrupts
) -> None:
    recipe, history, network, group = run.recipe, run.history, run.network, processes()
    name, steps = recipe.stages[run.stage], recipe.steps_of(run.stage)
    fine = run.stage > 0
    label = f"continuous {name}" if isinstance(network, FlowNetwork) and not network.discrete else name
    shares = [recipe.steps_of(k) / recipe.steps for k in range(len(recipe.stages))]
    opens, closes = sum(shares[: run.stage]), sum(shares[: run.stage + 1])
    if fine and run.before_weights is None:
        run.before_weights, run.free_before = copy.deepcopy(network.state_dict()), run.free_error(validation)
    if name == "forced":  # of the weights before the stage, so that a fit that goes on from its middle finds the same
        before = copy.deepcopy(network)
        before.load_state_dict(run.before_weights or {})
        run.forcing = forcing_strength(before, validation)
    last = time.monotonic()
    while run.step < steps and run.bad < MOST_BAD:
        history.seconds = time.monotonic() - start
        run.progress = run.step / steps
        if recipe.max_time is not None:
            history.seconds = group.first(history.seconds)
            run.progress = max(run.progress, (history.seconds / recipe.max_time - opens) / (closes - opens))
            if run.progress >= 1:
                if history.validation and history.validation[-1][0] < len(history.loss):
                    run.validate(validation)
                if checkpoint is not None:
                    checkpoint.save(run)
                if run.stage == len(recipe.stages) - 1:
                    history.stopped = Stopped.MAX_TIME
                break
        rise = min(1.0, (run.step + 1) / recipe.lr_rise)
        rate = rise * 0.5 * (1 + math.cos(math.pi * run.progress)) * (FINE if fine else 1.0)
        for parameters in run.optimizer.param_groups:
            parameters["lr"] = run.peak * rate
        run.optimizer.zero_grad(set_to_none=True)
        loss = _stage_loss(name, run)
        loss.backward()
        group.add_gradients(network.parameters())
        run.optimizer.step()
        run.step += 1
        run.update_averages()
        history.loss.append(group.sum(loss.item())[0])
        run.bad = run.bad + 1 if not math.isfinite(history.loss[-1]) else 0
        error = None
        if run.step % recipe.validate_every == 0 or run.step == steps:
            error = run.validate(validation)
            if not error < 1e3 * max(run.reached, 1e-30):
                run.bad = MOST_BAD
        due = checkpoint is not None and checkpoint.due(validated=error is not None, last=run.step == steps)
        if due or error is not None:
            now = time.monotonic()
            spend(history.phases, label, now - last)
            last = now
        if checkpoint is not None and due:
            checkpoint.save(run)
        # from here on the step is done
        with group.ending_together(interrupts):
            progress.step(stage=label, loss=history.loss[-1], lr=run.peak * rate, seconds=time.monotonic() - start)
            if error is not None:
                progress.validated(error, run.best, stage=label, seconds=time.monotonic() - start)
    if run.bad >= MOST_BAD:
        history.stopped = Stopped.DIVERGED
        return
    if run.before_weights is not None:  # the free run decides, with the last weights: the learning rate has gone to zero
        free_after = run.free_error(validation)
        kept = free_after < run.free_before
        history.stages.append({"name": name, "free_run_before": run.free_before, "free_run_after": free_after, "kept": kept})
        if name == "forced":
            history.stages[-1]["strength"] = run.forcing
        if not kept:
            run.restore(run.before_weights)
        run.before_weights, run.best, run.reached = None, math.inf, math.inf
        run.validate(validation)
    elif run.best_weights is not None:
        run.restore(run.best_weights)
    spend(history.phases, label, time.monotonic() - last)
    run.stage, run.step, run.bad = run.stage + 1, 0, 0


def _stage_loss(name: str, run: Run) -> Tensor:
    """Of the series of a batch that are this process's; those of all processes add up to the mean over the batch."""
    recipe, network, group = run.recipe, run.network, processes()
    window, state, washout = run.starts.draw(recipe.batch_size, min(recipe.washout, recipe.window) // 5, run.generator)
    if name == "closed-loop":
        warmup = max(1, min(recipe.washout, len(window.x) // 2))
        window = window.part(0, warmup + recipe.horizon)
        mine, state, _, share = _share(window, state, None, group, None if window.mask is None else window.mask[warmup:])
        return share * closed_loop_loss(network, mine, warmup, recipe.weights, state)
    if name == "forced":
        window = window.part(0, min(recipe.washout + recipe.horizon, recipe.window) + 1)
        counts = None if window.mask is None else window.mask[1 + washout :]
        mine, state, _, share = _share(window, state, None, group, counts)
        return share * forced_loss(network, mine, run.forcing, washout, recipe.weights, state)
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
    noise = None
    if isinstance(level, Tensor) or level:
        x = window.x[:-1]
        noise = level * network.increment * torch.randn(x.shape, generator=run.generator, dtype=x.dtype)
    mine, state, noise, share = _share(
        window, state, noise, group, None if window.mask is None else trust(window.mask)[washout:]
    )
    return share * one_step_loss(network, mine, washout, recipe.weights, state, noise)


def _share(
    window: Series, state: Any, noise: Tensor | None, group: Processes, counts: Tensor | None
) -> tuple[Series, Any, Tensor | None, float]:
    """The series of a batch that are this process's, with their states and noise, and their weight in the mean; `counts` weighs the errors.

    A process that has none computes the first one, with weight 0.
    """
    if group.size == 1:
        return window, state, noise, 1.0
    n = window.x.shape[1]
    rows = group.mine(n)
    counts = torch.ones(1, n, 1) if counts is None else counts
    of_all = float(counts.sum(dtype=torch.float64))
    share = float(counts[:, rows].sum(dtype=torch.float64)) / of_all if of_all else 0.0
    rows = rows if len(rows) else torch.zeros(1, dtype=torch.int64)
    return window.cut(0, len(window.x), rows), take(state, rows), None if noise is None else noise[:, rows], share
