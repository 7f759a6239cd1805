"""Large result tensors from memory that earlier ones gave back: fresh pages cost more than the arithmetic on them.

No more lies idle than was in use at once lately, and never more than `LIMIT`: so sequences of changing length do not leave a block of
each size behind, and a large network's memory goes when a small one follows. `clear` frees the rest, and the compiled core's, too.
"""

from __future__ import annotations

import math
import os
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

from . import core

__all__ = ["clear", "empty", "idle_bytes"]

SMALL = 1 << 20  # below this many bytes the allocator does well
LIMIT = 1 << 30  # bytes kept idle at most
LATELY = 32  # requests: a training step of a few layers makes fewer


class _Use:
    """Bytes in use now, and the most at once in this period of `LATELY` requests and in the one before."""

    requests = now = most = most_before = 0


_lock = threading.RLock()  # a finalizer may run inside a call that holds it
_idle: list[np.ndarray] = []
_use = _Use()


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
        return torch.empty(shape, dtype=dtype, device="cpu")
    block = _take(size)
    # the storage holds `lease`, a view of `block`; when the lease dies, nothing refers to the memory any more
    lease = block[:size]
    weakref.finalize(lease, _give_back, block).atexit = False
    # a tensor of its own on that storage: a view of another tensor could not be changed in place under autograd
    return torch.empty(0, dtype=dtype, device="cpu").set_(torch.from_numpy(lease).untyped_storage(), 0, shape)  # type: ignore[call-overload]


def clear() -> None:
    """Free the idle memory, the compiled core's, too.

    Examples
    --------
    >>> x = empty((256, 1024), torch.float64)
    >>> del x  # two MiB are idle now
    >>> clear()
    >>> idle_bytes()
    0
    """
    with _lock:
        _idle.clear()
    core.trim()


def idle_bytes() -> int:
    """Bytes that lie idle, without the compiled core's working memory.

    Examples
    --------
    >>> clear()
    >>> x = empty((256, 1024), torch.float64)
    >>> del x
    >>> idle_bytes()
    2097152
    """
    with _lock:
        return sum(block.nbytes for block in _idle)


def _take(size: int) -> np.ndarray:
    with _lock:
        fits = [i for i, block in enumerate(_idle) if size <= block.nbytes <= 2 * size]
        found = _idle.pop(min(fits, key=lambda i: _idle[i].nbytes)) if fits else None
    if found is None:
        raw = np.empty(size + 64, np.uint8)
        start = -raw.ctypes.data % 64
        found = raw[start : start + size]
    with _lock:
        _use.now += found.nbytes
        _use.most = max(_use.most, _use.now)
        _use.requests += 1
        if _use.requests % LATELY == 0:
            _use.most_before, _use.most = _use.most, _use.now
            _trim()
    return found


def _give_back(block: np.ndarray) -> None:
    with _lock:
        _use.now -= block.nbytes
        _idle.append(block)
        _trim()


def _trim() -> None:
    """Frees what came back first."""
    most = min(LIMIT, max(_use.most, _use.most_before))
    while sum(block.nbytes for block in _idle) > most:
        _idle.pop(0)


def _after_fork() -> None:
    # another thread of the parent may have held it
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
