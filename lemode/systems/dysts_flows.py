"""The systems of the package dysts."""

from __future__ import annotations

import difflib
import warnings
from typing import Any

import numpy as np

from ..types import Array
from .base import CallableSystem

__all__ = ["DystsSystem", "from_dysts"]


class DystsSystem(CallableSystem):
    """A system of dysts with its default parameters; `model` is dysts' own object, with its metadata.

    Examples
    --------
    >>> system = from_dysts("Rossler")
    >>> system.names, system.sample_initial(4, np.random.default_rng(0)).shape
    (('x0', 'x1', 'x2'), (4, 3))
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.start = np.asarray(model.ic, dtype=np.float64)
        super().__init__(lambda t, x: np.asarray(model.rhs(np.asarray(x).T, t)), len(self.start), probe=self.start)

    @property
    def time_scales(self) -> dict[str, float]:
        """dysts' own estimate of the dominant period."""
        return {"period": float(self.model.period)}

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor: points of one solution from dysts' initial state, at random times between 5 and 55 periods."""
        period = float(self.model.period)
        t = np.concatenate([[0.0], np.sort(rng.uniform(5 * period, 55 * period, n))])
        return self.solve(self.start, t, rtol=1e-8, atol=1e-8)[1:][rng.permutation(n)]


def from_dysts(name: str) -> DystsSystem:
    """A system of the package dysts (``pip install lemode[dysts]``), which collects more than a hundred chaotic flows.

    Its Lyapunov exponents and periods are estimates from short runs: compute them anew, with
    `lemode.analysis.lyapunov.lyapunov_spectrum`.

    Parameters
    ----------
    name : as in ``dysts.flows``, e.g. 'Aizawa'

    Raises
    ------
    ImportError
        Without dysts.
    ValueError
        For an unknown name (with the nearest one), or a delay equation.

    Examples
    --------
    >>> from_dysts("Lorenz").solve([1.0, 1.0, 20.0], [0.0, 0.1]).shape
    (2, 3)
    >>> from_dysts("Lorentz")
    Traceback (most recent call last):
    ValueError: dysts has no system 'Lorentz': did you mean 'Lorenz'?

    References
    ----------
    Gilpin, Chaos as an interpretable benchmark for forecasting and data-driven modelling, NeurIPS 2021, arXiv 2110.05266.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that numba, which it can do without, is missing
            from dysts import base, flows
    except ImportError as e:
        raise ImportError(f"from_dysts needs the package dysts ({e}): pip install 'lemode[dysts]'.") from e
    known = {k: c for k, c in vars(flows).items() if isinstance(c, type) and c.__module__ == flows.__name__}
    cls = known.get(name)
    if cls is None:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        raise ValueError(f"dysts has no system {name!r}" + (f": did you mean {near[0]!r}?" if near else "."))
    if not issubclass(cls, base.DynSys):
        raise ValueError(
            f"{name} of dysts is no ordinary differential equation; for Mackey-Glass there is lemode.systems.MackeyGlass."
        )
    return DystsSystem(cls())
