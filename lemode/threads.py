"""One thread for work in small operations, which lose more to waking a second one than it gives back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Hold torch to one thread inside the block, if `when`; the number that was set is restored.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if when:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
