"""The training loop: teacher forcing on windows, a schedule, and the best weights by validation."""

from __future__ import annotations

import copy
import math
import time
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .network import IncrementNetwork
from .optimizers import EigenAdam

__all__ = ["FitDivergedError", "FitWarning", "History", "Recipe", "train"]


class FitWarning(UserWarning):
    """The fit ended early or did not do what was asked; the message says what was kept."""


class FitDivergedError(RuntimeError):
    """The fit diverged before any usable weights were found."""


@dataclass(frozen=True)
class Recipe:
    """How to train. Steps are gradient steps; window and washout count samples."""

    steps: int = 2000
    batch_size: int = 32
    window: int = 1000
    washout: int = 50
    optimizer: str = "auto"
    lr: float | None = None
    warmup: int = 50
    max_time: float | None = None
    validate_every: int = 50

    # the eigendecomposition of the full second moment costs O(P^3): about 10 s each at this size, on one core
    FULL_MATRIX_LIMIT = 3000

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """The optimizer by name; 'auto' is EigenAdam up to FULL_MATRIX_LIMIT parameters, Adam beyond."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        name = self.optimizer
        if name == "auto":
            name = "eigenadam" if sum(p.numel() for p in parameters) <= self.FULL_MATRIX_LIMIT else "adam"
        if name == "eigenadam":
            return EigenAdam(parameters, lr=self.lr or 1e-2)
        if name == "adam":
            return torch.optim.Adam(parameters, lr=self.lr or 1e-2)
        raise ValueError(f"optimizer={name!r}: choose 'auto', 'eigenadam' or 'adam'.")


@dataclass
class History:
    """What happened: training loss at every step, validation error at some, in units of the increment's std."""

    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    seconds: float = 0.0
    stopped: str = "all steps done"


def train(
    network: IncrementNetwork, x: Tensor, x_validation: Tensor, recipe: Recipe, generator: torch.Generator, verbose: int = 1
) -> History:
    """Fit `network` to the normalised series x ``(T, n, D)`` and leave in it the weights that were best in validation.

    The schedule of the learning rate follows the steps, or the clock where `max_time` is nearer. A fit whose loss is not
    finite, or has grown a thousandfold over its best, ends with the best weights and a FitWarning; without any, with FitDivergedError.
    """
    optimizer = recipe.make_optimizer(network)
    peak = optimizer.param_groups[0]["lr"]
    history, best, best_weights = History(), math.inf, None
    start, clock = time.monotonic(), 0.0
    bar = tqdm(total=recipe.steps, disable=not verbose, unit="step", desc="fit", mininterval=0.5)
    bad = 0
    try:
        for step in range(recipe.steps):
            clock = time.monotonic() - start
            progress = step / recipe.steps
            if recipe.max_time is not None:
                progress = max(progress, clock / recipe.max_time)
                if progress >= 1:
                    history.stopped = f"max_time={recipe.max_time:g} s reached"
                    break
            rate = min(1.0, (step + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
            window, washout = _sample(x, recipe, generator)
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(network, window, washout)
            loss.backward()
            optimizer.step()
            history.loss.append(loss.item())
            bad = bad + 1 if not math.isfinite(history.loss[-1]) else 0
            if (step + 1) % recipe.validate_every == 0 or step + 1 == recipe.steps:
                error = validation_error(network, x_validation, recipe)
                history.validation.append((step + 1, error))
                if error < best:
                    best, history.best_step = error, step + 1
                    best_weights = copy.deepcopy(network.state_dict())
                bar.set_postfix_str(f"validation {error:.2e}, best {best:.2e}", refresh=False)
                if not error < 1e3 * max(best, 1e-30):
                    bad = 20
            if bad >= 20:
                history.stopped = "diverged"
                break
            bar.update()
    except KeyboardInterrupt:
        if best_weights is None:
            raise
        history.stopped = "interrupted"
    finally:
        bar.close()
    if best_weights is None and history.stopped != "diverged":  # stopped before the first validation
        best = validation_error(network, x_validation, recipe)
        history.validation.append((len(history.loss), best))
        history.best_step = len(history.loss)
        if math.isfinite(best):
            best_weights = copy.deepcopy(network.state_dict())
    if best_weights is None:
        raise FitDivergedError(
            f"the fit diverged within {len(history.loss)} steps (last loss {history.loss[-1] if history.loss else math.nan:g}): lower lr, "
            "or check the data for jumps and outliers."
        )
    network.load_state_dict(best_weights)
    history.seconds = time.monotonic() - start
    if history.stopped in ("diverged", "interrupted"):
        warnings.warn(
            f"the fit {history.stopped.replace('interrupted', 'was interrupted')} at step {len(history.loss)}; the weights of step "
            f"{history.best_step} (validation error {best:.3g} increments) were restored.",
            FitWarning,
            stacklevel=3,
        )
    return history


def _sample(x: Tensor, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, int]:
    """A batch of windows, and how many of their first steps do not count in the loss."""
    T, n, _ = x.shape
    rows = torch.randperm(n, generator=generator)[: recipe.batch_size]
    if recipe.window + 1 >= T:
        return x[:, rows], 0
    # an unseen past is washed out; at the start of the series there is none, and what follows is to be learned
    begin = int(torch.randint(0, T - recipe.window, (), generator=generator))
    return x[begin : begin + recipe.window + 1, rows], recipe.washout if begin else 0


def _loss(network: IncrementNetwork, window: Tensor, washout: int) -> Tensor:
    increments, _ = network(window[:-1])
    target = (window[1:] - window[:-1]) / network.increment
    return (increments[washout:] - target[washout:]).square().mean()


@torch.no_grad()
def validation_error(network: IncrementNetwork, x: Tensor, recipe: Recipe) -> float:
    """Root mean square one-step error over whole validation series, in units of the increment's std."""
    return math.sqrt(_loss(network, x, 0).item())
