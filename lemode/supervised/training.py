"""The training loop of the estimators: Adam, a cosine, gradients of limited norm, and the weights that were best in validation."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..surrogate.errors import FitDivergedError, FitWarning
from ..surrogate.interrupts import AGAIN, Interrupted, Interrupts, again
from ..surrogate.progress import Progress

__all__ = ["History", "Recipe", "train"]

ALL_DONE, MAX_TIME, NO_BETTER, DIVERGED, INTERRUPTED = (
    "all steps done", "max_time reached", "no better validation", "diverged", "interrupted"
)  # fmt: skip


@dataclass
class History:
    """What happened: the loss at every step, the validation error at some, the step of the weights that were kept, and why it ended.

    Examples
    --------
    >>> History(loss=[0.5, 0.25]).stopped
    'all steps done'
    """

    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    seconds: float = 0.0
    stopped: str = ALL_DONE


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit.

    Attributes
    ----------
    steps : gradient steps at most
    lr : learning rate, after a rise in the first 20 steps; it falls by a cosine to zero
    clip : largest norm of a gradient
    validate_every : steps between two validations
    patience : validations without a new best that end the fit; None to do all steps
    max_time : seconds after which it ends; the cosine follows the clock where that is nearer

    Examples
    --------
    >>> Recipe(steps=100).lr
    0.003
    """

    steps: int = 1000
    lr: float = 3e-3
    clip: float = 1.0
    validate_every: int = 25
    patience: int | None = None
    max_time: float | None = None


def train(
    network: nn.Module,
    loss: Callable[[], Tensor],
    validate: Callable[[], float] | None,
    recipe: Recipe,
    verbose: int = 0,
) -> History:
    """Make `loss`, which draws its own batch, small, and leave in the network the weights of the smallest `validate`; the last without it.

    Ctrl-C and SIGTERM end it after the step; a second one within two seconds is passed on.

    Raises
    ------
    FitDivergedError
        If the loss is not finite before a validation was.
    KeyboardInterrupt
        If it is interrupted before there are weights to keep.

    Warns
    -----
    FitWarning
        If it is not finite later, or interrupted; the best weights are restored.

    Examples
    --------
    >>> line = torch.nn.Linear(1, 1)
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> history = train(line, lambda: (line(x) - 2 * x).square().mean(), None, Recipe(steps=200, lr=0.1))
    >>> history.loss[-1] < 1e-4, history.stopped
    (True, 'all steps done')
    """
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=recipe.lr)
    history, best, weights = History(), math.inf, None
    progress, start = Progress(recipe.steps, 0, verbose), time.monotonic()

    def look() -> None:
        nonlocal best, weights
        error = _validated(network, validate) if validate is not None else math.nan
        history.validation.append((len(history.loss), error))
        if error < best:
            best, history.best_step, weights = error, len(history.loss), copy.deepcopy(network.state_dict())
        progress.validated(error, best)

    def run(interrupts: Interrupts) -> None:
        for step in range(1, recipe.steps + 1):
            done = (step - 1) / recipe.steps
            if recipe.max_time is not None:
                done = max(done, (time.monotonic() - start) / recipe.max_time)
                if done >= 1:
                    history.stopped = MAX_TIME
                    break
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * min(1.0, step / 20) * 0.5 * (1 + math.cos(math.pi * done))
            network.train()
            optimizer.zero_grad(set_to_none=True)
            value = loss()
            value.backward()
            norm = float(nn.utils.clip_grad_norm_(network.parameters(), recipe.clip))
            if not (math.isfinite(value.item()) and math.isfinite(norm)):
                history.stopped = DIVERGED
                break
            history.loss.append(value.item())
            optimizer.step()
            progress.step()
            if validate is not None and step % recipe.validate_every == 0:
                look()
                without = step - history.best_step if weights is not None else 0
                if recipe.patience is not None and without >= recipe.patience * recipe.validate_every:
                    history.stopped = NO_BETTER
                    break
            interrupts.check()
        if validate is not None and history.stopped != DIVERGED and dict(history.validation).get(len(history.loss)) is None:
            look()

    try:
        with Interrupts() as interrupts:
            run(interrupts)
    except KeyboardInterrupt as e:
        nothing = weights is None if validate is not None else not history.loss
        # in the middle of a step the last weights are none to keep
        if nothing or (not isinstance(e, Interrupted) and (validate is None or again())):
            raise
        history.stopped = INTERRUPTED
    finally:
        progress.close()
        history.seconds = time.monotonic() - start
    _end(network, history, weights)
    return history


@torch.no_grad()
def _validated(network: nn.Module, validate: Callable[[], float]) -> float:
    network.eval()
    return validate()


def _end(network: nn.Module, history: History, weights: dict[str, Tensor] | None) -> None:
    network.eval()
    if weights is not None:
        network.load_state_dict(weights)
    elif history.stopped == DIVERGED:
        raise FitDivergedError(
            f"the fit diverged at step {len(history.loss) + 1}, before a validation: lower lr, or look at the data for outliers."
        )
    else:
        history.best_step = len(history.loss)
    if history.stopped in (DIVERGED, INTERRUPTED):
        why, step = (
            ("diverged", len(history.loss) + 1) if history.stopped == DIVERGED else ("was interrupted", len(history.loss))
        )
        twice = f" Ctrl-C again within {AGAIN:g} s ends what fits in a loop." if history.stopped == INTERRUPTED else ""
        warnings.warn(
            f"the fit {why} at step {step}; the weights of step {history.best_step} were restored.{twice}",
            FitWarning,
            stacklevel=5,
        )
