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

# variables whose errors are printed
SHOWN = 8


def fit(
    system: System | Trajectories | Callable[[float, NDArray[np.float64]], ArrayLike],
    x0: ArrayLike | None = None,
    t: ArrayLike | None = None,
    *,
    n: int = 64,
    spread: float = 0.1,
    names: Sequence[str] = (),
    method: str | None = None,
    size: str = "any",
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
    size : {'any', 'small'}
        'small' is a trained network, of 16 units if `hidden_size` says nothing else: its time scales and bounds can be read one by one.
        'any' is the more accurate one of it and of a random network of hundreds of units under an exact head, the default of `Surrogate`.
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
    >>> model = fit(lambda t, x: -x, x0=[1.0], t=np.linspace(0, 5, 51), n=10, size="small", steps=20, verbose=0)
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
    if size not in ("any", "small"):
        raise ValueError(f"size={size!r}: give 'small' for a trained network of few units, or 'any' for the most accurate one.")
    if size == "small":
        if hyperparameters.get("train", "all") != "all":
            raise ValueError(f"size='small' is train='all', not train={hyperparameters['train']!r}: leave one of them out.")
        hyperparameters["train"] = "all"
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
        print(_render(model, data[order[:fifth]]))
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
    """Errors over all variables and, where there are several, of each: their units need not be the same."""
    test, D = test.select((*model.names_, *model.input_names_)), len(model.names_)
    x = test.x[..., :D].astype(np.float64)
    each, still = model.rmse(test, multioutput="raw_values"), np.sqrt(np.nanmean(np.diff(x, axis=1) ** 2, (0, 1)))
    return {
        "rmse": model.rmse(test),
        "persistence_rmse": float(np.sqrt(np.nanmean(np.diff(x, axis=1) ** 2))),
        **{f"{key} of {name}": float(v) for key, row in (("rmse", each), ("persistence_rmse", still)) if D > 1
           for name, v in zip(model.names_, row, strict=True)},
        "free_run_error": _free_run_error(model, test, x),
        "steps": float(len(model.history_.loss)),
        "seconds": model.history_.seconds,
    }  # fmt: skip


def _free_run_error(model: Surrogate, test: Trajectories, x: NDArray[np.float64]) -> float:
    """Root mean square over the variables, each in units of its standard deviation; nan where `_unjudged` says why."""
    if _unjudged(model, test):
        return np.nan
    D, warm = x.shape[-1], _warm(model, test)
    history = Trajectories(test.t[:warm], test.x[:, :warm], test.names)
    ahead = model.forecast(history, x.shape[1] - warm, test.x[:, warm:, D:] if model.input_names_ else None)
    spread = x[:, warm:].var((0, 1))
    moves = spread > 0  # what stands still in the test has no unit to be judged in
    with np.errstate(over="ignore", invalid="ignore"):
        square = ((ahead - x[:, warm:]) ** 2).mean((0, 1))[moves] / spread[moves]
    return float(np.sqrt(square.mean()))


def _warm(model: Surrogate, test: Trajectories) -> int:
    return max(model.warmup_, test.x.shape[1] // 4)


def _unjudged(model: Surrogate, test: Trajectories) -> str:
    """Why the free run is not judged, if it is not."""
    if test.t.ndim != 1 or not test.even() or test.missing:
        return "the trajectories are uneven or have missing values"
    warm, T = _warm(model, test), test.x.shape[1]
    if T - warm < 2:
        return f"the trajectories have {T} samples, of which {warm} are read first"
    if not np.ptp(test.x[:, warm:, : len(model.names_)], axis=(0, 1)).any():
        return "the test trajectories stand still"
    return ""


def _render(model: Surrogate, test: Trajectories) -> str:
    r, units = model.report_, model.table_.units
    lines = [
        f"LEM with {model.hidden_size} units on {', '.join(model.names_)}, sampled every {model.step_:g}; "
        f"{r['steps']:.0f} steps in {r['seconds']:.0f} s ({model.history_.stopped})",
    ]
    if len(model.names_) == 1:
        lines.append(f"  one step ahead, test RMSE   {r['rmse']:.2e}   (persistence {r['persistence_rmse']:.2e})")
    for name in model.names_[:SHOWN] if len(model.names_) > 1 else ():
        unit = f" {units[name]}" if name in units else ""
        lines.append(
            f"  one step ahead, test RMSE of {name}   {r[f'rmse of {name}']:.2e}{unit}   "
            f"(persistence {r[f'persistence_rmse of {name}']:.2e}{unit})"
        )
    if len(model.names_) > SHOWN:
        lines.append(f"  ... and of {len(model.names_) - SHOWN} more: report_")
    why = _unjudged(model, test)
    error = f"{r['free_run_error']:.2e}   (the mean as forecast: 1)"
    lines.append(f"  free run: not judged, {why}" if why else f"  free run, relative L2 error {error}")
    return "\n".join(lines)
