"""The QR algorithm for Lyapunov exponents and what it needs: the result, tangent maps by torch, one RK4 step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..continuous.integrators import rk4_step
from ..types import Array
from .rounding import U

__all__ = ["LyapunovSpectrum"]

# standard errors by which a number has to differ from zero
SURE = 2.0


@dataclass(frozen=True)
class LyapunovSpectrum:
    r"""Lyapunov exponents with the evidence for them.

    Attributes
    ----------
    exponents : (k,)
        Largest first, per unit of time, in natural logarithms. -inf for a direction that a step erases.
    standard_error : (k,)
        :math:`\sqrt{a T + b} / T`, where a m + b is fitted to the variance of what the sum of the logarithms, :math:`S(t) - \lambda t`,
        changes by in a time m, of a third of a block to a twelfth of the run: a is what grows with time, b what comes back, as of where a
        run happens to begin and to end; no a m is above that variance by more than its scatter, so that a cycle has none. At least what
        b is by the variance over time of that sum, and a roundoff of every logarithm. Right by some 20 percent; too large, by up to
        a factor of two, where what comes back takes longer than a twelfth of the run (benchmarks/lyapunov_errors.md).
    times : (n,)
        End of every orthonormalisation interval, counted from the end of the transient.
    trace : (n, k)
        The running estimate of the exponents at `times`, averaged over the ensemble.
    dimension : int
        Dimension of the state; the spectrum is complete if it equals k.
    transient : float
        Time that was left out before.

    Examples
    --------
    Arnold's cat map stretches by (3 + sqrt(5))/2 and keeps areas:

    >>> from lemode.analysis import spectrum_of_map
    >>> cat = np.array([[2.0, 1.0], [1.0, 1.0]])
    >>> spectrum = spectrum_of_map(lambda x: cat @ x % 1, [0.2, 0.3], 400, jacobian=lambda x: cat, transient=50)
    >>> spectrum.exponents.round(4), round(spectrum.lyapunov_time, 3), round(spectrum.kaplan_yorke, 3)
    (array([ 0.9624, -0.9624]), 1.039, 2.0)
    """

    exponents: Array
    standard_error: Array
    times: Array
    trace: Array
    dimension: int
    transient: float = 0.0

    @property
    def lyapunov_time(self) -> float:
        """Time in which a small error grows by e: one over the largest exponent; inf unless that is positive by two standard errors."""
        top = float(self.exponents[0])
        return 1.0 / top if top > SURE * self.standard_error[0] and top > 0 else float("inf")

    @property
    def kaplan_yorke(self) -> float:
        r"""Kaplan-Yorke dimension :math:`j + \sum_{i \le j} \lambda_i / |\lambda_{j+1}|`, j the last index with a sum that is >= 0.

        A sum within two standard errors of zero is zero: 1 for a limit cycle, 0 for a fixed point. The dimension of the state if the sum of
        all is not negative, and nan if exponents that were not computed would be needed.
        """
        return self._kaplan_yorke()[0]

    @property
    def kaplan_yorke_error(self) -> float:
        """Its standard error, those of the exponents taken as independent; 0 where it is an integer, nan where it is."""
        return self._kaplan_yorke()[1]

    def _kaplan_yorke(self) -> tuple[float, float]:
        sums, errors = np.cumsum(self.exponents), np.sqrt(np.cumsum(np.square(self.standard_error)))
        j = int(np.sum(np.cumprod(~(sums < -SURE * np.nan_to_num(errors)))))
        if j == len(sums):
            return (float(self.dimension), 0.0) if j == self.dimension else (float("nan"), float("nan"))
        top, below = (float(sums[j - 1]) if j else 0.0), -float(self.exponents[j])
        if not j or top <= SURE * errors[j - 1] or not np.isfinite(below):
            return float(j), 0.0
        return j + top / below, float(np.hypot(errors[j - 1], top / below * self.standard_error[j]) / below)

    def __str__(self) -> str:
        pairs = (f"{v:.6g} +- {e:.1g}" for v, e in zip(self.exponents, self.standard_error))
        dimension, error = self._kaplan_yorke()
        return (
            f"Lyapunov exponents over t = {self.times[-1]:g}: {', '.join(pairs)}\n"
            f"Lyapunov time {self.lyapunov_time:.4g}, Kaplan-Yorke dimension {dimension:.4g}{f' +- {error:.1g}' if error else ''}"
        )


def qr_spectrum(
    advance: Callable[[Array], Array],
    shape: tuple[int, ...],
    interval: float,
    count: int,
    transient: int | None,
    k: int | None,
    blocks: int,
    seed: int,
) -> LyapunovSpectrum:
    """QR after every `advance`, then the averages."""
    rates = qr_rates(advance, shape, interval, count, transient or 0, k, blocks, seed)
    with np.errstate(all="ignore"):  # log 0 = -inf is an answer
        return summary(rates, shape[-1], interval, transient, blocks)


def summary(rates: Array, dimension: int, interval: float, transient: int | None, blocks: int) -> LyapunovSpectrum:
    """What rates (n, members, k) after a transient say; without one they begin with it."""
    left = _transient(rates, blocks) if transient is None else 0
    trace, error = _averages(rates[left:], blocks)
    error = np.maximum(error, U * (np.abs(trace[-1]) + dimension / interval))
    order = np.argsort(-trace[-1], kind="stable")
    times = interval * np.arange(1, len(trace) + 1, dtype=np.float64)
    return LyapunovSpectrum(
        trace[-1][order], error[order], times, trace[:, order], dimension, interval * (left or transient or 0)
    )


def qr_rates(
    advance: Callable[[Array], Array],
    shape: tuple[int, ...],
    interval: float,
    count: int,
    transient: int,
    k: int | None,
    blocks: int,
    seed: int,
) -> Array:
    """``(count, members, k)``, per unit of time."""
    D = shape[-1]
    k = D if k is None else k
    if not 1 <= k <= D:
        raise ValueError(f"k={k}: a state of dimension {D} has 1 to {D} exponents.")
    if blocks < 2 or count < blocks:
        raise ValueError(
            f"{count} intervals of {interval:g} in {blocks} blocks: average over longer, and over at least 2 blocks."
        )
    if transient < 0:
        raise ValueError(f"transient={transient}: give a number of steps that is not negative.")
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((*shape[:-1], D, k)))[0]
    rates = np.empty((count, *shape[:-1], k))
    with np.errstate(all="ignore"):  # overflow is reported with its time instead
        for i in range(-transient, count):
            try:
                Q = advance(Q)
                finite(Q, "a tangent vector")
            except FloatingPointError as blown:
                raise FloatingPointError(f"{blown} at t = {(i + transient + 1) * interval:g}; try a smaller step.") from None
            Q, R = np.linalg.qr(Q)
            if i >= 0:
                rates[i] = np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1))) / interval
    return rates.reshape(count, -1, k)


def _averages(rates: Array, blocks: int) -> tuple[Array, Array]:
    """The running averages of rates (n, members, k), ``(n, k)``, and the standard errors of the last."""
    n, members = rates.shape[:2]
    steps = np.arange(1, n + 1)[:, None]
    mean = rates.mean((0, 1))
    mean = np.where(np.isfinite(mean), mean, 0)  # sums of what is near it lose no digits
    sums = np.cumsum(rates.mean(1) - mean, 0)
    # of what comes back the path between its ends varies by 7 / 12 of the variance of the difference of two
    ends = 12 / 7 * (sums - sums[-1] * (steps / n)).var(0)
    # Deviations of each member from its own mean, as a path: over m of n steps that lacks a part m / n of the growth. Of what comes back it
    # has the two ends of m steps, and m / n of those of the run.
    paths = np.concatenate([0 * rates[:1], np.cumsum(rates - rates.mean(0), 0)])
    shortest = max(n // (3 * blocks), 1)
    lags = np.arange(shortest, max(n // 12, shortest) + 1)
    part = lags[:, None] / n
    moved = np.stack([np.square(paths[m:] - paths[:-m]).mean((0, 1)) for m in lags]) / (1 - part) / lags[:, None]
    # moved = growth + back * inverse, by least squares over ten of them, neither below zero
    fitted = np.unique(np.linspace(0, len(lags) - 1, 10).astype(int))
    inverse = ((1 + part**2) / (1 - part) / lags[:, None])[fitted]
    centred = inverse - inverse.mean()
    back = np.maximum((centred * moved[fitted]).sum(0) / max(np.square(centred).sum(), np.finfo(float).tiny), 0)
    growth = moved[fitted].mean(0) - back * inverse.mean()
    # no m steps move by less than they grow, but for scatter: over a period a cycle moves by nothing
    scatter = np.sqrt(4 * part / (3 * members))
    growth = np.minimum(growth, (moved * (1 + 2 * scatter)).min(0))
    only = (inverse * moved[fitted]).sum(0) / np.square(inverse).sum()
    growth, back = np.where(growth < 0, 0, growth), np.where(growth < 0, only, back)
    return mean + sums / steps, np.sqrt(np.maximum((growth * n + back) / members, ends)) / n


def _transient(rates: Array, blocks: int) -> int:
    """How much of the beginning to leave out: so many blocks, at most half, that no other number of them gives a smaller scatter of means.

    As errors by the scatter of blocks are themselves known to one part in sqrt(2 (blocks - 1)) only, it is the first that comes as near to
    the smallest. White, Simulation 69 (1997) 323, chooses by the error, too.
    """
    # members that begin alike share their transient, which the mean over them shows best
    count, mean = len(rates), rates.mean(1)
    cuts = [c for c in (i * count // blocks for i in range(blocks // 2 + 1)) if count - c >= blocks]
    means = [np.stack([b.mean(0) for b in np.array_split(mean[c:], blocks)]) for c in cuts]
    errors = np.stack([m.std(0, ddof=1) for m in means])
    near = errors <= (1 + 1 / np.sqrt(2 * (blocks - 1))) * errors.min(0)
    return cuts[int(near.argmax(0).max())]


def differentiate(step: Callable[[Any], Any], batched: bool) -> Callable[[Any], tuple[Any, Any]]:
    """x -> (f(x), Df(x)) by forward-mode differentiation, with the ways it can silently go wrong made loud."""

    def twice(x: Tensor) -> tuple[Tensor, Tensor]:
        y = step(x)
        if not isinstance(y, Tensor) or not y.dtype.is_floating_point:
            kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(
                f"step returns {kind}: to be differentiated it must return a floating point tensor, or pass jacobian=."
            )
        return y, y

    jac = torch.func.jacfwd(twice, has_aux=True)
    if batched:
        jac = torch.func.vmap(jac)

    def pushforward(x: Tensor) -> tuple[Tensor, Tensor]:
        try:
            with torch.no_grad():
                J, y = jac(x)
        except RuntimeError as error:  # e.g. .numpy() or .item() on the way
            raise TypeError(f"step cannot be differentiated by torch ({error}); pass jacobian=.") from error
        if x.shape[-1] and not bool(J.any()):
            raise ValueError("the Jacobian of step is zero: a constant map, or one that leaves torch's graph; pass jacobian=.")
        return y, J

    return pushforward


def rk4(f: Any, df: Any, t: float, x: Array, Q: Array, h: float) -> tuple[Array, Array]:
    return rk4_step(lambda s, x, Q: (f(s, x), df(s, x) @ Q), t, (x, Q), h)


def scipy_step(
    f: Any, df: Any, t: float, x: Array, Q: Array, h: float, method: str, rtol: float, atol: float
) -> tuple[Array, Array]:
    from scipy.integrate import solve_ivp

    def extended(s: float, v: Array) -> Array:
        state, tangent = v[: x.size].reshape(x.shape), v[x.size :].reshape(Q.shape)
        return np.concatenate([np.ravel(f(s, state)), np.ravel(df(s, state) @ tangent)])

    end = solve_ivp(extended, (t, t + h), np.concatenate([x.ravel(), Q.ravel()]), method=method, rtol=rtol, atol=atol)
    if not end.success:
        raise FloatingPointError(f"{method} stopped ({end.message})")
    v = end.y[:, -1]
    return v[: x.size].reshape(x.shape), v[x.size :].reshape(Q.shape)


def initial_state(x0: Any, tensor: bool) -> Any:
    if tensor and not isinstance(x0, Tensor):
        raise TypeError(
            f"x0 is {type(x0).__name__}: without jacobian= the map is differentiated by torch: give a tensor and write the map in "
            "torch, or pass jacobian=."
        )
    x = x0.detach() if isinstance(x0, Tensor) else np.array(x0, dtype=np.float64)
    if x.ndim not in (1, 2) or 0 in x.shape:
        raise ValueError(f"x0 has shape {tuple(x.shape)}: give one state (D,) or an ensemble (n, D).")
    if isinstance(x, Tensor) and not x.dtype.is_floating_point:
        raise TypeError(f"x0 is {x.dtype}: give a floating point tensor, best torch.float64.")
    if not np.isfinite(to_numpy(x)).all():
        raise ValueError("x0 has entries that are not finite.")
    return x


def to_numpy(x: Any) -> Array:
    return np.asarray(x.detach().cpu().numpy() if isinstance(x, Tensor) else x, dtype=np.float64)


def finite(x: Array, what: str) -> None:
    if not np.isfinite(x).all():
        raise FloatingPointError(f"{what} is no longer finite")


def positive(name: str, x: float) -> float:
    if not (np.isfinite(x) and x > 0):
        raise ValueError(f"{name}={x:g}: give a finite positive number.")
    return float(x)
