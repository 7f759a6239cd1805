"""How many samples of truth a free run needs before it: measured on the validation series, and said where a forecast has fewer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from .data_checks import DataWarning
from .head_errors import free_errors, head_of
from .network import IncrementNetwork
from .series import Series

__all__ = ["measure_settling", "warn_of_short"]

TIMES = (1, 2, 4, 8)  # least numbers of samples
STARTS, HORIZON = 10, 200
WORSE = 1.5  # a forecast is warned of if its error is so many times that of one with a longer history


def measure_settling(network: IncrementNetwork, validation: Series, warmup: int) -> list[tuple[int, float]]:
    """Errors of free runs to the same values of the validation series, after histories of more and more samples.

    A hidden state begins at rest. Of what is observed in part it may need hundreds of samples to find what is not seen, many more than
    gradient training leaves out of account.

    Parameters
    ----------
    warmup : the least number of samples; the others are 2, 4 and 8 times as many, up to half of the series

    Returns
    -------
    Pairs of a number of samples and the error, from 0 to 1: of the variables' root mean square in standard deviations, at most 1, the mean
    over the first 10, 20, 40, ... samples of a free run, and the mean of these. None where the series are too short to compare two.

    Examples
    --------
    What predicts from the value alone needs one sample, and is as good after eight:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> measure_settling(network, Series(torch.arange(20.0).reshape(20, 1, 1)), warmup=1)
    [(1, 0.0), (2, 0.0), (4, 0.0), (8, 0.0)]
    """
    validation = validation.part(validation.lead, None)
    T = len(validation.x)
    counts = [k * warmup for k in TIMES if k * warmup <= T // 2]
    if len(counts) < 2:
        return []
    horizon, head, dtype = min(HORIZON, T - counts[-1]), head_of(network)[None], network.mean.dtype
    errors = []
    for count in counts:
        # all begin to run free at the same values
        part = validation.part(counts[-1] - count, None).map(lambda s: s.to(dtype) if s.is_floating_point() else s)
        errors.append(float(free_errors(network, head, part, count, horizon, STARTS)[0]))
    return list(zip(counts, errors, strict=True))


def warn_of_short(settling: Sequence[tuple[int, float]], samples: int) -> None:
    """DataWarning for a history of fewer samples than free runs have needed, with the number that would do.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", DataWarning)
    ...     warn_of_short([(50, 0.3), (100, 0.29), (200, 0.13), (400, 0.12)], samples=60)
    ...     warn_of_short([(50, 0.3), (100, 0.29), (200, 0.13), (400, 0.12)], samples=200)
    >>> print(*(str(w.message) for w in caught), sep=chr(10))
    the history has 60 samples: on the validation series free runs after 50 err 2.3 times as much as after 200; give so many.
    """
    measured = [(count, error) for count, error in settling if count <= samples]
    if not measured:
        return
    count, error = measured[-1]
    for longer, less in settling:
        if longer > samples and less * WORSE <= error and error > 0:
            ratio = f"{error / less:.2g} times as much as" if less else "and they do not"
            warnings.warn(
                f"the history has {samples} samples: on the validation series free runs after {count} err {ratio} after {longer}; "
                "give so many.",
                DataWarning,
                stacklevel=3,
            )
            return
