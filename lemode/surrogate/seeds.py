"""One seed, and a stream of random numbers of its own for every purpose.

Two generators with the same seed draw the same numbers: the initial weights would be those that choose the first batches.
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["PURPOSES", "stream", "torch_stream"]

# the place of a purpose is its stream: new ones go to the end
PURPOSES = ("sampling", "split", "weights", "batches", "noise", "bands", "members")


def _sequence(seed: int, purpose: str) -> np.random.SeedSequence:
    # what SeedSequence(seed).spawn(...) gives, whichever of them are asked for
    return np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose),))


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The NumPy generator of a purpose, one of `PURPOSES`.

    Examples
    --------
    >>> a, b, again = (stream(0, purpose).random() for purpose in ("sampling", "split", "sampling"))
    >>> a == b, a == again
    (False, True)
    """
    return np.random.default_rng(_sequence(seed, purpose))


def torch_stream(seed: int, purpose: str) -> torch.Generator:
    """The torch generator of a purpose.

    Examples
    --------
    >>> a, b = (torch.rand(1, generator=torch_stream(0, purpose)).item() for purpose in ("weights", "batches"))
    >>> a == b
    False
    """
    return torch.Generator().manual_seed(int(_sequence(seed, purpose).generate_state(1, np.uint64)[0]))
