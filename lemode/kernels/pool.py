"""Large result tensors from memory that earlier ones gave back: fresh pages cost more than the arithmetic on them."""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

__all__ = ["clear", "empty"]

SMALL = 1 << 20  # below this many bytes the allocator does well
LIMIT = 2 << 30  # bytes kept idle at most

_lock = threading.RLock()  # a finalizer may run inside a call that holds it
_idle: list[np.ndarray] = []


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """As torch.empty on the CPU. The memory returns to the pool with the last tensor that uses it.

    Examples
    --------
    >>> x = empty((256, 1024), torch.float64)
    >>> address = x.data_ptr()
    >>> del x
    >>> empty((256, 1024), torch.float64).data_ptr() == address  # the same pages again
    True
    """
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size < SMALL:
        return torch.empty(shape, dtype=dtype)
    block = _take(size)
    # the tensor holds `lease`, a view of `block`; when the lease dies, nothing refers to the memory any more
    lease = block[:size]
    weakref.finalize(lease, _give_back, block).atexit = False
    return torch.from_numpy(lease).view(dtype).view(shape)


def clear() -> None:
    """Free the idle memory.

    Examples
    --------
    >>> x = empty((256, 1024), torch.float64)
    >>> del x  # two MiB are idle now
    >>> clear()
    >>> sum(block.nbytes for block in _idle)
    0
    """
    with _lock:
        _idle.clear()


def _take(size: int) -> np.ndarray:
    with _lock:
        fits = [i for i, block in enumerate(_idle) if size <= block.nbytes <= 2 * size]
        if fits:
            return _idle.pop(min(fits, key=lambda i: _idle[i].nbytes))
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def _give_back(block: np.ndarray) -> None:
    with _lock:
        _idle.append(block)
        while sum(b.nbytes for b in _idle) > LIMIT:
            _idle.pop(0)
