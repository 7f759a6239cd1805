"""Dates as numbers, and back: seconds, or what a calendar counts, such as months, which are not equally many seconds.

pandas is the user's own: nothing here runs before it has been imported for the dates.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MONTHS", "MONTH_ENDS", "NUMBERS", "SECONDS", "clock_of", "is_dated", "origin", "to_dates", "to_numbers"]

# other clocks are pandas' aliases of frequencies, such as B for business days
NUMBERS, SECONDS, MONTHS, MONTH_ENDS = "", "s", "months", "month ends"


def is_dated(index: Any) -> bool:
    """Whether the index of a frame has dates, periods or time differences.

    Examples
    --------
    >>> import pandas
    >>> is_dated(pandas.date_range("2026-01-01", periods=3)), is_dated(pandas.Index([0.0, 0.5]))
    (True, False)
    """
    pandas = sys.modules["pandas"]
    return isinstance(index, (pandas.DatetimeIndex, pandas.PeriodIndex, pandas.TimedeltaIndex))


def clock_of(indices: Sequence[Any]) -> str:
    """What counts the time of all these: seconds, if they are evenly spaced in them or in nothing else.

    Examples
    --------
    >>> import pandas
    >>> [clock_of([pandas.date_range("2026-01-31", periods=6, freq=freq)]) for freq in ("ME", "MS", "h", "B")]
    ['month ends', 'months', 's', 'B']
    """
    pandas = sys.modules["pandas"]
    if not is_dated(indices[0]):
        return NUMBERS
    found = [_stamps(index) for index in indices if len(index) > 1]
    if not found or any(isinstance(index, pandas.TimedeltaIndex) for index in found):
        return SECONDS
    if all(index.is_month_end.all() and _by_months(index) for index in found):
        return MONTH_ENDS
    if all((index.day == index[0].day).all() and index[0].day <= 28 and _by_months(index) for index in found):
        return MONTHS
    if all(len(set(np.diff(index.asi8))) == 1 for index in found):
        return SECONDS
    names = {index.freqstr or (pandas.infer_freq(index) if len(index) > 2 else None) for index in found}
    name = names.pop()
    return SECONDS if names or name is None else str(name)


def _by_months(index: Any) -> bool:
    """One stamp a month at most, all at the same time of the day."""
    clock = index - index.normalize() if index.tz is None else (wall := index.tz_localize(None)) - wall.normalize()
    return bool((clock == clock[0]).all() and (np.diff(_months(index)) > 0).all())


def _months(index: Any) -> NDArray[np.int64]:
    return np.asarray(12 * index.year + index.month, dtype=np.int64)


def _stamps(index: Any) -> Any:
    return index.to_timestamp() if isinstance(index, sys.modules["pandas"].PeriodIndex) else index


def to_numbers(index: Any, clock: str) -> NDArray[np.float64]:
    """The dates on that clock, counted from the first; time differences in seconds. ValueError for a date that is not on the clock.

    Examples
    --------
    >>> import pandas
    >>> to_numbers(pandas.to_datetime(["2026-01-01", "2026-02-01", "2026-04-01"]), "months")
    array([0., 1., 3.])
    """
    pandas = sys.modules["pandas"]
    index = _stamps(index)
    if isinstance(index, pandas.TimedeltaIndex):
        return np.asarray(index / pandas.Timedelta(1, "s"), dtype=np.float64)
    if clock in (NUMBERS, SECONDS):
        return np.asarray((index - index[0]) / pandas.Timedelta(1, "s"), dtype=np.float64)
    if clock in (MONTHS, MONTH_ENDS):
        places = _months(index) - _months(index[:1])
        off = ~np.asarray(to_dates(index[:1], clock, places.astype(np.float64)) == index)
    else:
        places = pandas.date_range(index[0], index[-1], freq=clock).get_indexer(index)
        off = places < 0
    if off.any():
        row = int(np.argmax(off))
        raise ValueError(
            f"row {row} is {index[row]}: the dates are not those of one clock, {_said(clock)} from {index[0]} on, as those of the "
            "training data were: resample, or drop this row."
        )
    return places.astype(np.float64)


def to_dates(index: Any, clock: str, numbers: NDArray[np.float64]) -> Any:
    """An index as the given one, at these times: the inverse of `to_numbers`. ValueError for a part of a month, or of what else is counted.

    Examples
    --------
    >>> import pandas
    >>> history = pandas.date_range("2025-11-30", periods=2, freq="ME")
    >>> to_dates(history, "month ends", np.array([2.0, 3.0])).strftime("%d.%m.%y").tolist()
    ['31.01.26', '28.02.26']
    """
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.PeriodIndex):
        return to_dates(index.to_timestamp(), clock, numbers).to_period(index.freq)
    if clock in (NUMBERS, SECONDS):
        unit = "ns" if index.unit == "ns" else "us"
        since = pandas.to_timedelta(np.rint(numbers * (1e9 if unit == "ns" else 1e6)).astype(np.int64), unit=unit)
        found = since if isinstance(index, pandas.TimedeltaIndex) else index[0] + since
        same = found.as_unit(index.unit)
        found = same if (same == found).all() else found
        return found.rename(index.name)
    counts = np.rint(numbers).astype(np.int64)
    if np.abs(numbers - counts).max(initial=0) > 1e-6:
        raise ValueError(f"the training data count {_said(clock)}: give dt or t as whole numbers of these, or as dates.")
    if clock in (MONTHS, MONTH_ENDS):
        roll = pandas.offsets.MonthEnd(0) if clock == MONTH_ENDS else pandas.Timedelta(0)
        dates = [index[0] + pandas.DateOffset(months=int(k)) + roll for k in counts]
        return pandas.DatetimeIndex(dates, name=index.name).as_unit(index.unit)
    grid = pandas.date_range(index[0], periods=int(counts.max(initial=0)) + 1, freq=clock)
    return grid[counts].rename(index.name)


def origin(index: Any, clock: str) -> float:
    """Where the first of the dates is on a clock that all data share: seconds since 1970, or months since the year 0.

    Examples
    --------
    >>> import pandas
    >>> origin(pandas.to_datetime(["1970-01-02"]), "s"), origin(pandas.to_datetime(["2026-03-01"]), "months") % 12
    (86400.0, 3.0)
    >>> origin(pandas.bdate_range("2026-03-02", periods=3), "B")
    Traceback (most recent call last):
    ValueError: season: the dates are counted in steps of 'B', of which a year has now more and now fewer; give evenly spaced ones.
    """
    pandas = sys.modules["pandas"]
    if not is_dated(index) or isinstance(index, pandas.TimedeltaIndex):
        return 0.0
    index = _stamps(index)
    if clock in (MONTHS, MONTH_ENDS):
        return float(_months(index[:1])[0])
    if clock not in (NUMBERS, SECONDS):
        raise ValueError(
            f"season: the dates are counted in {_said(clock)}, of which a year has now more and now fewer; give evenly spaced ones."
        )
    return float((index[0] - pandas.Timestamp(0, tz=index.tz)) / pandas.Timedelta(1, "s"))


def _said(clock: str) -> str:
    return {MONTHS: "months", MONTH_ENDS: "ends of months"}.get(clock, f"steps of {clock!r}")
