r"""Whether a head can do without any part of the series it is fitted to: errors on blocks that were left out.

Where the end of one series is held out, it may be unlike the rest: between two beats of a heart nothing says what a head makes of the
next one. So what is chosen there has to be no worse than its linear part on the other blocks, too, each predicted by coefficients that
are solved for without it,

.. math::

    \mathrm{CV}(\nu, \lambda)^2 = \frac{1}{B - 1} \sum_{b=2}^{B} \big\langle |t_k - C_{-b}(\nu, \lambda) f_k|^2 \big\rangle_{k \in b} .

The first block is never left out: where a series begins with a transient, that is there only once.

Source: Bergmeir and Benitez, Information Sciences 191 (2012), 192-213, on blocked cross-validation of series.
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise

from torch import Tensor

from .head_errors import TIE, one_step_errors
from .regression import FLOOR, Regression
from .series import Series

__all__ = ["LeftOut"]

BLOCKS = 5


class LeftOut:
    """The regressions without a block, made when they are first asked for.

    Parameters
    ----------
    regression : of all rows
    series, known : which it was taken along

    Examples
    --------
    A wave, of which 20 random units can learn every part from the others:

    >>> from lemode.surrogate.readout_network import ReadoutNetwork
    >>> x = torch.sin(torch.linspace(0, 60, 601, dtype=torch.float64))[:, None, None]
    >>> network = ReadoutNetwork(lemode.LEM(1, 20, dtype=torch.float64), 1)
    >>> network.set_scales(x)
    >>> series = Series(network.normalise(x))
    >>> regression = Regression(network, series, None, torch.Generator().manual_seed(0))
    >>> LeftOut(regression, series, None).worse((0.0, 1e-14))
    False
    """

    def __init__(self, regression: Regression, series: Series, known: Tensor | None) -> None:
        self.regression, self.series, self.known = regression, series, known
        self.edges = [round((len(series.x) - 1) * k / BLOCKS) for k in range(BLOCKS + 1)]

    @cached_property
    def regressions(self) -> list[Regression]:
        """Without each block but the first."""
        return self.regression.leaving_out(self.series, self.known, self.edges)

    @cached_property
    def linear(self) -> float:
        """The error of the linear head."""
        return self.error((0.0, FLOOR))

    def error(self, pair: tuple[float, float]) -> float:
        """Root mean square error of one step, in standard deviations, over blocks that the head of this noise and ridge has not seen."""
        square = []
        for regression, (begin, end) in zip(self.regressions, pairwise(self.edges[1:])):
            if all(factor.weight > 0 for factor in regression.data):  # not all that was observed is in this block
                block = self.series.part(0, end + 1)._replace(lead=begin)
                square.append(float(one_step_errors(regression.network, regression.heads([pair]), block)[0]) ** 2)
        return math.sqrt(sum(square) / max(len(square), 1))

    def worse(self, pair: tuple[float, float]) -> bool:
        """Whether it is larger than that of the linear head."""
        return not self.error(pair) <= TIE * self.linear
