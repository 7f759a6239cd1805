"""Every bound of lemode.analysis beside its formula in 50 digits, on drawn numbers and networks, without a tolerance.

    python benchmarks/rounding.py --cases 100000 > benchmarks/rounding.txt

A case is a set of numbers, or a network with an input, drawn from wide ranges with many extremes. A violation is a bound below the exact
value of its formula (above, for a floor), or one that is no number. The formulas are written anew, in mpmath; the a-posteriori bounds are
compared with exact derivatives at the same states.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter

import mpmath
import numpy as np
import torch
from mpmath import mpf

import lemode
from lemode import analysis
from lemode.analysis import engine, recursion
from lemode.analysis.adjoint import adjoint, steps_along
from lemode.analysis.network import GROUPS
from lemode.analysis.products import row_sums_of_products
from lemode.analysis.stability import certificates

SCHEMES = ("imex", "semi_implicit", "exponential")
mpmath.mp.dps = 50


# ---- the formulas ------------------------------------------------------------------------------------------------------------------------


def psi_r(a, b, r):
    return r * a + b + a * a / (4 * b) if b > 0 and a <= 2 * b else (1 + r) * a


def psi(a, b):
    return psi_r(a, b, 1)


def G(s, A, B, r=1):
    """By all candidates of theory/engine_functions.py, those that are no maximum included."""
    if A == 0:
        return max(mpf(0), B - s)
    candidates = [mpf(0), mpf(1), ((1 + r) * A - s) / (2 * (1 + r) * A), 1 - 2 * B / A]
    if B > 0:
        k = A * A / (4 * B)
        inside = (k - r * A) ** 2 + 3 * k * (r * A - B + s)
        if inside >= 0:
            candidates += [1 - ((k - r * A) + sign * mpmath.sqrt(inside)) / (3 * k) for sign in (1, -1)]

    def bracket(a):  # B - s first: of 1e39 and 1e39, 50 digits leave none of 1e-12
        return (B - s) + r * a + a * a / (4 * B) if B > 0 and a <= 2 * B else (1 + r) * a - s

    return max(g * bracket((1 - g) * A) for g in candidates if 0 <= g <= 1)


def chi(w):
    return mpf(1) if 2 * w <= 1 else (1 + 2 * w) ** 2 / (8 * w)


def growth(N, dt, rate):
    x = dt * rate
    if N == 1:
        return dt
    if N * x < mpf(10) ** -30:  # from below, to 60 digits
        return dt * (mpf(N + 1) / 2) * (1 + x * (N - 1) / 3)
    with mpmath.workdps(130):
        return ((1 + x) * mpmath.expm1(N * mpmath.log1p(x)) / (N * x) - 1) / rate


def phi(scheme, x):
    return {"imex": lambda: x, "semi_implicit": lambda: x / (1 + x), "exponential": lambda: -mpmath.expm1(-x)}[scheme]()


def slope(scheme, x):
    return {"imex": lambda: mpf(1), "semi_implicit": lambda: (1 + x) ** -2, "exponential": lambda: mpmath.exp(-x)}[scheme]()


def radius(leak, n, size):
    if leak > 1:
        R = size
        for _ in range(n):
            R = (leak - 1) * R + leak
        return max(size, R)
    kept = mpmath.exp(n * mpmath.log1p(-leak)) if leak < 1 else mpf(n == 0)
    return (
        size + (1 - size) * -mpmath.expm1(n * mpmath.log1p(-leak) if leak < 1 else mpmath.log(mpf(10) ** -400) * (n > 0))
        if size <= 1 and kept < 1
        else size
    )


def norm2(A):
    """Of a matrix of order 1 or 2."""
    if len(A) == 1:
        return abs(A[0][0])
    (a, b), (c, d) = A
    squares, det = a * a + b * b + c * c + d * d, a * d - b * c
    return mpmath.sqrt((squares + mpmath.sqrt(max(squares**2 - 4 * det**2, mpf(0)))) / 2)


def sigmoid(a):
    return 1 / (1 + mpmath.exp(-a))


class Exact:
    """A network in 50 digits."""

    def __init__(self, cell):
        self.scheme, self.dt = cell.scheme.name, mpf(cell.dt)
        self.W = {k: [[mpf(x) for x in row] for row in np.atleast_2d(w)] for k, w in analysis.network.weights(cell).items()}
        self.b = {k: self.W["b" + k][0] for k in "12zy"}
        self.d = len(self.W["W1"])
        self.sums = {k: [sum(map(abs, row)) for row in w] for k, w in self.W.items()}
        self.columns = {
            k: max(sum(abs(row[j]) for row in w) for j in range(len(w[0]))) for k, w in self.W.items() if k[0] == "W"
        }

    def rows(self, *names):
        return list(zip(*(self.sums[name] for name in names), strict=True))

    def rate(self, dt=None):
        dt = self.dt if dt is None else dt
        gz = max(G(mpf(1), a, b) for a, b in self.rows("W1", "Wz"))
        return gz, max(gz, *(G(mpf(1), a, b * (1 + dt * gz)) for a, b in self.rows("W2", "Wy")))

    def psis(self, r):
        return max(*(r * psi(a, b) for a, b in self.rows("W1", "Wz")), *(psi(a, b / r) for a, b in self.rows("W2", "Wy")))

    def least_gate(self, u):
        found = []
        for k in "12":
            for row, b, s in zip(self.W["V" + k], self.b[k], self.sums["W" + k], strict=True):
                found += [sum(v * x for v, x in zip(row, one, strict=True)) + b - s for one in u]
        return sigmoid(min(found))

    def coefficients(self, y, z, u):
        """1 - l, the gate's and the candidate's share, of z and of y, and the new z."""

        def half(k, c, old, through):
            out = []
            for i in range(self.d):
                at = {
                    name: sum(w * x for w, x in zip(self.W["W" + name][i], x_, strict=True))
                    + sum(v * x for v, x in zip(self.W["V" + name][i], u, strict=True)) + self.b[name][i]
                    for name, x_ in ((k, y), (c, through))
                }  # fmt: skip
                x = self.dt * sigmoid(at[k])
                leak, h = phi(self.scheme, x), mpmath.tanh(at[c])
                out.append((1 - leak, slope(self.scheme, x) * x * sigmoid(-at[k]) * (h - old[i]), leak * mpmath.sech(at[c]) ** 2,
                            old[i] + leak * (h - old[i])))  # fmt: skip
            return out

        z_half = half("1", "z", z, y)
        new = [part[3] for part in z_half]
        return z_half, half("2", "y", y, new), new

    def jacobian(self, y, z, u):
        of_z, of_y, _ = self.coefficients(y, z, u)
        d, W = self.d, self.W
        upper = [[of_z[i][0] * (i == j) for j in range(d)] + [of_z[i][1] * W["W1"][i][j] + of_z[i][2] * W["Wz"][i][j] for j in range(d)]
                 for i in range(d)]  # fmt: skip
        lower = []
        for i in range(d):
            row = [of_y[i][2] * sum(W["Wy"][i][k] * upper[k][j] for k in range(d)) for j in range(2 * d)]
            for j in range(d):
                row[d + j] += of_y[i][0] * (i == j) + of_y[i][1] * W["W2"][i][j]
            lower.append(row)
        return upper + lower


# ---- cases -------------------------------------------------------------------------------------------------------------------------------


def number(rng, low=-6, high=6):
    kind = rng.integers(10)
    if kind == 0:
        return 0.0
    if kind == 1:
        return float(rng.choice([1.0, 0.5, 2.0, 1.0 - 2**-53, 1.0 + 2**-52]))
    if kind == 2:
        return float(10.0 ** rng.uniform(-300, 300))
    return float(10.0 ** rng.uniform(low, high))


def step_size(rng, scheme):
    kind = rng.integers(6)
    if scheme != "imex" and kind == 0:
        return float(10.0 ** rng.uniform(0, 30))
    if scheme != "imex" and kind == 1:
        return 2.0
    return float(
        [1.0, 0.5, 10.0 ** rng.uniform(-300, 0), 10.0 ** rng.uniform(-4, 0), 10.0 ** rng.uniform(-1, 0), rng.uniform(0.9, 1)][
            kind
        ]
    )


def network(rng, d=None, scheme=None):
    d, m = int(rng.integers(1, 4)) if d is None else d, int(rng.integers(1, 3))
    scheme = str(rng.choice(SCHEMES)) if scheme is None else scheme
    cell = lemode.LEMCell(
        m, d, dt=step_size(rng, scheme), scheme=scheme, dtype=torch.float64 if rng.integers(2) else torch.float32
    )
    with torch.no_grad():
        for p in cell.parameters():
            scale = float(rng.choice([0.0, 0.1, 0.3, 1.0, 3.0, 1e3, 10.0 ** rng.uniform(-30, 3)]))
            drawn = scale * rng.standard_normal(tuple(p.shape)) * (rng.uniform(size=tuple(p.shape)) < rng.choice([0.4, 1.0]))
            p.copy_(torch.from_numpy(drawn))
    return cell


class Count:
    """Comparisons, by name; how far bounds are from the exact values; the violations."""

    def __init__(self):
        self.done, self.broken, self.apart = Counter(), [], {}

    def __call__(self, name, bound, exact, lower=False):
        self.done[name] += 1
        fine = bound == bound and (mpf(float(bound)) <= exact if lower else mpf(float(bound)) >= exact)
        if not fine:
            self.broken.append((name, float(bound), mpmath.nstr(exact, 25)))
        elif exact > mpf(10) ** -280 and np.isfinite(float(bound)) and bound > 0:
            self.apart.setdefault(name, []).append(abs(float(mpf(float(bound)) / exact - 1)))


def engine_case(rng, count):
    s, A, B, w = (number(rng) for _ in range(4))
    if rng.integers(3) == 0:
        B = s * (1 + int(rng.integers(-3, 4)) * 2.0**-52)
    r = float(rng.choice([0.0, 1.0, rng.uniform()]))
    s_, A_, B_, w_, r_ = map(mpf, (s, A, B, w, r))
    count("psi_r", engine.psi_r(A, B, r), psi_r(A_, B_, r_))
    count("psi", engine.psi(A, B), psi(A_, B_))
    count("G", engine.lem_G(s, A, B, r), G(s_, A_, B_, r_))
    count("gamma", engine.gam(A, B), G(mpf(1), A_, B_))
    count("beta", engine.beta(A, B), G(mpf(0), A_, B_))
    count("chi", engine.chi(w), chi(w_))
    N, dt, rate = int(10 ** rng.uniform(0, 3.1)), step_size(rng, "imex"), number(rng, -12, 3)
    count("A", engine.linear_growth(N, dt, rate), growth(N, mpf(dt), mpf(rate)))
    count("7.2", analysis.decay_error_bound(dt), mpf(dt) / 2 * mpmath.exp(mpf(dt) - 1))
    scheme = str(rng.choice(SCHEMES))
    dt, size, n = step_size(rng, scheme), float(rng.choice([0.0, 1.0, rng.uniform(0, 3)])), int(10 ** rng.uniform(0, 3.1)) - 1
    count("S1", analysis.state_radius(dt, n, x0=size, scheme=scheme), radius(phi(scheme, mpf(dt)), n, mpf(size)))
    long = float(rng.uniform(1, 3))
    count("S3", analysis.state_radius(long, min(n, 300), x0=size), radius(mpf(long), min(n, 300), mpf(size)))
    gates, dt = rng.uniform(0, 1, min(n, 40) + 1) ** int(rng.integers(1, 9)), step_size(rng, "imex")
    kept = mpmath.fprod(1 - mpf(dt) * mpf(g) for g in gates)
    with mpmath.workdps(350):
        exact = 1 - (1 - mpf(size)) * mpmath.fprod(1 - mpf(dt) * mpf(g) for g in gates)
    count(
        "S1 a posteriori",
        analysis.state_radius(dt, 0, gates=gates, x0=size),
        exact if size <= 1 else 1 + (mpf(size) - 1) * kept,
    )


def network_case(rng, count):
    cell = network(rng)
    e, dt = Exact(cell), mpf(cell.dt)
    gz, rate = e.rate()
    count("J1", analysis.jacobian_bound(cell), 1 + dt * rate)
    count("growth", analysis.growth_rate(cell), rate)
    c1, c2, cz, cy = (e.columns[k] for k in ("W1", "W2", "Wz", "Wy"))
    rate1 = max(cy, c2 / 2 + (c1 / 2 + cz) * (1 + dt * cy))
    count("J3", analysis.jacobian_bound(cell, 1), 1 + dt * rate1)
    top, leak_top = phi(e.scheme, dt), analysis.network.leak_above(cell, 1.0)
    count("leak", leak_top, top)
    if e.d <= 2:
        n1, n2, nz, ny = (norm2(e.W[k]) for k in ("W1", "W2", "Wz", "Wy"))
        b, s = dt * (n1 / 2 + nz), dt * ny
        count("J4", analysis.jacobian_bound(cell, 2), norm2([[mpf(1), b], [s, 1 + dt * n2 / 2 + s * b]]))
        if 1 - top - dt * n2 / 2 > 0:
            a, mu = 1 / (1 - top), 1 / (1 - top - dt * n2 / 2)
            count("5.2, 2-norm", analysis.inverse_bound(cell, 2), norm2([[a + a * b * mu * s, a * b * mu], [mu * s, mu]]))
    bz = max(G(mpf(0), a, b) for a, b in e.rows("V1", "Vz"))
    count(
        "J5", analysis.input_bound(cell), dt * max(bz, *(G(mpf(0), a, b + w * dt * bz) for a, b, w in e.rows("V2", "Vy", "Wy")))
    )
    kappa = 1 + max(*(psi(a, b) for a, b in e.rows("W1", "Wz")), *(psi(a, b * (1 + dt * gz)) for a, b in e.rows("W2", "Wy")))
    gate = float(min(1.0, 10.0 ** rng.uniform(-8, 0.1)))
    lam = phi(e.scheme, dt * mpf(gate))
    count("J6", analysis.step_distance_bound(cell, gate), lam * kappa)
    M = int(rng.integers(0, 30))
    floor = 2 - (1 + lam * kappa) ** M
    count("highway", analysis.highway_floor(cell, M, gate), max(floor, mpf(0)), lower=True)
    loss = [min(dt * chi(w), top * (1 + 2 * w)) for w in e.sums["W2"]]
    if top < 1 and max(loss) < 1:
        iq = max(mpf(1), *((1 + dt * w) / (1 - x) for w, x in zip(e.sums["Wy"], loss, strict=True)))
        K = max(iq, *((1 + dt * G(mpf(0), a, b) * iq) / (1 - top) for a, b in e.rows("W1", "Wz")))
        count("5.2", analysis.inverse_bound(cell), K)
        count("5.2 floor", analysis.gradient_floor(cell, M), K**-M, lower=True)
    u = rng.uniform(-1, 1, (3, cell.ode.input_size)) * float(rng.choice([0.0, 1.0, 30.0, 1e6]))
    exact_u, tensor_u = [[mpf(x) for x in row] for row in u], torch.from_numpy(u)
    found = analysis.contraction_certificate(cell, tensor_u)
    count("Psi", found.Psi, e.psis(mpf(found.r)))
    least = e.least_gate(exact_u)
    count("least gate", found.gate_min, least, lower=True)
    if found.holds:
        P = e.psis(mpf(found.r))
        count("5.4 rate", found.rate, least * (1 - P), lower=True)
        count("5.4 factor", found.factor(cell), 1 - phi(e.scheme, dt * least) * (1 - P))
    bounds = analysis.lyapunov_bounds(cell, tensor_u)
    if not found.holds:
        count("5.3", bounds.ode, e.rate(mpf(0))[1])
        count("5.3, LEM", bounds.lem, mpmath.log1p(dt * rate) / dt)
    if e.scheme == "imex":
        Lz = max(1 + a / 2 + b for a, b in e.rows("W1", "Wz"))
        Ly = max(1 + a / 2 + b + dt * b * Lz for a, b in e.rows("W2", "Wy"))
        C, steps = max(Lz, Ly), int(10 ** rng.uniform(0, 3))
        count("6.2, one step", analysis.local_error_bound(cell), C * dt**2)
        if not found.holds:
            with mpmath.workdps(100):
                x = dt * rate
                many = mpmath.expm1(steps * mpmath.log1p(x)) / x if x > mpf(10) ** -90 else mpf(steps)
            count("6.2", analysis.global_error_bound(cell, steps, tensor_u), C * dt**2 * many)
    N, group = int(10 ** rng.uniform(0, 3.08)), str(rng.choice(GROUPS))
    pull = float(10.0 ** rng.uniform(-3, 3))
    u_max = float(np.abs(u).max())
    scale = (mpf(1) / 2 if group[1] in "12" else mpf(1)) * (mpf(u_max) if group[0] == "V" else 1)
    in_z, wy = group[1] in "1z", max(abs(x) for row in e.W["Wy"] for x in row)
    q, first = max(mpf(1), dt * wy) if in_z else mpf(1), dt * mpf(N + 1) / 2
    args = cell, N, pull, group
    if u_max or group[0] != "V":
        count("G_inf", analysis.gradient_bound(*args, "inf", u=tensor_u), scale * e.d * mpf(pull) * q * growth(N, dt, rate))
        count(
            "G_1",
            analysis.gradient_bound(*args, "one", u=tensor_u),
            scale * mpf(pull) * (1 + dt * cy if in_z else 1) * growth(N, dt, rate1),
        )
        by = max(G(mpf(0), a, b) for a, b in e.rows("W1", "Wz"))
        be = max(by, *(G(mpf(0), a, b * (1 + dt * by)) for a, b in e.rows("W2", "Wy")))
        rest = growth(N, dt, be) - first if be else mpf(0)
        count(
            "G_ref",
            analysis.gradient_bound(*args, "ref", u=tensor_u),
            scale * mpf(pull) * ((dt * cy if in_z else 1) * first + e.d * q * max(rest, mpf(0))),
        )
        shares = [(mpf(c.r), e.psis(mpf(c.r))) for c in certificates(cell, tensor_u)]
        if shares:
            least_leak = phi(e.scheme, dt * least)
            exact = min(
                scale * e.d * mpf(pull) * (max(r, dt * wy) if in_z else 1) * dt / (least_leak * (1 - P)) for r, P in shares
            )
            count("G_unif", analysis.gradient_bound(*args, "uniform", u=tensor_u), exact)


def recursion_case(rng, count):
    cell = network(rng, d=int(rng.integers(1, 3)))
    if (
        cell.dt > 1
    ):  # the formula is not monotone there: an upper bound need not be above its exact value, only above the gradient
        cell = network(rng, d=1, scheme="imex")
    e, dt = Exact(cell), mpf(cell.dt)
    d, W = e.d, {k: [[abs(x) for x in row] for row in e.W[k]] for k in ("W1", "W2", "Wz", "Wy")}
    N = int(10 ** rng.uniform(1, 3.08)) if rng.integers(40) == 0 and d == 1 else int(rng.integers(1, 8))
    group, i = str(rng.choice(GROUPS)), int(rng.integers(d))
    size, pull = float(rng.choice([0.0, 1.0, 1e6])), float(10.0 ** rng.uniform(-3, 3))

    def dot(w, x):
        return [sum(a * b for a, b in zip(row, x, strict=True)) for row in w]

    r, leak = [mpf(0)], phi(e.scheme, dt)
    for _ in range(N):
        r.append(r[-1] + (1 - r[-1]) * leak)
    sz, sy, total = [mpf(0)] * d, [mpf(0)] * d, mpf(0)
    for n in range(1, N + 1):
        mu = mpf(1) if group[0] == "b" else mpf(size) if group[0] == "V" else r[n] if group == "Wy" else r[n - 1]
        source = {k: [mu * (group[1] == k and j == i) for j in range(d)] for k in "12zy"}
        old = sy
        drive = {k: [a + b for a, b in zip(dot(W["W" + k], old), source[k], strict=True)] for k in "12z"}
        sz = [s + dt * G(s, drive["1"][j], drive["z"][j], r[n - 1]) for j, s in enumerate(sz)]
        through = [a + b for a, b in zip(dot(W["Wy"], sz), source["y"], strict=True)]
        sy = [s + dt * G(s, drive["2"][j], through[j], r[n - 1]) for j, s in enumerate(sy)]
        total += mpf(pull) * sum(sy)
    bound = recursion.recursion(cell, np.full((N, d), pull), [group], np.full(N, size))
    count("G_rec", bound[0, i], total / N)
    if d == 1:
        count("G_rec, block", recursion.block_recursion(cell, np.full((N, 1), pull), group, np.full(N, size)), total / N)
    scale, rows = row_sums_of_products(cell, N)
    s = [mpf(1)] * (2 * d)
    for _ in range(N):
        z, y = s[:d], s[d:]
        z = [a + dt * G(a, p, q) for a, p, q in zip(z, dot(W["W1"], y), dot(W["Wz"], y), strict=True)]
        s = z + [a + dt * G(a, p, q) for a, p, q in zip(y, dot(W["W2"], y), dot(W["Wy"], z), strict=True)]
    for j in range(2 * d):
        exact = s[j] / mpf(2) ** int(scale[-1])
        count("J7", rows[-1, j], exact)


def posterior_case(rng, count):
    """Exact derivatives at given states."""
    cell = network(rng, d=int(rng.integers(1, 3)))
    e, d, N = Exact(cell), cell.ode.hidden_size, int(rng.integers(1, 5))
    dtype = cell.ode.weight_zy.dtype
    y, z = (
        torch.from_numpy(np.where(rng.uniform(size=(N + 1, d)) < 0.3, np.sign(x), x)).to(dtype)
        for x in rng.uniform(-1, 1, (2, N + 1, d))
    )
    u = torch.from_numpy(rng.uniform(-1, 1, (N, cell.ode.input_size)) * float(rng.choice([0.0, 1.0, 30.0, 1e6]))).to(dtype)
    pull = torch.from_numpy(rng.standard_normal((N, d)) * 10.0 ** rng.uniform(-3, 3))

    def exact(x):
        return [[mpf(v) for v in row] for row in x.double().tolist()]

    y_, z_, u_, pull_ = exact(y), exact(z), exact(u), exact(pull)
    J = [e.jacobian(y_[n], z_[n], u_[n]) for n in range(N)]
    parts = [e.coefficients(y_[n], z_[n], u_[n])[:2] for n in range(N)]
    rho, inverse_rho = (
        analysis.jacobian_bound_posterior(cell, (y[:-1], z[:-1]), u),
        analysis.inverse_bound_posterior(cell, (y[:-1], z[:-1]), u),
    )
    for n in range(N):
        count("J2", float(rho[n]), max(sum(map(abs, row)) for row in J[n]))
        if np.isfinite(float(inverse_rho[n])):
            with mpmath.workdps(400):
                inv = mpmath.inverse(mpmath.matrix(J[n]))
                count(
                    "5.2 a posteriori",
                    float(inverse_rho[n]),
                    max(sum(abs(inv[i, j]) for j in range(2 * d)) for i in range(2 * d)),
                )
    groups = [g for g in GROUPS if g != "Wy"]  # of Wy the new z is a factor, which is a state of the run
    along = steps_along(cell, u, y, z)
    found = adjoint(along, pull, windows=True)
    row, gradient = [mpf(0)] * (2 * d), {g: [mpf(0)] * d for g in groups}
    for n in range(N, 0, -1):
        row = row[:d] + [a + b for a, b in zip(row[d:], pull_[n - 1], strict=True)]
        off = sum(abs(mpf(float(a)) - b) for a, b in zip([*found.z[n], *found.y[n]], row, strict=True))
        count("adjoint's error", float(found.error[n]) if off else 0.0, off)
        of_z, of_y = parts[n - 1]
        lz = [row[j] + sum(row[d + k] * of_y[k][2] * e.W["Wy"][k][j] for k in range(d)) for j in range(d)]
        for g in groups:
            size = mpf(1) if g[0] == "b" else max(map(abs, u_[n - 1])) if g[0] == "V" else max(map(abs, y_[n - 1]))
            for i in range(d):
                l, c = (lz[i], of_z[i]) if g[1] in "1z" else (row[d + i], of_y[i])
                gradient[g][i] += abs(l * c[1 if g[1] in "12" else 2]) * size / N
        row = [sum(row[k] * J[n - 1][k][j] for k in range(2 * d)) for j in range(2 * d)]
    for name, bound in (("G_rec a posteriori", recursion.posterior_recursion), ("G_adj", recursion.adjoint_bound)):
        values = bound(cell, pull, groups, u, y, z)
        for k, g in enumerate(groups):
            for i in range(d):
                count(name, float(values[k, i]), gradient[g][i])


CASES = (engine_case, network_case, recursion_case, posterior_case)
SHARES = (0.95, 0.03, 0.01, 0.01)  # the last ones take ten times as long, and make many comparisons each


def run(cases: int, seed: int = 0) -> Count:
    """So many cases, of the kinds in their shares."""
    rng, count = np.random.default_rng(seed), Count()
    for kind in rng.choice(len(CASES), cases, p=SHARES):
        CASES[kind](rng, count)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    start = time.process_time()
    count = run(options.cases, options.seed)
    said = f"{sum(count.done.values()):,} comparisons with 50 digits, {time.process_time() - start:.0f} s of CPU"
    print(f"{options.cases:,} cases, seed {options.seed}: {said}")
    print(f"{len(count.broken)} violations, nan among them")
    for broken in count.broken[:20]:
        print("  violated:", *broken)
    print("\nbound              comparisons   relative distance from the exact value, median")
    for name in sorted(count.done):
        print(f"{name:<18} {count.done[name]:>11,}   {np.median(count.apart.get(name, [0.0])):.1e}")


if __name__ == "__main__":
    main()
