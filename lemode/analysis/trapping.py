r"""The set that no free run of a surrogate leaves.

.. math:: x_{k+1} = \Pi\,F(\Pi x_k, \dots) \in [\text{lower}, \text{upper}], \qquad \Pi x = \min(\max(x, \text{lower}), \text{upper})

Proof of statement 8.4: ``theory/containment.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import Array

__all__ = ["TrappingRegion", "trapping_region"]


@dataclass(frozen=True)
class TrappingRegion:
    """A box that every free run is in after one step, and never leaves; see `trapping_region`.

    Attributes
    ----------
    names : tuple of str
        The variables, as the network has them.
    lower, upper : (D,)
        In the units of the data; infinite for a variable without bounds.

    Examples
    --------
    >>> print(TrappingRegion(("v", "w"), np.array([-2.0, -np.inf]), np.array([2.5, np.inf])))
    no free run leaves -2 <= v <= 2.5, whatever it starts from (8.4); w has no bounds
    """

    names: tuple[str, ...]
    lower: Array
    upper: Array

    @property
    def holds(self) -> bool:
        """Whether every variable has bounds."""
        return bool(np.isfinite([self.lower, self.upper]).all())

    def __str__(self) -> str:
        ends = list(zip(self.names, self.lower, self.upper, strict=True))
        if len({(low, high) for _, low, high in ends}) == 1 < len(ends) and self.holds:  # the points of a field
            ends = [("every value", *ends[0][1:])]
        held = [f"{low:.6g} <= {name} <= {high:.6g}" for name, low, high in ends if math.isfinite(low)]
        free = [name for name, low, _ in ends if not math.isfinite(low)]
        said = f"no free run leaves {', '.join(held)}, whatever it starts from (8.4)" if held else ""
        loose = f"{', '.join(free)} {'has' if len(free) == 1 else 'have'} no bounds" if free else ""
        return "; ".join(filter(None, (said, loose)))


def trapping_region(model: Any) -> TrappingRegion:
    r"""Where every free run of a surrogate is after one step, and stays: statement 8.4.

    .. math:: x_k \in [\text{lower}, \text{upper}] \quad \text{for all } k \ge 1,

    whatever the history, the inputs and the weights, in the precision that the network runs in. It says nothing of how right a run is.

    Parameters
    ----------
    model : fitted lemode.Surrogate or FieldSurrogate
        Of angles the bounds are those of their cosines and sines; with a season or a scale of each series, those of what is left when
        the season is taken off, and in units of that scale.

    Returns
    -------
    TrappingRegion

    Raises
    ------
    TypeError
        For what is no surrogate.
    ValueError
        For one that is not fitted.

    Examples
    --------
    >>> wave = np.sin(0.05 * np.pi * np.arange(300))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, window=50, washout=10, verbose=0, train="all").fit(wave)
    >>> print(trapping_region(model))
    no free run leaves -1.2 <= x0 <= 1.2, whatever it starts from (8.4)
    """
    if not hasattr(model, "forecast"):
        raise TypeError(f"model is {type(model).__name__}: give a fitted lemode.Surrogate or FieldSurrogate.")
    network = getattr(model, "network_", None)
    if network is None:
        raise ValueError(f"this {type(model).__name__} is not fitted yet, or has no network: call fit first.")
    names = (*model.names_, *(f"sin({name})" for name in model.table_.angles))
    names = tuple(f"cos({name})" if name in model.table_.angles else name for name in names)
    ends = (network.denormalise(end).double().numpy() for end in (network.lower, network.upper))
    lower, upper = (np.broadcast_to(end, (len(names),)).copy() for end in ends)
    return TrappingRegion(names, lower, upper)
