"""Tasks that are drawn: the adding problem and copy memory, of any length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._checks import checks, count, seed
from .base import Part, Task

__all__ = ["adding", "copy_memory", "draw_adding", "draw_copy"]

OURS = "none needed: drawn by lemode"


def _sizes(n: Sequence[int]) -> tuple[int, int, int]:
    try:
        train, validation, test = (count("n", size) for size in n)
    except (TypeError, ValueError):
        raise ValueError(f"n={n!r}: give three numbers of sequences, for training, validation and test.") from None
    return train, validation, test


def draw_adding(n: int, T: int, rng: np.random.Generator) -> Part:
    """n sequences of the adding problem, for training on new ones at every step.

    Examples
    --------
    >>> x, y = draw_adding(3, 100, np.random.default_rng(0))
    >>> x.shape, bool(np.allclose(y, (x[..., 0] * x[..., 1]).sum(1)))
    ((3, 100, 2), True)
    """
    if T < 2:
        raise ValueError(f"T={T}: the adding problem needs two steps at least.")
    x = np.zeros((n, T, 2), np.float32)
    x[..., 0] = rng.random((n, T), dtype=np.float32)
    rows, half = np.arange(n), T // 2
    marks = np.stack([rng.integers(0, half, n), rng.integers(half, T, n)])
    x[rows, marks, 1] = 1
    return Part(x, x[rows, marks, 0].sum(0))


@checks(T=count, seed=seed)
def adding(T: int, n: Sequence[int] = (10_000, 1000, 1000), seed: int = 0) -> Task:
    r"""The adding problem: of T numbers from U(0, 1) the sum of the two that are marked, one in each half.

    .. math:: x_n = (v_n, m_n), \qquad y = \sum_n v_n m_n

    Who remembers neither and says 1 has the mean squared error 1/6; who finds one of them 1/12.

    Parameters
    ----------
    T : int
        Steps of a sequence.
    n : three ints
        Sequences for training, validation and test.
    seed : int

    Raises
    ------
    ValueError
        For T below 2, or sizes that are no three numbers.

    Examples
    --------
    >>> task = adding(T=100, n=(500, 100, 100))
    >>> task.train.x.shape, bool(abs(task.train.y.var() - 1 / 6) < 0.02)
    ((500, 100, 2), True)

    References
    ----------
    Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997); the variant with one mark in each half is that of
    arXiv:2110.04744.
    """
    rng = np.random.default_rng(seed)
    train, validation, test = (draw_adding(size, T, rng) for size in _sizes(n))
    return Task(f"adding, T={T}", "regression", train, validation, test, "drawn, Hochreiter and Schmidhuber 1997", OURS)


def draw_copy(n: int, T: int, rng: np.random.Generator, length: int = 10, symbols: int = 8) -> Part:
    """n sequences of copy memory, for training on new ones at every step.

    Examples
    --------
    >>> x, y = draw_copy(2, 5, np.random.default_rng(0), length=3)
    >>> x.argmax(-1)[0].tolist(), y[0].tolist()  # 0 is the blank, 9 the signal to answer
    ([7, 6, 5, 0, 0, 0, 0, 9, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 7, 6, 5])
    """
    if min(T, length, symbols) < 1:
        raise ValueError(f"T={T}, length={length}, symbols={symbols}: give positive integers.")
    word = rng.integers(1, symbols + 1, (n, length))
    tokens = np.zeros((n, T + 2 * length), np.int64)
    tokens[:, :length] = word
    tokens[:, length + T - 1] = symbols + 1
    y = np.zeros_like(tokens)
    y[:, -length:] = word
    return Part(np.eye(symbols + 2, dtype=np.float32)[tokens], y)


@checks(T=count, length=count, symbols=count, seed=seed)
def copy_memory(T: int, n: Sequence[int] = (2000, 500, 500), length: int = 10, symbols: int = 8, seed: int = 0) -> Task:
    r"""Copy memory: say `length` symbols again after T steps of blanks, when a signal comes.

    Symbols are 1 to `symbols`, the blank is 0, the signal is one more; x has one feature each, 1 where it is. Every step has a label: a
    blank for all steps but the last ones. Who remembers nothing has, of all ``T + 2 length`` steps, the mean cross entropy

    .. math:: \frac{\text{length} \cdot \log(\text{symbols})}{T + 2\,\text{length}}.

    Parameters
    ----------
    T : int
        Steps between the last symbol and the first of the answer, the signal among them.
    n : three ints
        Sequences for training, validation and test.
    length, symbols : int
    seed : int

    Raises
    ------
    ValueError
        For sizes that are not positive.

    Examples
    --------
    >>> task = copy_memory(T=30, n=(10, 5, 5))
    >>> task.train.x.shape, task.train.y.shape, len(task.classes)
    ((10, 50, 10), (10, 50), 9)

    References
    ----------
    Arjovsky, Shah and Bengio, Unitary Evolution Recurrent Neural Networks, ICML 2016, arXiv:1511.06464.
    """
    rng = np.random.default_rng(seed)
    train, validation, test = (draw_copy(size, T, rng, length, symbols) for size in _sizes(n))
    source, classes = "drawn, Arjovsky, Shah and Bengio 2016", tuple(range(symbols + 1))
    return Task(f"copy memory, T={T}", "labels at each step", train, validation, test, source, OURS, classes)
