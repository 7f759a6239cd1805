"""The little that lets one right-hand side serve NumPy arrays and torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["constant", "matrix", "module_of", "stack"]


def module_of(x: Any) -> Any:
    """`torch` for a tensor, else `numpy`."""
    return torch if isinstance(x, Tensor) else np


def constant(value: Any, like: Any) -> Any:
    """An array of constants as the kind of `like`."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device) if isinstance(like, Tensor) else np.asarray(value)


def stack(parts: Sequence[Any]) -> Any:
    """The components of a vector, each ``(...)``, as ``(..., D)``."""
    return module_of(parts[0]).stack(parts, -1)


def matrix(rows: Sequence[Sequence[Any]], like: Any) -> Any:
    """The entries of a matrix, numbers or ``(...)``, as ``(..., D, D)``; `like` has the shape ``(...)``."""
    xp = module_of(like)
    full = [[xp.broadcast_to(constant(entry, like), like.shape) for entry in row] for row in rows]
    return xp.stack([xp.stack(row, -1) for row in full], -2)
