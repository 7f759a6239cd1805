"""Angles: read as sine and cosine, so that -pi and pi are the same, and given back between these."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories

__all__ = ["Circle", "check_angles", "wrapped"]

Array = NDArray[np.floating[Any]]


class Circle(NamedTuple):
    """Which of the first `observed` variables are angles, by their places.

    Examples
    --------
    >>> data = Trajectories(np.arange(2.0), [[3.0, np.pi], [4.0, 1.5 * np.pi]], ("v", "angle"))
    >>> there = Circle((1,), observed=2).apply(data)
    >>> there.names, there.x.round(3).tolist()
    (('v', 'cos(angle)', 'sin(angle)'), [[[3.0, -1.0, 0.0], [4.0, -0.0, -1.0]]])
    >>> Circle((1,), observed=2).undo(there.x).round(3)
    array([[[ 3.   ,  3.142],
            [ 4.   , -1.571]]])
    """

    places: tuple[int, ...]
    observed: int

    def apply(self, data: Trajectories) -> Trajectories:
        """The data with cosines in the places of the angles, and the sines behind what is observed."""
        x, D, names = data.x.copy(), self.observed, list(data.names)
        sines = np.sin(x[..., list(self.places)])
        x[..., list(self.places)] = np.cos(x[..., list(self.places)])
        for j in self.places:
            names[j] = f"cos({data.names[j]})"
        names[D:D] = [f"sin({data.names[j]})" for j in self.places]
        return Trajectories(data.t, np.concatenate([x[..., :D], sines, x[..., D:]], -1), tuple(names), data.missing)

    def undo(self, values: Array, times: Array | None = None) -> Array:
        """Coordinates ``(n, steps, D + angles)`` to variables ``(n, steps, D)``, whatever the times."""
        found = values[..., : self.observed].copy()
        for k, j in enumerate(self.places):
            found[..., j] = np.arctan2(values[..., self.observed + k], values[..., j])
        return found


def wrapped(angle: Array) -> Array:
    """The same angle in [-pi, pi).

    Examples
    --------
    >>> wrapped(np.array([3.5, -3.5])).round(3)
    array([-2.783,  2.783])
    """
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)


def check_angles(angles: tuple[str, ...], names: tuple[str, ...], units: Any, scale: str) -> None:
    """ValueError for angles that are not predicted, not in radians, or in a scale of each series.

    Examples
    --------
    >>> check_angles(("theta",), ("theta", "omega"), {"theta": "deg"}, "global")
    Traceback (most recent call last):
    ValueError: angles: 'theta' is in deg; give it in radians, np.deg2rad(theta).
    """
    for name in angles:
        if name not in names:
            raise ValueError(f"angles={angles}: {name!r} is not predicted; choose from {', '.join(names)}.")
        if str(units.get(name, "")).lower().startswith(("deg", "°")):
            raise ValueError(f"angles: {name!r} is in {units[name]}; give it in radians, np.deg2rad({name}).")
    if angles and scale == "series":
        raise ValueError(f"angles={angles}: they have no scale of their own; leave scale='series' out.")
