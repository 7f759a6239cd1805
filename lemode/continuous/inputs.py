"""The input u(t) of the ODE in continuous time: a constant, a function, or samples and how to read between them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..errors import DiscontinuityWarning

__all__ = ["Constant", "Function", "Input", "Interpolation", "Samples", "Smooth"]

KINDS = ("constant", "linear", "cubic")


class Smooth(NamedTuple):
    """u(t) on an interval where it is smooth, ``(m,)`` or ``(N, m)``, and the tensors it depends on.

    Examples
    --------
    >>> weight = torch.ones(1, requires_grad=True)
    >>> u = Smooth(lambda t: weight * t.sin(), (weight,))  # the adjoint method adds up gradients by `tensors`
    >>> u.value(torch.tensor(0.0)).shape
    torch.Size([1])
    """

    value: Callable[[Tensor], Tensor]
    tensors: tuple[Tensor, ...] = ()


class Input(Protocol):
    """What `lemode.solve` asks of an input to N samples; every time is ``()``, or ``(N,)`` where each has its own.

    Examples
    --------
    An input of one's own, a ramp that ends at t = 1:

    >>> class Ramp:
    ...     def on(self, a, b): return Smooth(lambda t: t.clamp(max=1.0).float()[None])
    ...     def breaks(self): return torch.tensor([1.0], dtype=torch.float64)
    ...     def sample(self, k): return self
    ...     def requires_grad(self): return False
    >>> from lemode.continuous.integrators import Settings, Torch, advance
    >>> solver = Torch(lemode.MultiscaleODE(1, 2), Settings("dopri5", 1e-7, 1e-9, 1000, {}), adjoint=False)
    >>> advance(solver, torch.tensor([0.0, 2.0], dtype=torch.float64), Ramp(), torch.zeros(1, 4)).shape
    torch.Size([2, 1, 4])
    """

    def on(self, a: Tensor, b: Tensor) -> Smooth:
        """u between a and b, inside which there is no break."""
        ...

    def breaks(self) -> Tensor:
        """Times ``(K,)`` or ``(K, N)`` at which u or its derivative jumps."""
        ...

    def sample(self, k: int) -> Input:
        """The input of sample k alone, N = 1."""
        ...

    def requires_grad(self) -> bool:
        """Whether a gradient is expected to reach it."""
        ...


@dataclass(frozen=True)
class Constant:
    """u(t) = value, ``(m,)`` or ``(N, m)``.

    Examples
    --------
    >>> Constant(torch.tensor([2.0])).on(torch.tensor(0.0), torch.tensor(1.0)).value(torch.tensor(0.5))
    tensor([2.])
    """

    value: Tensor

    def on(self, a: Tensor, b: Tensor) -> Smooth:
        return Smooth(lambda t: self.value, (self.value,))

    def breaks(self) -> Tensor:
        return torch.empty(0, dtype=torch.float64)

    def sample(self, k: int) -> Constant:
        return Constant(self.value[k : k + 1]) if self.value.dim() == 2 else self

    def requires_grad(self) -> bool:
        return self.value.requires_grad


@dataclass(frozen=True)
class Function:
    """u(t) by a callable, which jumps at `event_times` ``(K,)`` and nowhere else; `row` picks one sample of its batch.

    Examples
    --------
    At an event the function is read just inside the interval:

    >>> jump = torch.tensor([1.0], dtype=torch.float64)
    >>> u = Function(lambda t: (t >= 1).to(t)[None], jump, like=torch.ones(1))
    >>> before, after = (u.on(*torch.tensor(ab, dtype=torch.float64)).value(jump[0]) for ab in ([0, 1], [1, 2]))
    >>> float(before), float(after)
    (0.0, 1.0)
    """

    function: Callable[[Tensor], Tensor]
    event_times: Tensor
    like: Tensor  # whose dtype and device t is given in
    row: int | None = None

    def on(self, a: Tensor, b: Tensor) -> Smooth:
        tensors = tuple(self.function.parameters()) if isinstance(self.function, nn.Module) else ()
        if not len(self.event_times):
            return Smooth(self, tensors)
        # at the event itself only the function knows which side it is on: stay inside, by less than any tolerance resolves
        margin = 4 * torch.finfo(self.like.dtype).eps * torch.maximum(a.abs(), b.abs())
        return Smooth(lambda t: self(torch.minimum(torch.maximum(t, a + margin), b - margin)), tensors)

    def __call__(self, t: Tensor) -> Tensor:
        wanted = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():  # a solver may run without grad, a function may need it inside
            u = self.function(t.to(self.like, copy=t.is_inference()))
        u = u if wanted or not isinstance(u, Tensor) else u.detach()
        return u[self.row : self.row + 1] if self.row is not None and u.dim() == 2 else u

    def breaks(self) -> Tensor:
        return self.event_times

    def sample(self, k: int) -> Function:
        return Function(self.function, self.event_times, self.like, k)

    def requires_grad(self) -> bool:
        return isinstance(self.function, nn.Module) and any(p.requires_grad for p in self.function.parameters())

    def warn_of_jumps(self, start: Tensor, end: Tensor, points: int = 64) -> None:
        """Look for jumps that are not among the event times: the largest changes on a grid are bisected, and one that does not
        shrink is a jump. Pulses narrower than the grid go unnoticed."""

        def at(s: float) -> Tensor:
            return self(start + s * (end - start)).detach().double()

        halvings = 30 if self.like.dtype == torch.float64 else 12  # the times must stay distinct
        grid = [k / points for k in range(points + 1)]
        values = [at(s) for s in grid]
        changes = torch.stack([(b - a).abs().max() for a, b in itertools.pairwise(values)])
        found = []
        for k in changes.argsort(descending=True)[:3].tolist():
            (a, u_a), (b, u_b) = (grid[k], values[k]), (grid[k + 1], values[k + 1])
            low, high = start + a * (end - start), start + b * (end - start)
            if changes[k] == 0 or any(bool(((low <= e) & (e <= high)).any()) for e in self.event_times):
                continue
            for _ in range(halvings):
                middle = (a + b) / 2
                u_m = at(middle)
                if (u_m - u_a).abs().max() > (u_b - u_m).abs().max():
                    b, u_b = middle, u_m
                else:
                    a, u_a = middle, u_m
            if (u_b - u_a).abs().max() > 0.3 * changes[k]:
                found.append(float((start + b * (end - start)).flatten()[0]))
        if found:
            times = ", ".join(f"{time:.6g}" for time in sorted(found))
            warnings.warn(
                f"u jumps near t = {times}: a solver that does not know of it loses accuracy or steps over it. Give these "
                f"event_times=[{times}], or the input as lemode.Samples(t, values).",
                DiscontinuityWarning,
                stacklevel=3,
            )


@dataclass(frozen=True)
class Samples:
    r"""Samples of an input, and how to read between them.

    .. math::

        \text{constant: } u(t) = u_n \ \text{ on } (t_{n-1}, t_n], \qquad
        \text{linear: } u(t) = (1 - \theta)\,u_{n-1} + \theta\,u_n, \quad \theta = \frac{t - t_{n-1}}{t_n - t_{n-1}}

    'constant' is what LEM implies: step n, from :math:`t_{n-1}` to :math:`t_n`, reads :math:`u_n`; the first sample holds at all times
    before it. 'cubic' is the cubic Hermite interpolant whose slopes are those of the parabola through three neighbouring samples: once
    continuously differentiable, exact for quadratic polynomials, and local (each interval depends on four samples).

    Parameters
    ----------
    t : (L,) or (L, N)
        Strictly increasing times; with N, each sample of the batch has its own.
    values : (L, m) or (L, N, m)
        Gradients flow to them.
    kind : {'constant', 'linear', 'cubic'}

    Raises
    ------
    ValueError
        For shapes that do not fit, times that do not increase, values that are not finite, or an unknown kind.

    Examples
    --------
    >>> u = Samples(torch.tensor([1.0, 2.0]), torch.tensor([[0.0], [1.0]]), kind="linear")
    >>> u(torch.tensor(1.25))
    tensor([0.2500])
    """

    t: Tensor
    values: Tensor
    kind: str = "constant"

    def __post_init__(self) -> None:
        t, values = torch.as_tensor(self.t).detach().to("cpu", torch.float64), torch.as_tensor(self.values)
        shapes = f"samples with t {tuple(t.shape)} and values {tuple(values.shape)}"
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}: choose {', '.join(map(repr, KINDS))}.")
        if t.dim() not in (1, 2) or values.dim() not in (2, 3) or not len(t):
            raise ValueError(f"{shapes}: give t (L,) or (L, N) and values (L, m) or (L, N, m).")
        if len(t) != len(values) or (t.dim() == 2 and values.dim() == 3 and t.shape[1] != values.shape[1]):
            raise ValueError(f"{shapes}: give one value for each time.")
        if self.kind != "constant" and len(t) < 2:
            raise ValueError(f"kind={self.kind!r} needs two samples at least, there is one: use kind='constant'.")
        if not bool(torch.isfinite(t).all() & (t.diff(dim=0) > 0).all()):
            raise ValueError("samples: the times t must be finite and strictly increasing.")
        if not bool(torch.isfinite(values).all()):
            n = int((~torch.isfinite(values)).nonzero()[0, 0])
            raise ValueError(f"samples: values[{n}] is not finite; leave such samples out, the times need not be even.")
        object.__setattr__(self, "t", t)
        object.__setattr__(self, "values", values)

    @property
    def batch(self) -> int | None:
        """N, or None for a single sample."""
        return self.values.shape[1] if self.values.dim() == 3 else self.t.shape[1] if self.t.dim() == 2 else None

    def on_batch(self, N: int) -> Interpolation:
        """The same for N samples, with every shape written out."""
        t = self.t if self.t.dim() == 2 else self.t.unsqueeze(1)
        values = self.values if self.values.dim() == 3 else self.values.unsqueeze(1)
        return Interpolation(t.expand(-1, N), values.expand(-1, N, -1), self.kind)

    def __call__(self, t: Tensor) -> Tensor:
        """u at time t, ``()`` or ``(N,)``: ``(m,)``, or ``(N, m)`` for a batch."""
        t = torch.as_tensor(t, dtype=torch.float64)
        N = len(t) if t.dim() else self.batch
        u = self.on_batch(N or 1).on(t, t).value(t)
        return u[0] if N is None else u


class Interpolation:
    """`Samples` for a batch: t ``(L, N)``, values ``(L, N, m)``.

    Examples
    --------
    >>> t = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)  # two series, sampled at times of their own
    >>> u = Interpolation(t, torch.tensor([[[0.0], [0.0]], [[1.0], [1.0]]]), "linear")
    >>> u.on(t[0], t[1]).value(torch.ones(2, dtype=torch.float64)).flatten()
    tensor([1.0000, 0.5000])
    """

    def __init__(self, t: Tensor, values: Tensor, kind: str) -> None:
        self.t, self.values, self.kind = t, values, kind
        self.times = t.T.contiguous()  # as searchsorted wants them
        self.rows = torch.arange(t.shape[1])
        self.slopes = self._slopes() if kind == "cubic" else values

    def on(self, a: Tensor, b: Tensor) -> Smooth:
        # between two breaks every sample of the batch is in one interval, the one that holds the middle
        middle = ((a + b) / 2).double().expand(self.t.shape[1]).unsqueeze(-1).contiguous()
        n = torch.searchsorted(self.times, middle).squeeze(-1)  # t_{n-1} < middle <= t_n
        if self.kind == "constant":
            u = self.values[n.clamp(max=len(self.t) - 1), self.rows]
            return Smooth(lambda t: u, (u,))
        n = n.clamp(1, len(self.t) - 1)
        t0, t1 = self.t[n - 1, self.rows], self.t[n, self.rows]
        u0, u1 = self.values[n - 1, self.rows], self.values[n, self.rows]

        def theta(t: Tensor) -> Tensor:
            return ((t.double() - t0) / (t1 - t0)).to(u0).unsqueeze(-1)

        if self.kind == "linear":
            return Smooth(lambda t: torch.lerp(u0, u1, theta(t)), (u0, u1))
        width = (t1 - t0).to(u0).unsqueeze(-1)
        slope0, slope1 = self.slopes[n - 1, self.rows], self.slopes[n, self.rows]

        def hermite(t: Tensor) -> Tensor:
            s, rise = theta(t), u1 - u0
            return u0 + s * rise + s * (1 - s) * ((1 - s) * (width * slope0 - rise) - s * (width * slope1 - rise))

        # none of these is computed from another: the adjoint method adds up the gradients by each
        return Smooth(hermite, (u0, u1, slope0, slope1))

    def _slopes(self) -> Tensor:
        """At each sample the slope of the parabola through it and its neighbours, shaped as values."""
        width = self.t.diff(dim=0).to(self.values).unsqueeze(-1)
        secant = self.values.diff(dim=0) / width
        if len(secant) == 1:
            return torch.cat([secant, secant])
        left, right = width[:-1], width[1:]
        inner = (right * secant[:-1] + left * secant[1:]) / (left + right)
        return torch.cat([2 * secant[:1] - inner[:1], inner, 2 * secant[-1:] - inner[-1:]])

    def breaks(self) -> Tensor:
        return self.t

    def sample(self, k: int) -> Interpolation:
        return Interpolation(self.t[:, k : k + 1], self.values[:, k : k + 1], self.kind)

    def requires_grad(self) -> bool:
        return self.values.requires_grad
