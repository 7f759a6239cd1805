"""One thread for work in small operations, which lose more to waking a second one than it gives back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]

# Python threads that are in a block now, and the number that torch has outside
_lock = threading.Lock()
_inside, _outside = 0, 1
_here = threading.local()


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Hold torch to one thread inside the block, if `when`; the number that was set is restored.

    So it is where several Python threads enter and leave blocks in any order.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    global _inside, _outside
    if not when or getattr(_here, "inside", False):
        yield
        return
    _here.inside = True
    with _lock:
        if not _inside:
            _outside = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        _here.inside = False
        with _lock:
            _inside -= 1
            torch.set_num_threads(_outside)
