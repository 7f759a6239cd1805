"""The same work on several things: by joblib, whose `parallel_config` spreads it, or one after the other where it is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

__all__ = ["spread_over", "workers"]


def spread_over(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], n_jobs: int | None, name: str = "n_jobs"
) -> list[Any]:
    """Results of the calls, in their order; so many at a time, as ``joblib.parallel_config`` says by default.

    Raises
    ------
    ImportError
        Where several at a time are asked for and joblib is not installed.
    RuntimeError
        Where one of the processes dies.
    ValueError
        For an `n_jobs` that is no integer, or 0.

    Examples
    --------
    >>> spread_over(divmod, [(7, 2), (8, 3)], None)
    [(3, 1), (2, 2)]
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0):
        raise ValueError(f"{name}={n_jobs!r}: give how many are to run at a time, -1 for one a core, or None.")
    try:
        import joblib
    except ImportError as e:
        if n_jobs in (None, 1):
            return [function(*call) for call in calls]
        raise ImportError(
            f"{name}={n_jobs}: several at a time are joblib's work, which is not installed: pip install 'lemode[scale]'."
        ) from e
    try:
        found: list[Any] = joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(function)(*call) for call in calls)
    except BrokenProcessPool as e:
        raise RuntimeError(
            f"{name}={n_jobs}: one of the processes has died before its work was done, as where the system has no memory left: give fewer "
            "at a time, and fits a checkpoint of their own each, to go on from."
        ) from e
    return found


def workers() -> int:
    """How many at a time the context says, ``joblib.parallel_config``: one outside of it, within another one's work, and without joblib.

    Examples
    --------
    >>> workers()
    1
    """
    try:
        import joblib
    except ImportError:
        return 1
    return int(joblib.effective_n_jobs(None))
