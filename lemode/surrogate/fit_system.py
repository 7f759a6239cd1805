"""From an equation to a surrogate in one call: sample, fit, report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..systems.base import CallableSystem, System
from ..systems.watch import silent
from ..trajectories import Trajectories
from .recipe import check_seed
from .seeds import stream
from .surrogate import Surrogate

__all__ = ["fit"]


def fit(
    system: System | Trajectories | Callable[[float, NDArray[np.float64]], ArrayLike],
    x0: ArrayLike | None = None,
    t: ArrayLike | None = None,
    *,
    n: int = 64,
    spread: float = 0.1,
    names: Sequence[str] = (),
    method: str | None = None,
    seed: int = 0,
    verbose: int = 1,
    **hyperparameters: Any,
) -> Surrogate:
    """Sample a system, fit a `Surrogate`, and report its errors on trajectories it has not seen.

    Parameters
    ----------
    system : callable ``rhs(t, x)`` as for scipy.integrate.solve_ivp, a System, or Trajectories that are already there
    x0 : (D,) or (n, D)
        One initial state: the system is solved from there, and n trajectories start at random times of that solution, displaced by
        `spread` standard deviations. Or all the initial states. A System has its own by default.
    t : (T,) evenly spaced times of each trajectory
    n : int
        Number of trajectories; a fifth is held out for validation and a fifth for the report.
    names : names of the variables
    method : solver, see `System.solve`; that of the system by default, else DOP853; 'Radau' for stiff ones
    seed : of the initial states and of the fit
    hyperparameters : of `Surrogate`

    Raises
    ------
    TypeError, ValueError
        For what is no system, x0 or t that are missing or do not fit, fewer than 5 trajectories, or a callable that depends on t.
    lemode.systems.SolveError
        If the system cannot be solved.

    Returns
    -------
    Surrogate, fitted, with ``report_``: a dict of the figures that are printed unless ``verbose=0``.

    Examples
    --------
    >>> model = fit(lambda t, x: -x, x0=[1.0], t=np.linspace(0, 5, 51), n=10, steps=20, verbose=0)
    >>> sorted(model.report_)
    ['free_run_error', 'persistence_rmse', 'rmse', 'seconds', 'steps']
    """
    if isinstance(system, str):
        raise TypeError(f"system is a name: give the system itself, lemode.systems.get({system!r}).")
    if not (isinstance(system, System | Trajectories) or callable(system)):
        raise TypeError(
            f"system is {type(system).__name__}: give a callable rhs(t, x), a System, or Trajectories; data without an equation go to "
            "lemode.Surrogate().fit(data)."
        )
    check_seed(seed)
    if isinstance(system, Trajectories):
        if x0 is not None or t is not None:
            raise ValueError("x0 and t belong to the trajectories already: leave them out.")
        data = system
    else:
        if t is None:
            raise ValueError("t is missing: give the evenly spaced times of a trajectory, e.g. np.linspace(0, 100, 1001).")
        with contextlib.nullcontext() if verbose else silent():
            data = _sample(system, x0, np.asarray(t, dtype=np.float64), n, spread, names, method, seed)
    if len(data) < 5:
        raise ValueError(
            f"{len(data)} trajectories: lemode.fit holds out two fifths for validation and report; give at least 5, or use "
            "lemode.Surrogate().fit(data), which takes one."
        )
    order = stream(seed, "split").permutation(len(data))
    fifth = len(data) // 5
    model = Surrogate(seed=seed, verbose=verbose, **hyperparameters)
    model.fit(data[order[2 * fifth :]], validation=data[order[fifth : 2 * fifth]])
    model.report_ = _report(model, data[order[:fifth]])
    if verbose:
        print(_render(model))
    return model


def _sample(
    system: Any,
    x0: ArrayLike | None,
    t: NDArray[np.float64],
    n: int,
    spread: float,
    names: Sequence[str],
    method: str | None,
    seed: int,
) -> Trajectories:
    rng = stream(seed, "sampling")
    if not isinstance(system, System):
        if x0 is None:
            raise ValueError(
                "x0 is missing: a right-hand side alone does not say where to start; give one state (D,) or many (n, D)."
            )
        state = np.atleast_1d(np.asarray(x0, dtype=np.float64))
        states = state.reshape(-1, state.shape[-1])
        system = CallableSystem(system, state.shape[-1], names, probe=states[0])
        _refuse_drive(system, states, t)
    if x0 is None:
        return system.trajectories(n, t, rng, method=method)
    start = np.atleast_1d(np.asarray(x0, dtype=np.float64))
    if start.ndim == 1:
        path = system.solve(start, t, method=method)
        start = np.concatenate([start[None], path[rng.integers(0, len(t), n - 1)]])
        start[1:] += spread * path.std(0) * rng.standard_normal((n - 1, path.shape[1]))
    return system.trajectories(len(start), t, x0=start, method=method)


def _refuse_drive(system: CallableSystem, states: NDArray[np.float64], t: NDArray[np.float64]) -> None:
    """A surrogate sees the state and not the time: what else moves the system must be among its inputs."""
    times: Any = (
        np.linspace(t.min(), t.max(), 7)[[0, 1, 2, 4, 5, 6]] if t.size and np.isfinite(t).all() else []
    )  # no period of all
    for x in states[:5]:
        values = [system.rhs(s, x) for s in times]
        for s, value in zip(times, values):
            if (
                np.isfinite(value).all()
                and np.isfinite(values[0]).all()
                and not np.allclose(value, values[0], rtol=1e-9, atol=1e-12)
            ):
                raise ValueError(
                    f"rhs depends on t: at x={x[:6]} it returned {values[0][:6]} at t={times[0]:g} and {value[:6]} at t={s:g}. A surrogate "
                    "sees no t: make the drive an input, a column of Trajectories that Surrogate(inputs=[...]) names, and fit those; or, "
                    "for a periodic drive, add its phase to the state."
                )


def _report(model: Surrogate, test: Trajectories) -> dict[str, float]:
    test, D = test.select((*model.names_, *model.input_names_)), len(model.names_)
    x, inputs = test.x[..., :D], test.x[..., D:]
    warm = max(model.warmup_, x.shape[1] // 4)
    free = np.nan  # of series without gaps only
    if test.even() and not test.missing and test.t.ndim == 1 and warm < x.shape[1]:
        ahead = model.forecast(test.x[:, :warm], x.shape[1] - warm, inputs[:, warm:] if model.input_names_ else None)
        free = float(np.linalg.norm(ahead - x[:, warm:]) / np.linalg.norm(x[:, warm:] - x.mean((0, 1))))
    return {
        "rmse": model.rmse(test),
        "persistence_rmse": float(np.sqrt(np.nanmean(np.diff(x, axis=1) ** 2))),
        "free_run_error": free,
        "steps": float(len(model.history_.loss)),
        "seconds": model.history_.seconds,
    }


def _render(model: Surrogate) -> str:
    r = model.report_
    return "\n".join(
        (
            f"LEM with {model.hidden_size} units on {', '.join(model.names_)}, sampled every {model.step_:g}; "
            f"{r['steps']:.0f} steps in {r['seconds']:.0f} s ({model.history_.stopped})",
            f"  one step ahead, test RMSE   {r['rmse']:.2e}   (persistence {r['persistence_rmse']:.2e})",
            *(
                []
                if np.isnan(r["free_run_error"])
                else [f"  free run, relative L2 error {r['free_run_error']:.2e}   (the mean as forecast: 1)"]
            ),
        )
    )
