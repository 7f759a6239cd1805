"""The types that every room speaks of, each once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Array", "FloatArray", "State"]

Array: TypeAlias = NDArray[np.float64]
"""What is computed in numpy, in float64."""

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""Data of a user, float32 or float64."""

State: TypeAlias = tuple[Tensor, Tensor]
"""(y, z), each ``(..., d)``."""
