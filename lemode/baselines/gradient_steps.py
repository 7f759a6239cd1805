"""Gradient steps of the baselines that are trained here: Adam on batches that the loss draws, under a schedule and a clock."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..surrogate.errors import FitWarning
from ..surrogate.interrupts import Interrupts

__all__ = ["gradient_steps"]


def gradient_steps(
    parameters: Iterable[Tensor],
    loss: Callable[[], Tensor],
    steps: int,
    rate: Callable[[float], float],
    max_time: float | None = None,
    largest: float | None = None,
) -> None:
    """So many steps, or as many as `max_time` seconds allow; Ctrl-C and SIGTERM end them after the step, with a FitWarning.

    Parameters
    ----------
    loss : draws its own batch
    rate : learning rate at a progress from 0 to 1, by steps or by the clock
    largest : norm to which gradients are clipped; a step is then left out where they are not finite

    Examples
    --------
    >>> w = torch.tensor([3.0], requires_grad=True)
    >>> gradient_steps([w], lambda: (w**2).sum(), steps=200, rate=lambda progress: 0.1 * (1 - progress))
    >>> bool(w.abs() < 1e-3)
    True
    """
    weights, start = list(parameters), time.monotonic()
    optimizer = torch.optim.Adam(weights)
    with Interrupts() as interrupts:
        for step in range(steps):
            progress = step / steps
            if max_time is not None:
                progress = max(progress, (time.monotonic() - start) / max_time)
            if progress >= 1:
                break
            optimizer.param_groups[0]["lr"] = rate(progress)
            optimizer.zero_grad()
            loss().backward()
            if largest is None:
                optimizer.step()
            elif torch.stack([w.grad.square().sum() for w in weights if w.grad is not None]).sum().isfinite():
                torch.nn.utils.clip_grad_norm_(weights, largest)
                optimizer.step()
            if interrupts.came is not None:
                warnings.warn(
                    f"the fit was interrupted at step {step + 1} of {steps}; its weights are kept, as they are.",
                    FitWarning,
                    stacklevel=5,
                )
                break
