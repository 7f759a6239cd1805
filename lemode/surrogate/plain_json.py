"""The JSON of a file that somebody else may have written: one object, no name in it twice, and no more memory than its length allows."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["ALLOWANCE", "Damaged", "json_object"]

# Bytes that any text may take as objects, beside twice its length: empty lists are 24 times as large as their text, and the names of a
# million points of a grid take 200 MB.
ALLOWANCE = 256 * 2**20
SMALL = ALLOWANCE // 32


class Damaged(Exception):
    """What is wrong with a text.

    Examples
    --------
    >>> print(Damaged("brackets are nested too deep"))
    brackets are nested too deep
    """


def json_object(text: str) -> dict[str, Any]:
    """The object that a JSON text is; `Damaged` for anything else.

    Examples
    --------
    >>> json_object('{"step": 0.5}')
    {'step': 0.5}
    >>> for text in ('{"step": 1, "step": 2}', "[" * 100_000, "3", '{"a": [' + "[]," * 5_000_000 + "[]]}"):
    ...     try:
    ...         json_object(text)
    ...     except Damaged as error:
    ...         print(error)
    'step' is there twice
    brackets are nested too deep
    int instead of an object
    its parts would take more memory than those of a file of its length may
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise Damaged(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
        return found

    if len(text) > SMALL and _memory(text) > 2 * len(text) + ALLOWANCE:
        raise Damaged("its parts would take more memory than those of a file of its length may")
    try:
        value = json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise Damaged("brackets are nested too deep") from None
    except ValueError as e:
        raise Damaged(str(e)) from None
    if not isinstance(value, dict):
        raise Damaged(f"{type(value).__name__} instead of an object")
    return value


def _memory(text: str) -> int:
    """Bytes of the objects of a JSON text, at most: those of CPython, with their places in a list or a dict."""
    strings = text.count('"') // 2
    values = text.count(",") + text.count("[") + text.count(":")
    total = 64 * strings + 42 * max(values - strings, 0) + 90 * text.count("[") + 320 * (text.count("{") + text.count(":"))
    # one escaped letter of another alphabet makes every letter of its string four bytes
    return total + (4 * len(text) if "\\u" in text else 0)
