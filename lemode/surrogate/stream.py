"""Series that are larger than memory: read from disk a block at a time, so that a readout is solved for on all of them.

How the core is drawn is chosen on a part that fits into memory; then every row goes once through the core into a triangle, which is all
that is kept of it. The head is that of the same least-squares problem in memory.
"""

from __future__ import annotations

import importlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories
from .parameters import check_number

__all__ = ["Piece", "Source", "Stream", "as_stream", "open_series"]

Array = NDArray[np.floating[Any]]

# an array on disk of so many bytes is not taken into memory, where a fit has some ten copies of it
LARGE = 256 * 2**20
# numbers that are read at a time, and that are in memory for the choice of the core
BLOCK, SAMPLE = 2_000_000, 4_000_000
PIECES = 64  # of the sample
# of the series that are held out, where no validation data are given
HELD_SERIES, HELD_SAMPLES = 16, 20_000


class Source(Protocol):
    """What a `Stream` reads: a memory map, an array of zarr or h5py, whatever has a shape ``(T, D)`` or ``(n, T, D)`` and can be sliced.

    Examples
    --------
    >>> source: Source = np.zeros((5, 2))
    >>> source[1:3].shape
    (2, 2)
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """``(T, D)`` or ``(n, T, D)``."""

    def __getitem__(self, index: Any) -> Any:
        """A part, which numpy.asarray makes an array of."""


class Piece(NamedTuple):
    """Samples from `begin` to `end` of one series of a stream.

    Examples
    --------
    >>> Piece(series=0, begin=5, end=8).end
    8
    """

    series: int
    begin: int
    end: int


class Stream:
    """Series on disk for ``Surrogate(train="readout").fit(stream)``, whose memory does not grow with them.

    Samples are one interval apart, and none is missing. Without validation data part of the series is held out: of five series or more
    every fifth one, else the end of each, a fifth of it; of this 20,000 samples of 16 series, or four million numbers, are read.

    Parameters
    ----------
    sources : an array ``(T, D)`` or ``(n, T, D)`` that is on disk, such as a `numpy.memmap`, an array of zarr or of h5py; the name of a
        file, see `open_series`; or a list of these
    names : D names; by default those that the columns of a file have, else x0, x1, ...
    interval : between samples

    Raises
    ------
    ValueError
        For other shapes, sources with different numbers of variables, or columns of other names or in another order.

    Examples
    --------
    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/waves.npy"
    >>> np.save(path, np.sin(0.1 * np.arange(3000) + np.arange(6)[:, None])[..., None])
    >>> stream = Stream(path, names=["v"], interval=0.1)
    >>> len(stream), stream.names, [block.shape for _, block in stream.blocks([Piece(0, 0, 3000)], overlap=1)]
    (6, ('v',), [(1, 3000, 1)])
    >>> model = lemode.Surrogate(hidden_size=10, train="readout", delays=0, verbose=0).fit(stream)
    >>> model.forecast(np.sin(0.1 * np.arange(200))[:, None], steps=3).shape
    (3, 1)
    """

    def __init__(self, sources: Any, names: Sequence[str] = (), interval: float = 1.0) -> None:
        given = list(sources) if isinstance(sources, (list, tuple)) else [sources]
        if not given:
            raise ValueError("there are no series: give an array that is on disk, the name of a file, or a list of these.")
        self.sources: list[Source] = [open_series(s) if isinstance(s, (str, os.PathLike)) else s for s in given]
        self.interval = check_number("interval", interval)
        self.rows: list[tuple[int, int | None]] = []  # of each series its source, and its place there
        for k, source in enumerate(self.sources):
            shape = tuple(source.shape)
            if len(shape) not in (2, 3) or 0 in shape or shape[-1] != self.sources[0].shape[-1]:
                raise ValueError(
                    f"source {k} has shape {shape}: give (T, D) or (n, T, D), with D={self.sources[0].shape[-1]} as the first one has."
                )
            self.rows += [(k, None)] if len(shape) == 2 else [(k, i) for i in range(shape[0])]
        D = int(self.sources[0].shape[-1])
        columns = {k: tuple(s.names) for k, s in enumerate(self.sources) if hasattr(s, "names")}
        first = min(columns, default=0)
        own = columns.get(first, ())
        for k, theirs in columns.items():
            if theirs != own:
                raise ValueError(f"source {k} has the columns {theirs}, source {first} {own}: give files of the same columns.")
        if names and own and tuple(names) != own:
            raise ValueError(f"names={tuple(names)}: the columns are {own}; leave names out, or rename them in the file.")
        self.names = tuple(names) or own or tuple(f"x{j}" for j in range(D))
        if len(self.names) != D or len(set(self.names)) != D:
            raise ValueError(f"names={self.names}: give {D} different names, one per variable.")

    def __len__(self) -> int:
        return len(self.rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise ValueError(
            "a Stream is read a block at a time, by Surrogate(train='readout').fit alone; stream.read(Piece(series, begin, end)) is a "
            "part of it in memory"
        )

    def length(self, series: int) -> int:
        """Samples of a series."""
        return int(self.sources[self.rows[series][0]].shape[-2])

    def read(self, piece: Piece) -> Array:
        """A piece in memory, ``(T, D)``; float32 is kept, everything else becomes float64.

        Raises
        ------
        ValueError
            For a value that is not finite, by its place.
        """
        k, i = self.rows[piece.series]
        source = self.sources[k]
        part = np.array(source[piece.begin : piece.end] if i is None else source[i, piece.begin : piece.end])
        if part.dtype.kind not in "fiub":
            raise ValueError(f"source {k} is of dtype {part.dtype}: give real numbers.")
        _let_go(source)
        part = part if part.dtype in (np.float32, np.float64) else part.astype(np.float64)
        bad = np.argwhere(~np.isfinite(part))
        if len(bad):
            raise ValueError(
                f"x holds {part[tuple(bad[0])]} in series {piece.series} at time index {piece.begin + bad[0, 0]}, variable "
                f"{self.names[bad[0, 1]]!r}: a stream has no missing values; repair them, or fit to the part without."
            )
        found: Array = part
        return found

    def blocks(self, pieces: Sequence[Piece], overlap: int) -> Iterator[tuple[int, Array]]:
        """Pieces of one length side by side, a block of time after the other: where each begins, and its values ``(n, T, D)``.

        The last `overlap` samples of a block are the first ones of the next.
        """
        T = pieces[0].end - pieces[0].begin
        step = max(BLOCK // (len(pieces) * len(self.names)), 2)
        for begin in range(0, max(T - overlap, 1), step):
            end = min(begin + step + overlap, T)
            yield begin, np.stack([self.read(Piece(p.series, p.begin + begin, p.begin + end)) for p in pieces])

    def whole(self) -> list[Piece]:
        """Every series as a piece."""
        return [Piece(i, 0, self.length(i)) for i in range(len(self))]

    def hold_out(self) -> tuple[list[Piece], list[Piece]]:
        """What is trained on, a piece of each series, and what is held out."""
        whole = self.whole()
        most = max(min(HELD_SAMPLES, SAMPLE // (min(len(self), HELD_SERIES) * len(self.names))), 500)
        if len(self) >= 5:
            held = [p._replace(end=min(p.end, most)) for p in whole[4::5]]
            return [p for i, p in enumerate(whole) if i % 5 != 4], held[:HELD_SERIES]
        cuts = [p.end - max(min(p.end // 5, most), 3) for p in whole]
        if min(cuts) < 3:
            raise ValueError(
                f"the shortest series has {min(p.end for p in whole)} samples: too short to hold out a part of it."
            )
        return [p._replace(end=c) for p, c in zip(whole, cuts)], [p._replace(begin=c) for p, c in zip(whole, cuts)]

    def sample(self, pieces: Sequence[Piece]) -> list[Piece]:
        """A part of these that fits into memory: pieces of one length, spread over all series and over their time."""
        shortest = min(p.end - p.begin for p in pieces)
        length = max(min(shortest, SAMPLE // (PIECES * len(self.names))), min(shortest, 200))
        count = min(PIECES, sum((p.end - p.begin) // length for p in pieces))
        places = []
        for j in range(count):
            p = pieces[j * len(pieces) // count if len(pieces) > count else j % len(pieces)]
            room, turn = p.end - p.begin - length, j // len(pieces) / max((count - 1) // len(pieces), 1)
            begin = p.begin + int(turn * room)
            places.append(Piece(p.series, begin, begin + length))
        return sorted(set(places))

    def trajectories(self, pieces: Sequence[Piece]) -> Trajectories:
        """Pieces in memory."""
        if len({p.end - p.begin for p in pieces}) == 1:
            x = np.stack([self.read(p) for p in pieces])
            return Trajectories(self.interval * np.arange(x.shape[1]), x, self.names)
        return Trajectories.ragged([(self.interval * np.arange(p.end - p.begin), self.read(p)) for p in pieces], self.names)


def as_stream(X: Any) -> Stream | None:
    """The stream that data are, or that they become because they are on disk and large; None for all else.

    Examples
    --------
    >>> as_stream(np.zeros((5, 2))) is None
    True
    """
    if isinstance(X, Stream):
        return X
    on_disk = isinstance(X, np.memmap) or all(hasattr(X, name) for name in ("chunks", "shape", "dtype", "__getitem__"))
    labelled = hasattr(X, "coords")  # by xarray: names, and dimensions in any order
    if not on_disk or labelled or len(X.shape) not in (2, 3) or np.dtype(X.dtype).itemsize * int(np.prod(X.shape)) <= LARGE:
        return None
    return Stream(X)


def open_series(path: str | os.PathLike[str]) -> Source:
    """The series in a file, as it can be read in parts.

    ``.npy`` by a memory map; ``.npz`` with one array, or one that is called x, in memory; ``.parquet``, whose columns are the variables, by
    row groups (pyarrow); ``.zarr`` and ``.h5`` or ``.hdf5``, an array, or the one that is called x.

    Raises
    ------
    ImportError
        Where pyarrow, zarr or h5py is needed, and is not installed.
    ValueError
        For a file of another kind, or one in which there is no such array.

    Examples
    --------
    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/x.npy"
    >>> np.save(path, np.zeros((5, 2)))
    >>> open_series(path).shape
    (5, 2)
    """
    kind = Path(path).suffix.lower()
    if kind in (".npy", ".npz") and not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    found: Any
    if kind == ".npy":
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    elif kind == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            found = archive[_only(path, list(archive))]
    elif kind == ".parquet":
        found = _Parquet(path)
    elif kind == ".zarr":
        found = _package("zarr", path).open(str(path), mode="r")
        found = found if hasattr(found, "shape") else found[_only(path, list(found))]
    elif kind in (".h5", ".hdf5"):
        file = _package("h5py", path).File(path, "r")
        found = file[_only(path, list(file))]
    else:
        raise ValueError(f"{path}: give a .npy, .npz, .parquet, .zarr, .h5 or .hdf5; or open it, and give the array.")
    source: Source = found
    return source


def _package(name: str, path: str | os.PathLike[str]) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        package = name.partition(".")[0]
        raise ImportError(f"{path}: {package} reads it: pip install {package}; or give the array itself, or an .npy.") from e


def _only(path: str | os.PathLike[str], names: list[str]) -> str:
    if "x" in names or len(names) == 1:
        return "x" if "x" in names else names[0]
    raise ValueError(
        f"{path}: holds {', '.join(names) or 'nothing'}; give a file with one array, or with one that is called x."
    )


class _Parquet:
    """A table of parquet as an array ``(T, D)``, of which one row group is in memory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        parquet, types = _package("pyarrow.parquet", path), _package("pyarrow.types", path)
        self.file = parquet.ParquetFile(path)
        self.names = tuple(self.file.schema_arrow.names)
        for name, kind in zip(self.names, self.file.schema_arrow.types):
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                raise ValueError(
                    f"{path}: column {name!r} is of type {kind}: leave it out of the file; samples are one interval apart."
                )
        counts = [self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)]
        self.ends = np.cumsum(counts)
        self.shape = (int(self.ends[-1]) if counts else 0, len(self.file.schema_arrow))
        self._group, self._values = -1, np.zeros((0, 0))

    def __getitem__(self, index: slice) -> Array:
        begin, end, _ = index.indices(self.shape[0])
        parts = []
        while begin < end:
            g = int(np.searchsorted(self.ends, begin, side="right"))
            first = int(self.ends[g - 1]) if g else 0
            if g != self._group:
                table = self.file.read_row_group(g)
                self._group, self._values = g, np.stack([column.to_numpy() for column in table.columns], -1)
            last = min(end, int(self.ends[g]))
            parts.append(self._values[begin - first : last - first])
            begin = last
        return np.concatenate(parts)


def _let_go(source: Any) -> None:
    """Pages of a memory map that were read count as memory of the process until the system needs them; it may have them now."""
    base, of_a_file = source, False
    while isinstance(base, np.ndarray):
        # what was written to a copy, or to memory that is no file's, is nowhere else
        of_a_file = isinstance(base, np.memmap) and base.mode != "c"
        base = base.base
    if of_a_file and isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
