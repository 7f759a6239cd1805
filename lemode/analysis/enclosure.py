r"""One step of LEM over a box of states: its Jacobian at the middle, and how far Jacobians in the box are from that, rounded outward.

For every state and input in the box, :math:`|DF - \text{mid}| \le \text{rad}` entry by entry. The six diagonals of
`lemode.analysis.jacobian.Coefficients` are enclosed by intervals, from the intervals of the four pre-activations; matrices are
enclosed by balls. Proof: ``theory/along_data.py``.

*Rounding* is that of `lemode.analysis.rounding`. tanh, the sigmoid and the leak of NumPy, torch and the compiled core are taken to err by
at most 4 u, relatively, but for what underflows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..lem import LEMCell
from ..types import Array
from .network import as_cell, leaks, weights
from .rounding import TINY, U, outward

__all__ = ["Ball", "Enclosure", "LayerStep"]

ELEMENTARY = 4.0  # unit roundoffs that tanh, the sigmoid and the leak may err by, of their values
SINGLE = 2.0**-24


class Ball(NamedTuple):
    """Matrices within ``rad`` of ``mid``, entry by entry.

    Examples
    --------
    >>> A = Ball(np.eye(2), np.full((2, 2), 0.1))
    >>> (A @ A).rad.round(2)  # (1 + 0.1)^2 - 1, and 0.1 (1 + 0.1) + 0.1 (0.1 + 1)
    array([[0.22, 0.22],
           [0.22, 0.22]])
    """

    mid: Array
    rad: Array

    @classmethod
    def exact(cls, mid: Array) -> Ball:
        """One matrix."""
        return cls(mid, np.zeros_like(mid))

    def __matmul__(self, other: Ball) -> Ball:
        n = other.mid.shape[-2]
        a, b = np.abs(self.mid), np.abs(other.mid)
        rad = a @ other.rad + self.rad @ (b + other.rad) + 2 * (n + 2) * U * (a @ b)
        return Ball(self.mid @ other.mid, outward(rad, 2 * n))

    def plus(self, other: Ball) -> Ball:
        """The sums."""
        mid = self.mid + other.mid
        return Ball(mid, outward(self.rad + other.rad + 2 * U * np.abs(mid), 3))

    def size(self) -> Array:
        """The largest absolute values in the ball."""
        return outward(np.abs(self.mid) + self.rad, 2)

    def rows(self, which: slice | Array) -> Ball:
        """Some of the rows."""
        return Ball(self.mid[which], self.rad[which])


class Enclosure(NamedTuple):
    """A step over a box: the middle's image, ``|DF - J.mid| <= J.rad`` over the box, and what rounding adds to an image.

    For one box, or for as many as there are leading dimensions. ``state`` and ``input`` are balls ``(2 d, 2 d)`` and ``(2 d, m)``, in the
    order (z, y); ``image (2 d,)`` is the computed image of the middle, which is within ``own (2 d,)`` of the exact one; a network with the
    unit roundoff that was asked for computes images of what lies in the box within ``running (2 d,)``.

    Examples
    --------
    >>> step = LayerStep(lemode.LEMCell(1, 2))
    >>> found = step.enclose(np.zeros(4), np.full(4, 0.1), np.zeros(1), np.zeros(1), 2.0**-24)
    >>> found.state.mid.shape, bool((found.own < found.running).all())
    ((4, 4), True)
    """

    image: Array
    state: Ball
    input: Ball
    own: Array
    running: Array


class _Interval(NamedTuple):
    lo: Array
    hi: Array

    def widened(self) -> _Interval:
        """By what the elementary functions and an operation or two may err."""
        by = 16 * U
        return _Interval(self.lo - by * np.abs(self.lo) - TINY, self.hi + by * np.abs(self.hi) + TINY)

    def times(self, other: _Interval) -> _Interval:
        products = [a * b for a in self for b in other]
        return _Interval(np.min(products, 0), np.max(products, 0)).widened()

    def minus(self, x: Array, radius: Array) -> _Interval:
        return _Interval(self.lo - (x + radius), self.hi - (x - radius)).widened_by(np.abs(x) + radius)

    def widened_by(self, size: Array) -> _Interval:
        by = 16 * U * (size + np.abs(self.lo) + np.abs(self.hi)) + TINY
        return _Interval(self.lo - by, self.hi + by)

    def around(self, mid: Array) -> Array:
        """How far what is in the interval can be from a number near it."""
        return outward(np.maximum(self.hi - mid, mid - self.lo) + 4 * U * (np.abs(self.lo) + np.abs(self.hi)), 3).clip(0)


def _sech2(x: Array) -> Array:
    """1 - tanh^2, accurate where tanh is nearly one."""
    e = np.exp(-2 * np.abs(x))
    return np.asarray(4 * e / np.square(1 + e))


def _slope(x: Array) -> Array:
    """The derivative of the logistic function, g (1 - g)."""
    return _sech2(x / 2) / 4


def _logistic(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, e) / (1 + e))


def _bell(f: Callable[[Array], Array], a: Array, r: Array) -> _Interval:
    """The range over [a - r, a + r] of an even function that decreases in \\|x|."""
    far, near = np.abs(a) + r, np.maximum(np.abs(a) - r, 0)
    return _Interval(f(outward(far, 2)), f(near * (1 - 4 * U))).widened()


class Line(NamedTuple):
    """Values that depend on v: those in the middle, ``by @ dv``, and a rest of at most so much; with a bound on ``abs(by) @ abs(dv)``."""

    value: Array
    by: Array
    rest: Array
    size: Array

    def through(self, W: Array) -> Line:
        """``W @`` them, but for the value, which is computed where its rounding is known."""
        w, n = np.abs(W), W.shape[1]
        size = outward(w @ self.size, n)
        return Line(np.full(len(W), np.nan), W @ self.by, outward(w @ self.rest + 2 * (n + 2) * U * size, n), size)

    def plus(self, other: Line) -> Line:
        """Sums."""
        size = outward(self.size + other.size, 1)
        return Line(self.value + other.value, self.by + other.by, outward(self.rest + other.rest + 2 * U * size, 3), size)

    def radius(self, reach: Reach) -> Array:
        """How far they can be from those in the middle."""
        return outward(reach(self.by) + self.rest, 2)

    def ball(self) -> tuple[Array, Array]:
        """The value, and a radius, the same where each depends on a number of v alone."""
        return self.value, outward(self.size + self.rest, 2)


Reach = Callable[[Array], Array]  # of a matrix M, a bound on abs(M @ dv) for all dv that there are


def _combined(value: Array, mid: Sequence[Array], rad: Sequence[Array], lines: Sequence[Line], radii: Sequence[Array]) -> Line:
    """What has coefficients within `rad` of `mid`, by the mean value theorem, of lines that move within `radii`."""
    by = sum(c[:, None] * line.by for c, line in zip(mid, lines))
    size = outward(sum(np.abs(c) * line.size for c, line in zip(mid, lines)), 6)
    rest = sum(np.abs(c) * line.rest + r * e for c, r, line, e in zip(mid, rad, lines, radii))
    return Line(value, np.asarray(by), outward(rest + 8 * U * size, 12), size)


class LayerStep:
    r"""The step of one cell, in float64, that can be enclosed over boxes.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5, dtype=torch.float64)
    >>> step, x, u = LayerStep(cell), np.array([0.1, 0.2, 0.3, 0.4]), np.ones(1)
    >>> found = step.enclose(x, np.full(4, 1e-3), u, np.zeros(1), 2.0**-53)
    >>> y, z = (torch.from_numpy(part) for part in (x[2:], x[:2]))
    >>> J = lemode.analysis.step_jacobian(cell, (y, z + 1e-3), torch.ones(1, dtype=torch.float64)).matrix().detach().numpy()
    >>> bool((np.abs(J - found.state.mid) <= found.state.rad).all())
    True
    """

    def __init__(self, cell: LEMCell, dt: Array | float | None = None) -> None:
        cell = as_cell(cell)
        # one step size for all boxes, or of each its own, ``(..., 1)``
        self.w, self.dt = weights(cell), cell.dt if dt is None else dt
        self.d, self.m = self.w["V1"].shape
        self.size = {name: np.abs(w) for name, w in self.w.items()}
        self.phi, self.dphi = (_in_numpy(f) for f in leaks(cell))

    def _pre(
        self, k: str, x: Array, ex: Array, u: Array, eu: Array, unit: float, known: Array | None
    ) -> tuple[Array, Array, Array, Array]:
        """The pre-activation, its radius over the box where none is `known`, and what it lacks here and in a running network."""
        w, s, n = self.w, self.size, self.d + self.m + 2
        a = x @ w["W" + k].T + u @ w["V" + k].T + w["b" + k]
        box = ex @ s["W" + k].T + eu @ s["V" + k].T
        total = outward(np.abs(x) @ s["W" + k].T + np.abs(u) @ s["V" + k].T + s["b" + k] + box, n)
        # no sum of some of the terms is larger than that of the positive ones, or of the negative ones
        partial = np.minimum((total + np.abs(a) + box) / 2, total)
        own, running = (outward(n * v / (1 - n * v) * partial + v * total, n) for v in (U, unit))
        return a, outward(box, n + 2) if known is None else known, own, running

    def _half(
        self, k: str, candidate: str, old: tuple[Array, Array], x: tuple[Array, Array], through: tuple[Array, Array],
        u: tuple[Array, Array], unit: float, lost: tuple[Array, Array], known: tuple[Array | None, Array | None] = (None, None),
        parts: int = 1,
    ) -> tuple[Array, list[Array], list[Array], Array, Array]:  # fmt: skip
        """z, or y, after the step; its three coefficients and their radii; and what rounding adds, here and in a running network.

        `old` moves, its gate reads `x`, its candidate `through`, of which `lost` are the roundings; each with its radius. The radii of the
        pre-activations may be `known`. With more `parts` the coefficients are means along segments that begin in the middle.
        """
        a, box_a, own_a, run_a = self._pre(k, *x, *u, unit, known[0])
        b, box_b, own_b, run_b = self._pre(candidate, *through, *u, unit, known[1])
        through_w = self.size["W" + candidate].T
        own_b, run_b = own_b + outward(lost[0] @ through_w, self.d), run_b + outward(lost[1] @ through_w, self.d)
        g, h = _logistic(a), np.tanh(b)
        l = self.phi(self.dt * g)
        mids = [1 - l, self.dphi(self.dt * g) * self.dt * _slope(a) * (h - old[0]), l * _sech2(b)]

        def over(part: float) -> tuple[list[Array], _Interval, _Interval, _Interval, _Interval, _Interval]:
            """Of the box that is such a part of the whole one: the coefficients' radii, and the ranges that these are made of."""
            ra, rb = (outward(part * box + own + run, 4) for box, own, run in ((box_a, own_a, run_a), (box_b, own_b, run_b)))
            gates = _Interval(_logistic(a - ra), _logistic(a + ra)).widened()
            slope, bend = _bell(_slope, a, ra), _bell(_sech2, b, rb)
            span = _Interval(np.tanh(b - rb), np.tanh(b + rb)).widened()
            scaled = _Interval(self.dt * gates.lo.clip(0), self.dt * gates.hi).widened()
            leak = _Interval(self.phi(scaled.lo.clip(0)), self.phi(scaled.hi)).widened()
            dleak = _Interval(self.dphi(scaled.hi), self.dphi(scaled.lo.clip(0))).widened()
            dleak = dleak.times(_Interval(self.dt * slope.lo, self.dt * slope.hi).widened())
            pull = span.minus(old[0], part * old[1])
            ones = np.ones_like(l)
            ranges = [_Interval(1 - leak.hi, 1 - leak.lo).widened_by(ones), dleak.times(pull), leak.times(bend)]
            return [r.around(c) for r, c in zip(ranges, mids)], slope, bend, span, leak, pull

        rads, slope, bend, span, leak, pull = over(1.0)
        if parts > 1:  # on the k-th part of a segment they are at most what they are over the box of its end
            rads = [outward(sum(r) / parts, parts) for r in zip(rads, *(over(k / parts)[0] for k in range(1, parts)))]
        new = old[0] + l * (h - old[0])
        most = np.maximum(np.abs(pull.lo), np.abs(pull.hi))
        size = np.abs(old[0]) + old[1]
        target_size = np.maximum(np.abs(span.lo), np.abs(span.hi))

        def lacking(gate: Array, target: Array, unit: float) -> Array:
            # phi' <= 1 and x phi'(x) <= phi(x): of the gate, its product with dt and the leak there remain as many roundoffs of the leak
            dl = self.dt * (slope.hi * gate + _underflow(unit)) + (2 * ELEMENTARY + 2) * unit * leak.hi
            dh = bend.hi * target + ELEMENTARY * unit * target_size + _underflow(unit)
            return outward(dl * most + (leak.hi + dl) * (dh + 3 * unit * most) + 2 * unit * (size + leak.hi * most), 16)

        return (
            new, mids, rads, lacking(own_a, own_b, U), lacking(run_a, run_b, unit)
        )  # fmt: skip

    def enclose(self, x: Array, ex: Array, u: Array, eu: Array, unit: float) -> Enclosure:
        """Over the states within ex ``(..., 2 d)`` of x = (z, y) and the inputs within eu ``(..., m)`` of u, for a unit roundoff."""
        d, w = self.d, self.w
        z, y, ez, ey = x[..., :d], x[..., d:], ex[..., :d], ex[..., d:]
        none = np.zeros(d)
        z_new, mid, rad, own_z, run_z = self._half("1", "z", (z, ez), (y, ey), (y, ey), (u, eu), unit, (none, none))
        zy = _rows(mid[1], rad[1], w["W1"]).plus(_rows(mid[2], rad[2], w["Wz"]))
        zu = _rows(mid[1], rad[1], w["V1"]).plus(_rows(mid[2], rad[2], w["Vz"]))
        zs = _beside(_diagonal(mid[0], rad[0]), zy)
        ez_new = outward(_times(zs.size(), ex) + _times(zu.size(), eu), 2 * d + self.m)
        y_new, mid, rad, own_y, run_y = self._half("2", "y", (y, ey), (y, ey), (z_new, ez_new), (u, eu), unit, (own_z, run_z))
        S = _rows(mid[2], rad[2], w["Wy"])
        D = _diagonal(mid[0], rad[0]).plus(_rows(mid[1], rad[1], w["W2"]))
        ys = (S @ zs).plus(_beside(Ball.exact(np.zeros_like(D.mid)), D))
        yu = (S @ zu).plus(_rows(mid[1], rad[1], w["V2"])).plus(_rows(mid[2], rad[2], w["Vy"]))
        return Enclosure(
            np.concatenate([z_new, y_new], -1), _stacked(zs, ys), _stacked(zu, yu), np.concatenate([own_z, own_y], -1),
            np.concatenate([run_z, run_y], -1),
        )  # fmt: skip

    def follow(self, x: Sequence[Line], u: Line, reach: Reach, unit: float, parts: int = 1) -> tuple[list[Line], Array, Array]:
        """The new z and y of z, y and u, and what rounding adds, here and in a running network, to both together.

        With one of the `parts` the lines hold for any two of the states that there are, with more for one and the middle.
        """
        (z, y), w, none = x, self.w, np.zeros(self.d)
        a, b = (y.through(w["W" + k]).plus(u.through(w["V" + k])) for k in "1z")
        boxes = a.radius(reach), b.radius(reach)
        here, there, given = z.ball(), y.ball(), u.ball()
        value, mid, rad, own_z, run_z = self._half("1", "z", here, there, there, given, unit, (none, none), boxes, parts)
        z_new = _combined(value, mid, rad, (z, a, b), (here[1], *boxes))
        a, b = y.through(w["W2"]).plus(u.through(w["V2"])), z_new.through(w["Wy"]).plus(u.through(w["Vy"]))
        boxes = a.radius(reach), b.radius(reach)
        value, mid, rad, own_y, run_y = self._half(
            "2", "y", there, there, z_new.ball(), given, unit, (own_z, run_z), boxes, parts
        )
        y_new = _combined(value, mid, rad, (y, a, b), (there[1], *boxes))
        return [z_new, y_new], np.concatenate([own_z, own_y]), np.concatenate([run_z, run_y])

    def coefficients(self, x: Array, u: Array) -> tuple[Ball, Ball]:
        """What the derivative at states x ``(..., 2 d)`` and inputs u ``(..., m)`` is made of: 1 - l, the gate's and the candidate's share,
        ``(3, ..., d)``, of z and of y, with what rounding may have made of them."""
        d, none = self.d, np.zeros(self.d)
        z, y = x[..., :d], x[..., d:]
        there, input = (y, none), (u, np.zeros(self.m))
        z_new, mid_z, rad_z, own, _ = self._half("1", "z", (z, none), there, there, input, U, (none, none))
        _, mid_y, rad_y, _, _ = self._half("2", "y", there, there, (z_new, none), input, U, (own, own))
        return Ball(np.stack(mid_z), np.stack(rad_z)), Ball(np.stack(mid_y), np.stack(rad_y))


class Stack(NamedTuple):
    """A step of all layers over a box, as `Enclosure`, by the states of all layers and the first one's input."""

    image: Array
    by_state: Ball
    by_input: Ball
    own: Array
    running: Array


def enclose_layers(steps: Sequence[LayerStep], x: Array, ex: Array, u: Array, eu: Array, unit: float) -> Stack:
    """Every layer reads the new y of the one below; x = (z, y) of the first, (z, y) of the second, and so on."""
    size, m, place = len(x), len(u), 0
    by = Ball.exact(np.hstack([np.zeros((m, size)), np.eye(m)]))  # the input's derivative by (x, u)
    parts, image, own, running = [], [], [], []
    # what rounding has added to the input of a layer, here and in a running network
    lost, lost_running, radii = np.zeros(m), np.zeros(m), np.concatenate([ex, eu])
    for step in steps:
        here = slice(place, place + 2 * step.d)
        found = step.enclose(x[here], ex[here], u, outward(eu + lost + lost_running, 3), unit)
        rows = found.input @ by
        rows.mid[:, here] += found.state.mid
        rows.rad[:, here] += found.state.rad + 2 * U * np.abs(rows.mid[:, here])
        through = found.input.size()
        own.append(outward(found.own + through @ lost, len(lost)))
        running.append(outward(found.running + through @ lost_running, len(lost)))
        parts.append(rows)
        image.append(found.image)
        lost, lost_running, u, by = (
            own[-1][step.d :],
            running[-1][step.d :],
            found.image[step.d :],
            rows.rows(slice(step.d, None)),
        )
        eu = outward(by.size() @ radii, size + m)
        place += 2 * step.d
    mid, rad = (np.vstack(p) for p in zip(*parts))
    return Stack(
        np.concatenate(image), Ball(mid[:, :size], rad[:, :size]), Ball(mid[:, size:], rad[:, size:]), np.concatenate(own),
        np.concatenate(running),
    )  # fmt: skip


def _underflow(unit: float) -> float:
    """More than functions of small values err by absolutely; of dtypes with few exponents, all that they may err by."""
    return TINY if unit <= U else 1e-37 if unit <= SINGLE else ELEMENTARY * unit


def _rows(mid: Array, rad: Array, matrix: Array) -> Ball:
    """diag(c) @ matrix."""
    product = mid[..., None] * matrix
    return Ball(product, outward(rad[..., None] * np.abs(matrix) + 2 * U * np.abs(product), 2))


def _diagonal(mid: Array, rad: Array) -> Ball:
    eye = np.eye(mid.shape[-1])
    return Ball(mid[..., None] * eye, rad[..., None] * eye)


def _times(matrix: Array, x: Array) -> Array:
    return np.asarray((matrix @ x[..., None])[..., 0])


def _beside(left: Ball, right: Ball) -> Ball:
    return Ball(*(np.concatenate(pair, -1) for pair in zip(left, right, strict=True)))


def _stacked(above: Ball, below: Ball) -> Ball:
    return Ball(*(np.concatenate(pair, -2) for pair in zip(above, below, strict=True)))


def _in_numpy(f: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Array], Array]:
    return lambda x: np.asarray(f(torch.from_numpy(np.ascontiguousarray(x))).numpy())
