r"""The exact fit over workers: each factors its own rows, and a tree of small factorizations makes one triangle of theirs (TSQR).

.. math::

    \begin{pmatrix} F_1 \\ F_2 \end{pmatrix} = \begin{pmatrix} Q_1 & \\ & Q_2 \end{pmatrix} \begin{pmatrix} R_1 \\ R_2 \end{pmatrix},
    \qquad \begin{pmatrix} R_1 \\ R_2 \end{pmatrix} = Q R .

What travels is a triangle of :math:`d (d + 1) / 2` numbers, however many rows there are. Workers are those of joblib, and with it of dask
or ray, the processes of torchrun, or the tasks of a dask array.

Source: Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34 (2012), A206.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .jobs import spread_over, workers
from .least_squares import StreamingQR
from .processes import Processes, processes

__all__ = ["merged", "of_dask", "over_processes", "over_workers"]

# multiplications below which the work is done before it is handed out
LEAST = 1e9


def merged(factors: Sequence[StreamingQR]) -> StreamingQR:
    """One factor of the rows of all, by a tree, whose depth is the logarithm of their number; they stay as they are.

    Examples
    --------
    >>> factors = [StreamingQR(columns=1) for _ in range(3)]
    >>> for k, factor in enumerate(factors):
    ...     factor.add([[1.0]], [[float(k)]])
    >>> merged(factors).solve([0.0])[0].coefficients
    array([[1.]])
    """
    level = [copy.deepcopy(factor) for factor in factors]
    while len(level) > 1:
        for one, other in zip(level[::2], level[1::2]):
            one.merge(other)
        level = level[::2]
    return level[0]


def over_workers(
    factor: Callable[..., list[StreamingQR]], share: Callable[[Tensor], tuple[Any, ...]], n: int, effort: float
) -> list[StreamingQR]:
    """What `factor` finds for n series, of which every worker has a share: a process of torchrun, and in it the jobs of joblib.

    With one worker `factor` is called once, for all of them.

    Parameters
    ----------
    factor : from a share to some factors
    share : its arguments, for these of the series; there may be none
    effort : in multiplications; a small one is not spread

    Examples
    --------
    >>> def mean(x):
    ...     factor = StreamingQR(columns=1)
    ...     factor.add(np.ones((len(x), 1)), x)
    ...     return [factor]
    >>> x = np.array([[1.0], [2.0], [6.0]])
    >>> over_workers(mean, lambda rows: (x[rows],), n=3, effort=0.0)[0].solve([0.0])[0].coefficients
    array([[3.]])
    """
    group, jobs = (processes(), workers()) if effort > LEAST else (Processes(environment=False), 1)
    mine = group.mine(n)
    shares = [mine[k::jobs] for k in range(min(jobs, max(len(mine), 1)))]
    calls = [share(rows) for rows in shares]
    found = spread_over(factor, calls, None) if len(calls) > 1 else [factor(*calls[0])]
    return [over_processes(merged(some), group) for some in zip(*found, strict=True)]


def over_processes(factor: StreamingQR, group: Processes | None = None) -> StreamingQR:
    """One factor of the rows of all processes, bit by bit the same in each: up a tree to the first one, which tells the others.

    Examples
    --------
    >>> factor = StreamingQR(columns=1)
    >>> over_processes(factor) is factor  # there is one process
    True
    """
    group = processes() if group is None else group
    if group.size == 1:
        return factor
    factor, step = copy.deepcopy(factor), 1
    packed = _packed(factor)
    while step < group.size:
        if group.rank % (2 * step):
            group.send(_packed(factor), group.rank - step)
            break
        if group.rank + step < group.size:
            group.receive(packed, group.rank + step)
            factor.merge(_unpacked(packed, factor))
        step *= 2
    packed = _packed(factor)
    group.broadcast(packed)
    return _unpacked(packed, factor)


def of_dask(rows: Any, targets: Any, weights: Any = None, unpenalised: int = 0) -> StreamingQR:
    """The factor of dask arrays: rows ``(M, columns)``, targets ``(M, targets)``, weights ``(M,)``; a task for each of their blocks.

    Blocks of rows may be of any sizes, those of targets and weights are made like them. What is in memory of each worker is a block and
    a triangle.

    Raises
    ------
    ImportError
        Where dask is not installed.
    ValueError
        As `StreamingQR.add`; a row is then counted within its block.

    Examples
    --------
    >>> try:
    ...     import dask.array as da
    ...     F = da.arange(1000, chunks=100)[:, None] / 1000
    ...     coefficients = of_dask(F, 2 * F).solve([0.0])[0].coefficients.round(6)
    ... except ImportError:  # pip install 'lemode[scale]'
    ...     coefficients = np.array([[2.0]])
    >>> coefficients
    array([[2.]])
    """
    try:
        import dask
        import dask.array as da
    except ImportError as e:
        raise ImportError("of_dask: the tasks are dask's, which is not installed: pip install 'lemode[scale]'.") from e
    F, t = (da.asarray(part).rechunk({1: -1}) for part in (rows, targets))
    w = da.ones(len(F), chunks=F.chunks[0]) if weights is None else da.asarray(weights)
    if not len(F) == len(t) == len(w):
        raise ValueError(f"{len(F)} rows, {len(t)} targets and {len(w)} weights: give as many of each.")
    t, w = t.rechunk({0: F.chunks[0]}), w.rechunk({0: F.chunks[0]})
    sizes = F.shape[1], t.shape[1], unpenalised
    block, pair = dask.delayed(_of_block), dask.delayed(merged)
    blocks = zip(F.to_delayed()[:, 0], t.to_delayed()[:, 0], w.to_delayed(), strict=True)
    level = [block(*sizes, *part) for part in blocks]
    while len(level) > 1:
        level = [pair(level[k : k + 2]) for k in range(0, len(level), 2)]
    found: StreamingQR = level[0].compute()
    return found


def _of_block(columns: int, targets: int, unpenalised: int, F: Any, t: Any, w: Any) -> StreamingQR:
    factor = StreamingQR(columns, targets, unpenalised)
    factor.add(F, t, w)
    return factor


def _packed(factor: StreamingQR) -> Tensor:
    """The triangle and the weight in one row."""
    return torch.from_numpy(np.append(factor.R[np.triu_indices(len(factor.R))], factor.weight))


def _unpacked(packed: Tensor, like: StreamingQR) -> StreamingQR:
    factor = StreamingQR(like.columns, like.targets, like.unpenalised)
    numbers: NDArray[np.float64] = packed.numpy()
    factor.R[np.triu_indices(len(factor.R))], factor.weight = numbers[:-1], float(numbers[-1])
    return factor
