"""A task: sequences with what is to be said of them, in three fixed parts, and where they are from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "Part", "Task", "check_md5", "file_of", "split"]

KINDS = ("classification", "regression", "labels at each step")
"""What the targets are: a class or a number for each sequence, or a class for each of its steps."""


class Part(NamedTuple):
    """Sequences and their targets.

    x is ``(n, T, D)`` of float32, or a list of ``(T_i, D)`` where lengths differ; of text it is ``(n, T)``, indices of symbols. y is
    ``(n,)``, or ``(n, T)`` where each step has a label.

    Examples
    --------
    >>> part = Part(np.zeros((4, 10, 2), np.float32), np.array([0, 1, 0, 1]))
    >>> len(part.x), part.y.shape
    (4, (4,))
    """

    x: Any
    y: NDArray[Any]


@dataclass(frozen=True)
class Task:
    """A data set for sequence models, with a split that never changes.

    Attributes
    ----------
    name : str
    kind : one of `KINDS`
    train, validation, test : Part
        Learn from the first, choose by the second, report the third, once.
    classes : tuple
        What the numbers of y stand for, in their order; empty for a regression.
    source, licence : str
        In words.

    Examples
    --------
    >>> task = lemode.tasks.adding(T=50, n=(100, 20, 20))
    >>> task
    Task adding, T=50: regression, 100/20/20 sequences of 50 steps, 2 features
    """

    name: str
    kind: str
    train: Part
    validation: Part
    test: Part
    source: str
    licence: str
    classes: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}: give one of {', '.join(map(repr, KINDS))}.")
        for name in ("train", "validation", "test"):
            part = getattr(self, name)
            if len(part.x) != len(part.y) or not len(part.x):
                raise ValueError(f"{self.name}: {name} has {len(part.x)} sequences and {len(part.y)} targets.")

    def __repr__(self) -> str:
        lengths = {len(x) for part in (self.train, self.validation, self.test) for x in part.x}
        steps = str(lengths.pop()) if len(lengths) == 1 else f"{min(lengths)} to {max(lengths)}"
        first = self.train.x[0]
        features = f"{first.shape[1]} feature{'s' * (first.shape[1] != 1)}" if first.ndim == 2 else "one symbol each"
        sizes = "/".join(str(len(part.x)) for part in (self.train, self.validation, self.test))
        classes = f" into {len(self.classes)} classes" if self.classes else ""
        return f"Task {self.name}: {self.kind}{classes}, {sizes} sequences of {steps} steps, {features}"


def split(y: NDArray[Any], shares: Sequence[float], seed: int = 0) -> list[NDArray[np.intp]]:
    """Indices of parts with these shares of every class, in a fixed order; of numbers, of every tenth of them by size.

    Examples
    --------
    >>> first, second = split(np.array(["a"] * 6 + ["b"] * 3), (2 / 3, 1 / 3))
    >>> np.sort(first), np.sort(second)  # four of a and two of b; two and one
    (array([2, 3, 4, 5, 6, 7]), array([0, 1, 8]))
    """
    rng = np.random.default_rng(seed)
    groups = y
    if y.dtype.kind == "f":
        rank = np.argsort(np.argsort(y, kind="stable"), kind="stable")
        groups = rank * max(1, min(10, len(y) // 10)) // len(y)
    parts: list[list[int]] = [[] for _ in shares]
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        cuts = np.round(np.cumsum(shares) / sum(shares) * len(members)).astype(int)[:-1]
        for part, chosen in zip(parts, np.split(members, cuts)):
            part += chosen.tolist()
    return [rng.permutation(np.array(part, dtype=np.intp)) for part in parts]


def file_of(root: Any, *names: str, what: str) -> Path:
    """The first of these files that is below root; FileNotFoundError names all of them and what they are.

    Examples
    --------
    >>> file_of("nowhere", "a.ts", what="the training series")
    Traceback (most recent call last):
    FileNotFoundError: nowhere has no a.ts, the training series: give the folder in which it is.
    """
    for name in names:
        if (path := Path(root) / name).is_file():
            return path
    raise FileNotFoundError(f"{root} has no {' or '.join(names)}, {what}: give the folder in which it is.")


def check_md5(path: Path, md5: str, data: bytes) -> None:
    """ValueError unless the bytes are those that are known by this sum.

    Examples
    --------
    >>> check_md5(Path("a"), "900150983cd24fb0d6963f7d28e17f72", b"abc")
    """
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"{path} has the MD5 sum {found}, the data set's is {md5}: the file is damaged or another; get it again."
        )
