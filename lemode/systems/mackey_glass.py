"""Mackey-Glass: a delay equation for the number of blood cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import stack
from .delay import DelaySystem
from .facts import Fact

__all__ = ["MackeyGlass"]


@dataclass(frozen=True)
class MackeyGlass(DelaySystem):
    r"""Mackey and Glass's regulation of blood cells, the delayed feedback that became a benchmark of forecasting.

    .. math:: \dot x(t) = \beta\,\frac{x(t - \tau)}{1 + x(t - \tau)^n} - \gamma\,x(t)

    Time in days for the original constants; x is relative to a reference concentration. With the defaults chaotic; periodic
    for tau from 4.71 (the Hopf bifurcation) to about 13, with period doublings up to 16.8.

    Parameters
    ----------
    beta, gamma, n : float
        Production and decay rates, and steepness of the feedback.
    tau : float
        Delay.

    Examples
    --------
    >>> MackeyGlass().trajectories(2, np.linspace(0, 50, 51), seed=0, transient=100.0).x.shape
    (2, 51, 1)
    """

    beta: float = 0.2
    gamma: float = 0.1
    n: float = 10.0
    tau: float = 17.0

    names = ("x",)
    source = "Mackey and Glass, Science 197 (1977) 287-289, equation (4b)"
    units: ClassVar = {"t": "day", "x": "relative"}
    facts: ClassVar = {
        "lambda_1": Fact(
            0.0052, 0.0003, "collocation with 41 points, RK4 of step 0.1, 16 members of 10,000 days; standard error 0.0001"
        ),
        "lambda_2": Fact(0.0, 0.0, "exact: the direction of the flow"),
        "period at tau = 8": Fact(
            25.766135, 2e-6, "method of steps at rtol 1e-10 and collocation with 31 points, after 1000 days"
        ),
        "Hopf delay": Fact(
            np.arccos(-0.25) / np.sqrt(0.15), 0.0, "exact: linearised at x = 1, where the slope of the feedback is -0.4"
        ),
        "period at the Hopf delay": Fact(2 * np.pi / np.sqrt(0.15), 0.0, "exact: the same"),
    }

    @property
    def time_scales(self) -> dict[str, float]:
        return {"decay": 1 / self.gamma, "delay": self.tau}

    def feedback(self, t: Any, x: Any, delayed: Any) -> Any:
        return self.beta * delayed / (1 + delayed**self.n) - self.gamma * x

    def slopes(self, t: Any, x: Any, delayed: Any) -> tuple[Any, Any]:
        power = delayed**self.n
        slope = self.beta * (1 + (1 - self.n) * power) / (1 + power) ** 2
        return stack([-self.gamma + 0 * x[..., 0]])[..., None], slope[..., None]

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """Constant histories, uniform in [0.5, 1.2]."""
        return rng.uniform(0.5, 1.2, (n, 1))
