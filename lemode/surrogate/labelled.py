"""From and to the arrays of xarray: dimensions and coordinates, names and units.

xarray is the user's own: it is never imported for others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories
from .clock import NUMBERS, clock_of, is_dated, to_numbers
from .frames import FrameForm, check_index

__all__ = ["LabelledForm", "LabelledReading", "from_labelled", "is_labelled"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LabelledForm:
    """How an array of xarray was labelled, so that what is made of it is labelled alike.

    template : the array or data set
    time, trajectory, variable : its dimensions; the last two None where there are none
    clock : of the times

    Examples
    --------
    >>> import xarray
    >>> wave = xarray.DataArray(np.zeros(3), {"time": [0.0, 0.5, 1.0]}, name="v", attrs={"units": "mV"})
    >>> ahead = from_labelled(wave).form.ahead(np.ones((1, 2, 1)), np.array([[1.5, 2.0]]), ["v"])
    >>> ahead.time.values, ahead.attrs
    (array([1.5, 2. ]), {'units': 'mV'})
    """

    template: Any
    time: str
    trajectory: str | None
    variable: str | None
    clock: FrameForm

    @property
    def single(self) -> bool:
        """Whether it was one trajectory."""
        return self.trajectory is None

    @property
    def indices(self) -> list[Any]:
        """The times of each trajectory, as the user has them."""
        return self.clock.indices

    def along(self, values: Array, names: Sequence[str]) -> Any:
        """Values ``(n, T, D)`` at the times that were given."""
        return self._labelled(values, self.template.coords.get(self.time), names)

    def ahead(self, values: Array, times: Array, names: Sequence[str]) -> Any:
        """Values ``(n, steps, D)`` at times ``(n, steps)`` after those that were given."""
        coordinate = self.after(times)[0] if self.time in self.template.coords else None
        return self._labelled(values, coordinate, names)

    def after(self, times: Array) -> list[Any]:
        """The indices of times ``(n, steps)``."""
        return self.clock.after(times)

    def times(self, t: Any) -> Array:
        """Dates as numbers ``(n, steps)`` on the clock of each trajectory; numbers as they are."""
        return self.clock.times(t)

    def origins(self) -> list[float]:
        """Where time 0 of each trajectory is on a clock that all data share."""
        return self.clock.origins()

    def _labelled(self, values: Array, coordinate: Any, names: Sequence[str]) -> Any:
        xarray, X = sys.modules["xarray"], self.template
        coords: dict[Any, Any] = {} if coordinate is None else {self.time: np.asarray(coordinate)}
        if self.trajectory in X.coords:
            coords[self.trajectory] = X.coords[self.trajectory]
        dims = (self.time,) if self.trajectory is None else (self.trajectory, self.time)
        shaped = values if self.trajectory is not None else values[0]
        if isinstance(X, xarray.Dataset):
            variables = {name: (dims, shaped[..., j], X[name].attrs if name in X else {}) for j, name in enumerate(names)}
            return xarray.Dataset(variables, coords, X.attrs)
        if self.variable is None:
            return xarray.DataArray(shaped[..., 0], coords, dims, X.name, X.attrs)
        if self.variable in X.coords:
            labels = {str(v): v for v in X.coords[self.variable].values.tolist()}
            coords[self.variable] = [labels.get(name, name) for name in names]
        return xarray.DataArray(shaped, coords, (*dims, self.variable), X.name, X.attrs)


class LabelledReading(NamedTuple):
    """What an array of xarray holds: see `from_labelled`.

    Examples
    --------
    >>> import xarray
    >>> from_labelled(xarray.Dataset({"v": ("time", np.zeros(3), {"units": "mV"})})).units
    {'v': 'mV'}
    """

    data: Trajectories
    form: LabelledForm
    units: dict[str, str]
    named: bool


def is_labelled(X: Any) -> bool:
    """Whether X is a DataArray or Dataset of xarray.

    Examples
    --------
    >>> is_labelled(np.zeros(3))
    False
    """
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(X, (xarray.DataArray, xarray.Dataset))


def from_labelled(X: Any, interval: float | None = None, clock: str | None = None) -> LabelledReading:
    """The trajectories of a DataArray or Dataset.

    The dimension of time is that of dates, or ``time`` or ``t``, or the only one. In a DataArray, one before it is that of the
    trajectories, one after it that of the variables; in a Dataset the variables have names, and another dimension is that of the
    trajectories.

    Raises
    ------
    ValueError
        For dimensions that do not say what they are, or values that are no numbers: by name.

    Examples
    --------
    >>> import xarray
    >>> runs = xarray.DataArray(np.zeros((4, 3, 2)), dims=("run", "time", "variable"), coords={"variable": ["v", "w"]})
    >>> reading = from_labelled(runs)
    >>> reading.data.x.shape, reading.data.names
    ((4, 3, 2), ('v', 'w'))
    """
    pandas, xarray = sys.modules["pandas"], sys.modules["xarray"]
    time = _time(X)
    trajectory, variable, named = None, None, True
    if isinstance(X, xarray.Dataset):
        if not X.data_vars:
            raise ValueError("the data set has no variable: there is no data in it.")
        others = tuple(dict.fromkeys(str(d) for v in X.data_vars.values() for d in v.dims if d != time))
        for name, values in X.data_vars.items():
            if time not in values.dims or len(values.dims) != 1 + len(others) or len(others) > 1:
                raise ValueError(
                    f"variable {str(name)!r} has the dimensions {values.dims}: give every variable the same ones, {time!r} and at most "
                    "one of the trajectories; drop_vars leaves one out."
                )
        trajectory = others[0] if others else None
        names = tuple(str(name) for name in X.data_vars)
        arrays = [v.transpose(*others, time) for v in X.data_vars.values()]
        x = np.stack([_numbers(v, name) for v, name in zip(arrays, names)], -1)
        units = {name: str(v.attrs["units"]) for v, name in zip(arrays, names) if "units" in v.attrs}
    else:
        place = X.dims.index(time)
        if place > 1 or X.ndim - place > 2:
            raise ValueError(
                f"the array has the dimensions {X.dims}: give (trajectories, {time!r}, variables), or fewer; stack() makes one of several."
            )
        trajectory = X.dims[0] if place else None
        variable = X.dims[-1] if X.ndim - place == 2 else None
        x = _numbers(X, X.name)
        x = x if variable is not None else x[..., None]
        if variable in X.coords:
            names = tuple(str(v) for v in X.coords[variable].values)
        else:
            named = variable is None and X.name is not None
            names = (str(X.name),) if named else tuple(f"x{j}" for j in range(x.shape[-1]))
        units = {name: str(X.attrs["units"]) for name in names if "units" in X.attrs}
    x = x if trajectory is not None else x[None]
    index = X.indexes[time] if time in X.indexes else pandas.RangeIndex(x.shape[1])
    rows = None
    check_index(index, "")
    if is_dated(index):
        clock = clock or clock_of([index])
        t = to_numbers(index, clock)
    else:
        rows = None if time in X.indexes else 1.0 if interval is None else interval
        clock, t = NUMBERS, index.to_numpy(np.float64) * (1.0 if rows is None else rows)
    form = LabelledForm(X, time, trajectory, variable, FrameForm([index] * len(x), clock, {}, rows=rows))
    return LabelledReading(Trajectories(t, x, names, bool(np.isnan(x).any())), form, units, named)


def _time(X: Any) -> str:
    """The dimension of time."""
    dated = [d for d in X.dims if d in X.indexes and is_dated(X.indexes[d])]
    found = dated or [d for d in X.dims if d in ("time", "t")] or (list(X.dims) if len(X.dims) == 1 else [])
    if len(found) != 1:
        raise ValueError(
            f"the dimensions are {tuple(X.dims)}, which of them is time? Call it 'time': X.rename({{{next(iter(X.dims), '')!r}: 'time'}})."
        )
    return str(found[0])


def _numbers(values: Any, name: Any) -> Array:
    x = np.asarray(values.values)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"variable {name!r} has dtype {x.dtype}: give real numbers, or drop it.")
    return x if x.dtype == np.float32 else x.astype(np.float64)
