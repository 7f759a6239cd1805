"""Sets of the UCR, UEA and TSER archives from .ts files: a user's, or those that aeon and sktime carry in their packages."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import Part, Task, file_of, split

__all__ = ["LICENCES", "archive", "read_ts"]

LICENCES = {
    "ACSF1": "none stated; of the UCR archive, for research",
    "BIDMC32HR": "Open Data Commons Attribution 1.0 (PhysioNet), by the TSER archive CC BY 4.0",
    "CardanoSentiment": "CC BY 4.0 (Zenodo, TSER archive)",
    "Covid3Month": "CC BY 4.0 (Zenodo, TSER archive)",
    "EigenWorms": "none stated; of the UEA archive, for research",
    "JapaneseVowels": "CC BY 4.0 (UCI)",
    "Tecator": "none stated; of StatLib, free for research if its source is named",
}
"""What is known of some sets; of others the licence is to be looked up at timeseriesclassification.com."""


class _Series(NamedTuple):
    x: list[NDArray[np.float32]]
    y: NDArray[Any]
    labels: tuple[str, ...]  # empty for a regression


def read_ts(path: str | os.PathLike[str]) -> tuple[list[NDArray[np.float32]], NDArray[Any], tuple[str, ...]]:
    """Series of a .ts file, each ``(T_i, D)``, with their labels or numbers, and the labels that the file announces, none for numbers.

    A ``?`` is NaN. ValueError, with the line, for what is no such file, for time stamps, and for channels of unequal lengths.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.ts")
    >>> _ = path.write_text("@timeStamps false\\n@classLabel true up down\\n@data\\n1,2,3:0,0,?:up\\n3,2,1:1,0,0:down\\n")
    >>> x, y, labels = read_ts(path)
    >>> x[0].T.tolist(), y.tolist(), labels
    ([[1.0, 2.0, 3.0], [0.0, 0.0, nan]], ['up', 'down'], ('up', 'down'))
    """
    labels: tuple[str, ...] = ()
    regression, data = False, False
    x: list[NDArray[np.float32]] = []
    y: list[Any] = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text or text.startswith(("#", "%")):
                continue
            where = f"{path}, line {number}"
            if not data:
                key, *values = text.lower().split()
                if not key.startswith("@"):
                    raise ValueError(f"{where}: data before @data; give a .ts file.")
                if key == "@timestamps" and values[:1] == ["true"]:
                    raise ValueError(f"{where}: series with time stamps are not read; give one that is sampled evenly.")
                if key == "@classlabel" and values[:1] == ["true"]:
                    labels = tuple(text.split()[2:])
                regression |= key == "@targetlabel" and values[:1] == ["true"]
                data = key == "@data"
                continue
            *channels, target = text.split(":")
            try:
                series = [
                    np.array([np.nan if v.strip() == "?" else float(v) for v in c.split(",")], np.float32) for c in channels
                ]
                y.append(float(target) if regression else target.strip())
            except ValueError as e:
                raise ValueError(
                    f"{where}: {e}; numbers are between commas, channels between colons, the target is last."
                ) from None
            if not series or len({len(c) for c in series}) > 1 or (x and x[0].shape[1] != len(series)):
                raise ValueError(
                    f"{where}: {len(series)} channels of lengths {sorted({len(c) for c in series})}; channels of one length are "
                    "read, as many in every series."
                )
            if not regression and labels and y[-1] not in labels:
                raise ValueError(f"{where}: the label {y[-1]!r} is none of {', '.join(labels)}, which @classLabel announces.")
            x.append(np.stack(series, 1))
    if not x:
        raise ValueError(f"{path} has no series after @data: give a .ts file.")
    return x, np.array(y), () if regression else labels or tuple(sorted(set(map(str, y))))


def archive(name: str, root: str | os.PathLike[str] | None = None, pooled: bool = False) -> Task:
    """A set of an archive by its name, such as 'EigenWorms' or 'BIDMC32HR', from ``name_TRAIN.ts`` and ``name_TEST.ts``.

    A fifth of the training part, of every class alike, is held out to choose by; the test part is the archive's. No checksums of these
    files are published. Without root the files are those inside an installed aeon or sktime, which are found and not imported:
    'ACSF1' (1,460 steps, 10 appliances), 'JapaneseVowels' (7 to 29 steps, 12 channels, 9 speakers), 'BasicMotions' and the
    regressions 'Covid3Month' and 'CardanoSentiment' in aeon; 'PLAID' (100 to 1,344 steps, 11 appliances) and 'Tecator' (the fat of
    meat, from its spectrum) in sktime. ``pip install --no-deps aeon`` or sktime is enough for that.

    Parameters
    ----------
    name : str
    root : folder, optional
        Where the two files are, or a folder `name` with them, as aeon writes them.
    pooled : bool
        Both parts in one, split anew into 70, 15 and 15 per cent: what much of the literature reports for EigenWorms, arXiv:2110.04744
        too. (Their own draw of it depends on scikit-learn; this one is `lemode.tasks.base.split`.)

    Raises
    ------
    FileNotFoundError, ValueError
        For a file that is not there, or cannot be read.
    ImportError
        Without root, and without a package that has the set.

    Examples
    --------
    >>> archive("EigenWorms", "nowhere")
    Traceback (most recent call last):
    FileNotFoundError: nowhere has no EigenWorms_TRAIN.ts or EigenWorms/EigenWorms_TRAIN.ts, of the archive: give the folder in which it is.

    References
    ----------
    Bagnall et al., The UEA multivariate time series classification archive, arXiv:1811.00075; Tan et al., Time series extrinsic
    regression, Data Mining and Knowledge Discovery 35 (2021); Middlehurst et al., aeon, JMLR 25 (2024).
    """
    folder = _shipped(name) if root is None else Path(root)
    read = []
    for end in ("TRAIN", "TEST"):
        path = file_of(folder, f"{name}_{end}.ts", f"{name}/{name}_{end}.ts", what="of the archive")
        read.append(_Series(*read_ts(path)))
    train, test = read
    classes = train.labels
    if bool(classes) != bool(test.labels) or not set(test.labels) <= set(classes):
        raise ValueError(f"{name}: its two files have different labels, {', '.join(classes)} and {', '.join(test.labels)}.")
    x = train.x + test.x
    y = np.concatenate([train.y, test.y])
    if classes:
        y = np.array([classes.index(label) for label in y], dtype=np.int64)
    if pooled:
        rows = split(y, (0.7, 0.15, 0.15))
    else:
        n = len(train.y)
        rows = [*split(y[:n], (0.8, 0.2)), np.arange(n, len(y))]
    even = len({len(series) for series in x}) == 1
    first, second, third = (Part(np.stack([x[i] for i in r]) if even else [x[i] for i in r], y[r]) for r in rows)
    source = f"{name} of the UCR, UEA or TSER archive, timeseriesclassification.com; {folder}"
    licence = LICENCES.get(name, "see the header of the file, and timeseriesclassification.com")
    return Task(name, "classification" if classes else "regression", first, second, third, source, licence, classes)


def _shipped(name: str) -> Path:
    """The folder of a set inside a package; its data lie beside its code."""
    for package in ("aeon", "sktime"):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(place) / "datasets" / "data" / name
            if folder.is_dir():
                return folder
    raise ImportError(
        f"{name} is in no installed package: pip install --no-deps aeon, which ships some sets, or give root=, the folder of its files."
    )
