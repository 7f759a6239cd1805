r"""How a scheme is run along a sequence: one contract, several backends that agree.

`run` maps ``u (L, N, m)``, ``y0, z0 (N, d)`` to the states ``ys, zs (L, N, d)``; ``dt`` is a number or a tensor
``(L, 1)`` or ``(L, N)``. Every backend returns the same numbers and the same gradients, of any order, up to rounding. Which one runs, and
why, is decided in `lemode.kernels.backends` and printed by `explain`.
"""

from __future__ import annotations

from .._renamed import moved
from . import fields, pool
from .backends import BACKENDS, explain
from .free_run import rollout
from .layer import Layer
from .sequences import run

__all__ = ["BACKENDS", "Layer", "explain", "fields", "pool", "rollout", "run"]

moved(f"{__name__}.rollout", f"{__name__}.free_run")
