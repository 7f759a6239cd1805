"""Sampled trajectories: times, values and names, checked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Trajectories"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Trajectories:
    """n trajectories of D variables sampled at the same T times.

    Parameters
    ----------
    t : (T,) strictly increasing, in the time unit of the system
    x : (n, T, D), or (T, D) for a single trajectory; float32 is kept, everything else becomes float64
    names : D variable names; x0, x1, ... by default

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

    def __post_init__(self) -> None:
        t, x = _real("t", self.t), _real("x", self.x)
        if x.ndim == 2:
            x = x[None]
        if x.ndim != 3:
            raise ValueError(f"x has shape {x.shape}: give (n, T, D), or (T, D) for one trajectory.")
        _, T, D = x.shape
        if 0 in x.shape:
            raise ValueError(f"x has shape {x.shape}: there is no data in it.")
        if t.shape != (T,):
            raise ValueError(f"t has shape {t.shape}, x has {T} samples a trajectory: give t of shape ({T},).")
        if not np.all(np.diff(t) > 0) or not np.all(np.isfinite(t)):
            raise ValueError("t: give finite, strictly increasing times.")
        names = tuple(self.names) or tuple(f"x{i}" for i in range(D))
        if len(names) != D or len(set(names)) != D:
            raise ValueError(f"names={names}: give {D} different names, one per variable.")
        check_finite(x, names)
        for key, value in (("t", t), ("x", x), ("names", names)):
            object.__setattr__(self, key, value)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Trajectories:
        """A subset of the trajectories."""
        return Trajectories(self.t, self.x[np.atleast_1d(np.arange(len(self))[index])], self.names)

    def __iter__(self) -> Iterator[Trajectories]:
        return (self[i] for i in range(len(self)))

    @property
    def step(self) -> float:
        """The sampling interval; ValueError if t is not evenly spaced to 1 part in 10^6."""
        if len(self.t) < 2:
            raise ValueError("t has a single time: a sampling interval needs two.")
        steps = np.diff(self.t)
        mean = float(steps.mean())
        if np.ptp(steps) > 1e-6 * mean + 4 * np.spacing(np.abs(self.t).max()):
            raise ValueError(
                f"t is not evenly spaced (intervals from {steps.min():.6g} to {steps.max():.6g}): resample it to one interval."
            )
        return mean

    def select(self, names: Sequence[str]) -> Trajectories:
        """The named variables, in that order."""
        missing = [name for name in names if name not in self.names]
        if missing or not names:
            raise ValueError(f"variables {list(missing or names)}: choose from {', '.join(self.names)}.")
        return Trajectories(self.t, self.x[..., [self.names.index(name) for name in names]], tuple(names))


def check_finite(x: Array, names: Sequence[str]) -> None:
    """ValueError that names the first value of x (n, T, D) that is NaN or infinite."""
    bad = ~np.isfinite(x)
    if bad.any():
        i, k, j = (int(v) for v in np.argwhere(bad)[0])
        raise ValueError(
            f"x holds {x[i, k, j]} in trajectory {i} at time index {k}, variable {names[j]!r} ({int(bad.sum())} such values): "
            "remove or repair these samples."
        )


def _real(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {array.dtype}: give real numbers.")
    return array if array.dtype == np.float32 else array.astype(np.float64)
