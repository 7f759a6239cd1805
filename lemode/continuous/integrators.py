"""How `lemode.solve` advances the ODE: in pieces without a break, by torchdiffeq or scipy."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ..errors import SolveError
from ..ode import MultiscaleODE
from .inputs import Input, Smooth

__all__ = ["ADAPTIVE", "FIXED_STEP", "IMPLICIT", "SCIPY", "Scipy", "Settings", "Torch", "advance", "refreshed", "rk4_step"]

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
FIXED_STEP = ("euler", "midpoint", "heun3", "rk4", "explicit_adams", "implicit_adams")
IMPLICIT = ("Radau", "BDF", "LSODA")
SCIPY = (*IMPLICIT, "DOP853", "RK45", "RK23")


class Piece(NamedTuple):
    """A stretch in which the right-hand side is smooth, in the solver's variable tau; t = start + rate tau."""

    nodes: (
        Tensor  # (K,), of which the first is 0: a clock of seconds keeps its digits in float32, one of the year 2024 does not
    )
    outputs: Tensor  # (K,) bool: which nodes are asked for
    start: Tensor  # () or (N,)
    rate: Tensor  # () or (N,)

    def time(self, tau: Tensor) -> Tensor:
        return self.start + self.rate * tau.double()


def _pieces(t: Tensor, breaks: Tensor) -> Iterator[Piece]:
    """Cut the output times at the breaks. With shared times tau is t; with times of their own, tau counts output times."""
    own, t = t.dim() == 2, t.contiguous()
    knots = torch.arange(len(t), dtype=torch.float64) if own else t
    if own and len(breaks):
        columns = breaks if breaks.dim() == 2 else breaks.unsqueeze(1).expand(-1, t.shape[1])
        breaks = torch.cat([_fractional_index(c, times) for c, times in zip(columns.unbind(1), t.unbind(1), strict=True)])
    cuts = _merge(torch.cat([knots if own else knots[[0, -1]], breaks.flatten()]), knots)
    for a, b in itertools.pairwise(cuts):
        inside = knots[(knots > a) & (knots < b)]
        nodes = torch.cat([a[None], inside, b[None]])
        outputs = torch.isin(nodes, knots)
        outputs[0] = False
        if own:
            k = int(a)
            rate = t[k + 1] - t[k]
            yield Piece(nodes - a, outputs, t[k] + (a - k) * rate, rate)
        else:
            yield Piece(nodes - a, outputs, a, torch.ones((), dtype=torch.float64))


def _fractional_index(x: Tensor, t: Tensor) -> Tensor:
    """The inverse of the piecewise linear map that sends k to t[k]; outside it, nothing."""
    x = x[(x > t[0]) & (x < t[-1])]
    k = torch.searchsorted(t.contiguous(), x).clamp(1, len(t) - 1)
    return k - 1 + (x - t[k - 1]) / (t[k] - t[k - 1])


def _merge(cuts: Tensor, knots: Tensor) -> Tensor:
    """Sorted cuts within the knots' range; those that differ by rounding alone become one, the knot where there is one."""
    tolerance = 1e-12 * float(knots.abs().max())
    cuts = cuts[(cuts >= knots[0]) & (cuts <= knots[-1])]
    right = torch.searchsorted(knots, cuts).clamp(1, len(knots) - 1)
    nearest = torch.where(cuts - knots[right - 1] < knots[right] - cuts, knots[right - 1], knots[right])
    cuts = torch.where((cuts - nearest).abs() <= tolerance, nearest, cuts).unique()
    return cuts[torch.cat([torch.ones(1, dtype=torch.bool), cuts.diff() > tolerance])]


def advance(solver: Torch | Scipy, t: Tensor, u: Input, x: Tensor) -> Tensor:
    """States ``(T, N, 2 d)`` in the order (z, y).

    Examples
    --------
    What `lemode.solve` does, once its arguments are checked; both packages agree:

    >>> ode, t = lemode.MultiscaleODE(1, 2, dtype=torch.float64), torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    >>> u, x0 = lemode.continuous.inputs.Constant(torch.ones(1, dtype=torch.float64)), torch.zeros(1, 4, dtype=torch.float64)
    >>> by_torch = advance(Torch(ode, Settings("dopri5", 1e-9, 1e-9, 1000, {}), adjoint=False), t, u, x0)
    >>> by_scipy = advance(Scipy(ode, Settings("LSODA", 1e-9, 1e-9, 1000, {})), t, u, x0)
    >>> by_torch.shape, torch.allclose(by_torch, by_scipy, atol=1e-7)
    (torch.Size([3, 1, 4]), True)
    """
    xs = [x[None]]
    for piece in _pieces(t, u.breaks()):
        end = piece.time(piece.nodes[-1])
        nodes = solver.run(_Field(solver, piece, u.on(piece.start, end), t[-1]), x, piece.nodes)
        x = nodes[-1]
        xs.append(nodes[piece.outputs])
    return torch.cat(xs)


class Settings(NamedTuple):
    """What the user asked for, see `lemode.solve`.

    Examples
    --------
    >>> Settings("dopri5", rtol=1e-7, atol=1e-9, max_evaluations=1000, options={})._replace(rtol=1e-9).rtol
    1e-09
    """

    method: str
    rtol: float
    atol: float
    max_evaluations: int
    options: dict[str, Any]


class Torch:
    """torchdiffeq.

    Examples
    --------
    >>> ode, t = lemode.MultiscaleODE(1, 2), torch.tensor([0.0, 1.0], dtype=torch.float64)
    >>> solver = Torch(ode, Settings("dopri5", 1e-7, 1e-9, 1000, {}), adjoint=True)
    >>> advance(solver, t, lemode.continuous.inputs.Constant(torch.zeros(1)), torch.zeros(1, 4))[-1].sum().backward()
    >>> ode.weight_zy.grad.shape
    torch.Size([2, 2])
    """

    def __init__(self, ode: MultiscaleODE, settings: Settings, adjoint: bool) -> None:
        self.ode, self.settings, self.adjoint = ode, settings, adjoint

    def run(self, field: _Field, x: Tensor, nodes: Tensor) -> Tensor:
        """The states ``(K, N, 2 d)`` at the nodes ``(K,)``, x ``(N, 2 d)`` being the first."""
        from torchdiffeq import odeint, odeint_adjoint

        method, rtol, atol, _, options = self.settings
        nodes = nodes.to(x.device)
        if method in ADAPTIVE:
            # one sample must not hide in the average over a batch, and a step ends at every node: torchdiffeq's dense output is of
            # lower order than its steps (1e-7 off for dopri8 at rtol 1e-9), and beyond the piece another right-hand side holds
            options = {"norm": _largest_rms, "step_t": nodes[1:]} | options
        keywords: dict[str, Any] = {"method": method, "rtol": rtol, "atol": atol, "options": options}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*Unexpected arguments")
            try:
                if not (self.adjoint and torch.is_grad_enabled()):
                    return odeint(field, x, nodes, **keywords)
                parameters = field.watch(nodes[0], x)
                solution: Tensor = odeint_adjoint(field, x, nodes, adjoint_params=parameters, **keywords)
            except AssertionError as e:  # how torchdiffeq says that it cannot go on
                raise field.error(str(e)) from None
            except UserWarning as e:
                raise ValueError(
                    f"options={self.settings.options}: {e}; leave out what method={method!r} does not know."
                ) from None
        if solution.requires_grad:
            solution.register_hook(_refuse_second_derivative)
        return solution


class Scipy:
    """scipy.integrate, in float64, for a single sample.

    Examples
    --------
    >>> ode, t = lemode.MultiscaleODE(1, 2), torch.tensor([0.0, 1.0], dtype=torch.float64)
    >>> solver = Scipy(ode, Settings("Radau", 1e-7, 1e-9, 1000, {}))
    >>> x = advance(solver, t, lemode.continuous.inputs.Constant(torch.zeros(1)), torch.zeros(1, 4))
    >>> x.dtype, x.requires_grad
    (torch.float64, False)
    """

    def __init__(self, ode: MultiscaleODE, settings: Settings) -> None:
        ode = refreshed(ode)
        tensors = (ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias())
        self.ode = MultiscaleODE.from_tensors(*(w.detach().to("cpu", torch.float64) for w in tensors))
        self.settings = settings

    @torch.no_grad()
    def run(self, field: _Field, x: Tensor, nodes: Tensor) -> Tensor:
        """As `Torch.run`, N = 1."""
        from scipy.integrate import solve_ivp

        def tensor(value: Any) -> Tensor:
            return torch.as_tensor(value, dtype=torch.float64)

        method, rtol, atol, _, options = self.settings
        if method in IMPLICIT:
            options = {"jac": lambda t, x: field.jacobian(tensor(t), tensor(x)[None])[0].numpy()} | options
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*have no effect")
            try:
                result = solve_ivp(
                    lambda t, x: field(tensor(t), tensor(x)[None])[0].numpy(),
                    (float(nodes[0]), float(nodes[-1])), x[0].cpu().double().numpy(),
                    method=method, t_eval=nodes.numpy(), rtol=rtol, atol=atol, **options,
                )  # fmt: skip
            except UserWarning as e:
                raise ValueError(f"options={self.settings.options}: {e} Leave them out with method={method!r}.") from None
            except ValueError as e:
                if "infs or NaNs" not in str(e):  # how scipy's implicit methods find it out
                    raise
                raise field.error(str(e)) from None
        if result.status != 0:
            raise field.error(str(result.message))
        return torch.from_numpy(result.y.T.copy()).unsqueeze(1)


Arrays = TypeVar("Arrays", bound="tuple[Any, ...]")


def rk4_step(f: Callable[..., Arrays], t: float, x: Arrays, h: float) -> Arrays:
    """One step of the classical Runge-Kutta method for several arrays or tensors at once, ``f(t, *x)`` being their derivatives.

    Examples
    --------
    >>> y, z = rk4_step(lambda t, y, z: (z, -y), 0.0, (0.0, 1.0), 0.1)
    >>> abs(y - math.sin(0.1)) < 1e-7
    True
    """
    a = f(t, *x)
    b = f(t + h / 2, *(p + h / 2 * k for p, k in zip(x, a, strict=True)))
    c = f(t + h / 2, *(p + h / 2 * k for p, k in zip(x, b, strict=True)))
    d = f(t + h, *(p + h * k for p, k in zip(x, c, strict=True)))
    end = tuple(p + h / 6 * (i + 2 * j + 2 * k + m) for p, i, j, k, m in zip(x, a, b, c, d, strict=True))
    return cast(Arrays, end)


def refreshed(ode: MultiscaleODE) -> MultiscaleODE:
    """The ode, its weights as its next call would see them: hooks of torch.nn.utils (weight_norm, prune) set them before a call.

    Examples
    --------
    >>> import torch.nn.utils.prune
    >>> ode = torch.nn.utils.prune.l1_unstructured(lemode.MultiscaleODE(1, 2), "weight_zy", amount=2)
    >>> _ = ode.weight_zy_orig.data.fill_(7.0)
    >>> float(refreshed(ode).weight_zy.detach().max())
    7.0
    """
    if ode._forward_pre_hooks:
        zero = ode.weight_zy.new_zeros(ode.hidden_size)
        ode(zero, zero, ode.weight_ih.new_zeros(ode.input_size))
    return ode


def _sources(tensors: Iterable[Tensor], cuts: Iterable[Tensor] = ()) -> dict[int, Tensor]:
    """By id, the leaves that the tensors were computed from, and those of the `cuts`, behind which it does not look."""
    stop = {get_gradient_edge(cut): cut for cut in cuts}
    edges = [get_gradient_edge(x) for x in tensors if x.requires_grad]
    found, seen = {}, set(edges)
    while edges:
        edge = edges.pop()
        leaf = stop.get(edge, getattr(edge.node, "variable", None))
        if leaf is not None:
            found[id(leaf)] = leaf
            continue
        new = {GradientEdge(node, k) for node, k in edge.node.next_functions if node is not None} - seen
        seen |= new
        edges += new
    return found


def _refuse_second_derivative(gradient: Tensor) -> None:
    if torch._C._functorch.is_legacy_batchedtensor(gradient):  # what vectorize=True and is_grads_batched=True make
        raise RuntimeError("adjoint=True takes one gradient at a time: use adjoint=False, or vectorize=False.")
    if torch.is_grad_enabled():
        raise RuntimeError(
            "adjoint=True gives first derivatives only, and create_graph=True asks for a second one: use adjoint=False."
        )


def _largest_rms(x: Tensor) -> Tensor:
    return x.square().mean(-1).sqrt().max()


class _Field:
    """dx/dtau for x = (z, y) ``(N, 2 d)`` on one piece; keeps the last state, to explain a failure."""

    def __init__(self, solver: Torch | Scipy, piece: Piece, u: Smooth, end: Tensor) -> None:
        self.solver, self.piece, self.u, self.end = solver, piece, u, end
        self.left = solver.settings.max_evaluations * (len(piece.nodes) - 1)
        self.last: tuple[Tensor, Tensor] | None = None
        self.cuts: tuple[Tensor, ...] = ()
        self.watched: dict[int, Tensor] | None = None

    def __call__(self, tau: Tensor, x: Tensor) -> Tensor:
        self.last = tau, x
        self.left -= 1
        if self.left < 0:
            raise self.error(f"{self.solver.settings.max_evaluations:,} evaluations an output time did not suffice.")
        z, y = x.chunk(2, -1)
        dy, dz = self.solver.ode(y, z, self.input(tau, x))
        rates = self.piece.rate.to(x).unsqueeze(-1) * torch.cat([dz, dy], -1)
        if self.watched is not None and torch.is_grad_enabled():
            self._refuse_unwatched(tau, x, rates)
        return rates

    def watch(self, tau: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """The tensors by which the adjoint method is to add up gradients: leaves, and those of a sampled input.

        None may be computed from another, or its gradient is counted twice. Weights of a parametrization are computed anew at
        every call, so that only what they are computed from will do.
        """
        rates = self(tau, x.detach())
        self.cuts = tuple(u for u in self.u.tensors if u.requires_grad and not u.is_leaf)
        found = _sources([rates], self.cuts)
        if _sources(self.cuts).keys() & found.keys():  # the input is made from a tensor that also acts on its own
            self.cuts, found = (), _sources([rates])
        for tensor in (*self.solver.ode.parameters(), *self.u.tensors):  # what acts at other times only
            if tensor.requires_grad and tensor.is_leaf:
                found[id(tensor)] = tensor
        self.watched = found
        return tuple(found.values())

    def _refuse_unwatched(self, tau: Tensor, x: Tensor, rates: Tensor) -> None:
        known = self.watched or {}
        new = _sources([rates], self.cuts).keys() - known.keys() - _sources([tau, x]).keys()
        if new:
            now = float(self.piece.time(tau.detach().cpu()).max())
            raise RuntimeError(
                f"u(t) uses a tensor at t={now:g} that it did not use at t={float(self.piece.start.max()):g}, and adjoint=True would "
                "lose its gradient: make u a torch.nn.Module with its tensors as parameters, or use adjoint=False."
            )

    def input(self, tau: Tensor, x: Tensor) -> Tensor:
        return self.u.value(self.piece.time(tau.cpu())).to(x).expand(len(x), -1)  # clocks are kept on the CPU

    def jacobian(self, tau: Tensor, x: Tensor) -> Tensor:
        z, y = x.chunk(2, -1)
        return self.solver.ode.jacobian(y, z, self.input(tau, x))

    @torch.no_grad()
    def error(self, reason: str) -> SolveError:
        """Where it ended, how stiff the equation is there, and what to try."""
        method, rtol, atol, *_ = self.solver.settings
        if self.last is None:
            return SolveError(f"method={method!r} did not start: {reason}")
        tau, x = self.last
        now, end = float(self.piece.time(tau.cpu()).max()), float(self.end.max())
        where = f"method={method!r} gave up near t={now:g} of {end:g}: {reason.rstrip('.')}."
        weights = {name: getattr(self.solver.ode, name) for name in ("weight_ih", "weight_hh", "weight_zy", "bias")}
        wrong = [name for name, w in weights.items() if w is not None and not bool(torch.isfinite(w).all())]
        if wrong or not bool(torch.isfinite(self.input(tau.nan_to_num(), x)).all()):
            what = f"{wrong[0]} of the ode" if wrong else "u(t)"
            return SolveError(f"{where} The cause: {what} is not finite.")
        if not bool(torch.isfinite(x).all()):
            return SolveError(f"{where} The state is not finite there: check the weights and u for values that are not finite.")
        rates = -torch.linalg.eigvals(self.jacobian(tau, x).double().cpu()).real  # (N, 2 d)
        slowest = torch.where(rates > 0, rates, math.inf).amin(-1)
        worst = int((rates.amax(-1) / slowest).argmax())
        fast, slow = float(rates[worst].max()), float(slowest[worst])
        other = next(name for name in IMPLICIT if name != method)
        return SolveError(
            f"{where} The stiffness ratio is {fast / slow:.3g} there (decay rates from {slow:.3g} to {fast:.3g}): try "
            f"method={other!r}, or larger tolerances than rtol={rtol:g}, atol={atol:g}."
        )
