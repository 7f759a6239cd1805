"""Text, symbol by symbol: what Python carries in its own documentation, and the Penn Treebank of a user."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._checks import checks, count
from .base import Part, Task, check_md5, file_of

__all__ = ["python_topics", "treebank"]

PTB = {
    "train": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "valid": "aa0affc06ff7c36e977d7cd49e3839bf",
    "test": "8b80168b89c18661a38ef683c0dc3721",
}


def _windows(symbols: Sequence[str], known: dict[str, int], T: int) -> Part:
    """Every T symbols, and each one's successor."""
    indices = np.array([known[s] for s in symbols], dtype=np.int64)
    n = (len(indices) - 1) // T
    if n < 1:
        raise ValueError(f"T={T}: a part of the text has {len(indices)} symbols; give fewer steps.")
    return Part(indices[: n * T].reshape(n, T), indices[1 : n * T + 1].reshape(n, T))


def _task(name: str, parts: Sequence[Sequence[str]], T: int, source: str, licence: str) -> Task:
    symbols = sorted(set().union(*parts))
    known = {symbol: k for k, symbol in enumerate(symbols)}
    train, validation, test = (_windows(part, known, T) for part in parts)
    return Task(name, "labels at each step", train, validation, test, source, licence, tuple(symbols))


@checks(T=count)
def python_topics(T: int = 100) -> Task:
    """The help texts of the Python language that every Python carries, some 450,000 characters: say the next character.

    The topics in alphabetical order, 90 per cent to train, 5 to choose by, 5 to test. Another version of Python has another text: the
    source names it.

    Parameters
    ----------
    T : int
        Characters in a sequence; they follow each other, so a state can be carried from one to the next.

    Examples
    --------
    >>> task = python_topics(T=100)
    >>> "".join(task.classes[k] for k in task.train.x[0])[:23]
    'The "assert" statement\\n'
    """
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    cuts = [int(0.9 * len(text)), int(0.95 * len(text))]
    parts = [text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] :]]
    source = f"pydoc_data.topics of Python {platform.python_version()}"
    return _task("Python's help texts", parts, T, source, "Python Software Foundation License 2")


@checks(T=count)
def treebank(root: str | os.PathLike[str], level: str = "character", T: int = 150) -> Task:
    """The Penn Treebank in Mikolov's form, from ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` of a user.

    By characters, an underscore for the space as in their published figures, or by words, with ``<eos>`` for the end of a line.

    Parameters
    ----------
    root : folder
        Where the three files are, or ``simple-examples/data`` with them.
    level : {'character', 'word'}
    T : int
        Symbols in a sequence.

    Raises
    ------
    FileNotFoundError, ValueError
        For a file that is not there, or whose MD5 sum is not that of the set.

    Examples
    --------
    >>> treebank("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: nowhere has no ptb.train.txt or ...

    References
    ----------
    Marcus, Santorini and Marcinkiewicz, Building a large annotated corpus of English, Computational Linguistics 19 (1993); Mikolov et
    al., Subword language modeling with neural networks, 2012.
    """
    if level not in ("character", "word"):
        raise ValueError(f"level={level!r}: give 'character' or 'word'.")
    parts: list[Any] = []
    for name, md5 in PTB.items():
        file = f"ptb.{name}.txt"
        path = file_of(root, file, f"simple-examples/data/{file}", f"data/{file}", what="of the Penn Treebank")
        data = path.read_bytes()
        check_md5(path, md5, data)
        lines = [line.split() for line in data.decode().splitlines()]
        words = [word for line in lines for word in (*line, "<eos>")]
        parts.append(words if level == "word" else _characters(lines))
    licence = "Linguistic Data Consortium, LDC99T42: not to be redistributed"
    return _task(f"Penn Treebank, by {level}s", parts, T, "the Penn Treebank in Mikolov's form, files of the user", licence)


def _characters(lines: list[list[str]]) -> list[str]:
    found = []
    for line in lines:
        found += [*"_".join(line), "\n"]
    return found
