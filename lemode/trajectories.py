"""Sampled trajectories: times, values and names, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Trajectories"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Trajectories:
    """n trajectories of D variables, sampled at the same T times, or each at times of its own.

    What was checked stays so: `t` and `x` are copies that cannot be written to. Two are equal if times, values, names and `missing` are,
    what is missing included. ``data[rows]`` is a subset of the trajectories, so that scikit-learn's splits and searches take them.

    Parameters
    ----------
    t : (T,) strictly increasing, in the time unit of the system; or (n, T) where each trajectory has its own times, those that have
        fewer than T ending in NaN (`ragged` makes these)
    x : (n, T, D), or (T, D) for a single trajectory; float32 is kept, everything else becomes float64, booleans 0 and 1
    names : D variable names, or the one; x0, x1, ... by default
    missing : NaN in x means that this value was not measured; otherwise it is an error. What is masked in a masked array was not.

    Raises
    ------
    ValueError
        For an empty set, shapes that do not fit, times that do not increase, or a value that is not finite
        (the message names the trajectory, the time index and the variable).

    Examples
    --------
    >>> t = np.linspace(0, 1, 11)
    >>> data = Trajectories(t, np.sin(t)[None, :, None], names=("v",))
    >>> len(data), data.select(["v"]).x.shape
    (1, (1, 11, 1))
    """

    t: Array
    x: Array
    names: tuple[str, ...] = field(default=())
    missing: bool = False

    def __post_init__(self) -> None:
        t, x, mask = _times(self.t), _real("x", self.x), _mask(self.x)
        missing = bool(self.missing or mask.any())
        if x.ndim == 2:
            x, mask = x[None], mask[None]
        if x.ndim != 3:
            raise ValueError(f"x has shape {x.shape}: give (n, T, D), or (T, D) for one trajectory.")
        n, T, D = x.shape
        if 0 in x.shape:
            raise ValueError(f"x has shape {x.shape}: there is no data in it.")
        if t.shape not in {(T,), (n, T)}:
            raise ValueError(
                f"t has shape {t.shape}, x has {T} samples a trajectory: give t of shape ({T},), or ({n}, {T}) for times of their own."
            )
        names = ((self.names,) if isinstance(self.names, str) else tuple(self.names)) or tuple(f"x{i}" for i in range(D))
        if len(names) != D or len(set(names)) != D:
            raise ValueError(f"names={names}: give {D} different names, one per variable.")
        if t.ndim == 2:
            x = np.where(_there(t)[..., None], x, np.nan).astype(x.dtype)
        elif not np.all(np.diff(t) > 0) or not np.all(np.isfinite(t)):
            raise ValueError("t: give finite, strictly increasing times.")
        there = np.isfinite(np.broadcast_to(t, (n, T)))
        _check_values(x, names, there[..., None] & ~mask, self.missing)
        if missing:
            x = np.where(mask, np.asarray(np.nan, x.dtype), x)
            _check_something(x, names)
        for key, value in (("t", _frozen(t)), ("x", _frozen(x)), ("names", names), ("missing", missing)):
            object.__setattr__(self, key, value)

    __array_ufunc__ = None  # numpy leaves == to us, and sin(data) is an error and no array without its times
    __hash__ = None  # type: ignore[assignment]  # as of all that is compared by its arrays

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trajectories):
            return NotImplemented
        same = (self.names, self.missing) == (other.names, other.missing)
        return same and all(np.array_equal(a, b, equal_nan=True) for a, b in ((self.t, other.t), (self.x, other.x)))

    @classmethod
    def ragged(
        cls, series: Iterable[tuple[ArrayLike, ArrayLike]], names: Sequence[str] = (), missing: bool = False
    ) -> Trajectories:
        """Trajectories of different lengths and times: one pair t ``(T_i,)``, x ``(T_i, D)`` for each.

        Raises
        ------
        ValueError
            For no trajectories, or shapes that do not fit; and as for the class.

        Examples
        --------
        >>> data = Trajectories.ragged([([0, 1, 3], [[1], [2], [3]]), ([0.5, 2], [[4], [np.nan]])], ["v"], missing=True)
        >>> data.t.shape, data.x.shape, data.lengths
        ((2, 3), (2, 3, 1), array([3, 2]))
        """
        triples = [(_times(t), _real("x", x), _mask(x)) for t, x in series]
        pairs = [(t, x) for t, x, _ in triples]
        if not pairs:
            raise ValueError("there are no trajectories: give at least one pair (t, x).")
        D = pairs[0][1].shape[-1] if pairs[0][1].ndim else 0
        for i, (t, x) in enumerate(pairs):
            if t.ndim != 1 or x.shape != (len(t), D):
                raise ValueError(
                    f"trajectory {i}: t has shape {t.shape}, x {x.shape}: give (T,) and (T, D), with D={D} for all."
                )
            if not len(t) or not np.isfinite(t).all():
                raise ValueError(f"trajectory {i}: give at least one sample, at finite times.")
        T = max(len(t) for t, _ in pairs)
        times = np.full((len(pairs), T), np.nan)
        values = np.full((len(pairs), T, D), np.nan, dtype=np.result_type(*(x.dtype for _, x in pairs)))
        masks = np.zeros(values.shape, dtype=bool)
        for i, (t, x, mask) in enumerate(triples):
            times[i, : len(t)], values[i, : len(t)], masks[i, : len(t)] = t, x, mask
        given: Any = np.ma.masked_array(values, masks) if masks.any() else values
        return cls(times, given, names, missing)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of x, ``(n, T, D)``."""
        return self.x.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.x, dtype) if copy or dtype not in (None, self.x.dtype) else self.x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Trajectories:
        """A subset of the trajectories: by a number, a slice, numbers or booleans; also ``[rows, ...]``, as scikit-learn writes it."""
        if isinstance(index, tuple):
            if len(index) != 2 or index[1] is not Ellipsis:
                raise IndexError("the first index chooses trajectories; for variables and times use select(names), or x and t.")
            index = index[0]
        rows = np.atleast_1d(np.arange(len(self))[index])
        if self.t.ndim == 1 or not len(rows):
            return Trajectories(self.t, self.x[rows], self.names, self.missing)
        T = self.lengths[rows].max()
        return Trajectories(self.t[rows, :T], self.x[rows, :T], self.names, self.missing)

    def __iter__(self) -> Iterator[Trajectories]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of samples of each trajectory, ``(n,)``."""
        return np.isfinite(np.broadcast_to(self.t, self.x.shape[:2])).sum(1)

    @property
    def step(self) -> float:
        """The sampling interval; ValueError if t is not evenly spaced to 1 part in 10^6."""
        steps = self.intervals()
        mean = float(steps.mean())
        if not self.even():
            raise ValueError(
                f"t is not evenly spaced (intervals from {steps.min():.6g} to {steps.max():.6g}): resample it to one interval."
            )
        return mean

    def even(self) -> bool:
        """Whether all samples are one interval apart, to 1 part in 10^6."""
        steps = self.intervals()
        return bool(np.ptp(steps) <= 1e-6 * steps.mean() + 4 * np.spacing(np.nanmax(np.abs(self.t))))

    def intervals(self) -> Array:
        """All times between neighbouring samples, in one row; ValueError if there is only a single time."""
        steps = np.diff(self.t).ravel()
        steps = steps[np.isfinite(steps)]
        if not len(steps):
            raise ValueError("t has a single time: a sampling interval needs two.")
        return steps

    def select(self, names: Sequence[str]) -> Trajectories:
        """The named variables, or the one, in that order."""
        names = (names,) if isinstance(names, str) else names
        unknown = [name for name in names if name not in self.names]
        if unknown or not names:
            raise ValueError(f"variables {list(unknown or names)}: choose from {', '.join(self.names)}.")
        x = self.x[..., [self.names.index(name) for name in names]]
        return Trajectories(self.t, x, tuple(names), self.missing)


def _check_values(x: Array, names: Sequence[str], there: NDArray[np.bool_], missing: bool) -> None:
    """ValueError that names the first bad value among those that are there; NaN is none where values may be missing."""
    bad = (np.isinf(x) if missing else ~np.isfinite(x)) & there
    if bad.any():
        i, k, j = (int(v) for v in np.argwhere(bad)[0])
        hint = ", or give Trajectories(t, x, missing=True) if NaN says that a value was not measured"
        hint = "" if missing or np.isinf(x[i, k, j]) else hint
        raise ValueError(
            f"x holds {x[i, k, j]} in trajectory {i} at time index {k}, variable {names[j]!r} ({int(bad.sum())} such values): "
            f"remove or repair these samples{hint}."
        )


def _check_something(x: Array, names: Sequence[str]) -> None:
    """ValueError for a variable of which nothing is there."""
    if not np.isfinite(x).any(1).all():
        i, j = (int(v) for v in np.argwhere(~np.isfinite(x).any(1))[0])
        raise ValueError(f"trajectory {i} has no value of {names[j]!r} at all: leave the trajectory or the variable out.")


def _there(t: Array) -> NDArray[np.bool_]:
    """Which entries of t (n, T) are samples and not padding; checked."""
    there = np.isfinite(t)
    if np.isinf(t).any() or not there[:, 0].all() or (np.diff(there.astype(int)) > 0).any():
        raise ValueError("t: give finite times; a trajectory that has fewer than the longest ends in NaN.")
    steps = np.diff(t)
    if not (np.isnan(steps) | (steps > 0)).all():
        raise ValueError(
            f"t of trajectory {int(np.argwhere(~(np.isnan(steps) | (steps > 0)))[0, 0])}: give strictly increasing times."
        )
    return there


def _times(value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype.kind in "mM":
        raise ValueError(
            f"t holds dates or time differences, first {array.flat[0] if array.size else None}: give seconds, "
            "(t - t[0]) / np.timedelta64(1, 's'); or give a surrogate a pandas.DataFrame with the dates as its index."
        )
    if _mask(value).any():
        raise ValueError(
            f"t is masked, first at {tuple(int(k) for k in np.argwhere(_mask(value))[0])}: leave these samples out."
        )
    if array.dtype.kind == "b":
        raise ValueError("t has dtype bool: give real numbers.")
    return _real("t", array)


def _mask(value: ArrayLike) -> NDArray[np.bool_]:
    """What is masked in a masked array, as readers of netCDF yield them."""
    return np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else np.broadcast_to(False, np.shape(value))


def _real(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype.kind == "c":
        raise ValueError(
            f"{name} has dtype {array.dtype}: give real numbers, the real and the imaginary part as two variables."
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {array.dtype}: give real numbers.")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _frozen(array: Array) -> Array:
    """A copy that cannot be written to; the array itself where it is one already, and no view of another."""
    if array.flags.writeable or array.base is not None:
        array = array.copy()
        array.flags.writeable = False
    return array
