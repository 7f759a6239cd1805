"""Initial weights that respect the theory, in the manner of torch.nn.init: gate biases spread over the time scales that are wanted."""

from __future__ import annotations

import math

import torch

from ._checks import finite_positive
from .analysis.discretization import gate_bias
from .lem import LEM, LEMCell

__all__ = ["timescales_"]


@torch.no_grad()
def timescales_(
    lem: LEM | LEMCell, tau_min: float, tau_max: float, generator: torch.Generator | None = None
) -> LEM | LEMCell:  # fmt: skip
    r"""Draw the biases of both gates so that the units' time scales at rest are log-uniform in [tau_min, tau_max], in steps.

    .. math:: b = \mathrm{logit}\frac{1}{\tau\,\Delta t}, \qquad \log\tau \sim U(\log\tau_{\min}, \log\tau_{\max})

    in place, for b1 (of z) and b2 (of y) of every cell; what else is learned stays as it is. At rest, y = 0 and u = 0, the leak
    :math:`\Delta t\,\hat\sigma(b)` of one step is then 1 over tau: a unit keeps what it has seen for some tau steps. The default,
    biases of about 0, gives every unit :math:`2/\Delta t` steps. Inputs that are far from 0 move the gates: standardise them.

    Statement 7.1, ``theory/time_scales.py``. With 'semi_implicit', 'exponential' and 'strang' it is the rate of the ODE that is 1 over
    tau: their own leaks are up to one step slower.

    Parameters
    ----------
    lem : LEM or LEMCell, with biases
    tau_min, tau_max : float
        In steps, the distance between two inputs: tau_min above 1/dt, the fastest that a gate below 1 can be, and tau_max the length of
        the memory that is wanted, such as that of the series.
    generator : torch.Generator, optional

    Returns
    -------
    lem itself

    Raises
    ------
    TypeError
        For what is no LEM, or scales that are no numbers.
    ValueError
        For scales that are not 1/dt < tau_min <= tau_max, or a network without biases; it is then left as it was.

    Examples
    --------
    >>> rnn = timescales_(lemode.LEM(1, 64), 2, 1000, torch.Generator().manual_seed(0))
    >>> scales = lemode.analysis.timescales(rnn, torch.zeros(1, 1)).median
    >>> bool(scales.min() > 2), bool(scales.max() < 1000), bool(scales.max() > 800)
    (True, True, True)
    """
    if not isinstance(lem, LEM | LEMCell):
        raise TypeError(
            f"lem is {type(lem).__name__}: give a lemode.LEM or a lemode.LEMCell; only their gates are time scales."
        )
    low, high = finite_positive("tau_min", tau_min), finite_positive("tau_max", tau_max)
    if low > high:
        raise ValueError(f"tau_min={low:g}, tau_max={high:g}: give the smaller one first.")
    cells = [lem] if isinstance(lem, LEMCell) else lem.layers()
    for cell in cells:
        if cell.ode.bias is None:
            raise ValueError("the network has no biases, and these are the time scales: make it with bias=True.")
        if low * cell.dt <= 1:
            raise ValueError(
                f"tau_min={low:g} steps with dt={cell.dt:g}: no unit is as fast, as gates stay below 1; give more than {1 / cell.dt:g}."
            )
    for cell in cells:
        b = cell.ode.blocks()
        for bias in (b.b1, b.b2):
            share = torch.rand(bias.shape, dtype=torch.float64, generator=generator)
            tau = (math.log(low) + share * (math.log(high) - math.log(low))).exp()
            bias.copy_(torch.from_numpy(gate_bias(tau.numpy() * cell.dt, mode="rate")))
    return lem
