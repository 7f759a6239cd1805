"""Bounds at the ends of the floats: no nan, no zero where there is something, no digit lost to a difference of nearly equal numbers."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lemode
from lemode import analysis
from lemode.analysis import audit, coefficients, gradient_bound, lem_G, linear_growth, psi_r, state_radius

# the machine is not to decide, and every run is the same
OFTEN = settings(deadline=None, derandomize=True, max_examples=25)
ANY = st.floats(0, 1e308) | st.sampled_from([0.0, 1e-300, 1e-16, 1.0, 1e16, 1e300, 1e308])


def brute_G(s, A, B, r):
    """The maximum over g of the closed form over h, on a grid and around its best point, in 60 digits."""
    mpmath.mp.dps = 60
    s, A, B, r = (mpmath.mpf(x) for x in (s, A, B, r))

    def value(g):
        a = (1 - g) * A
        inner = (B - s) + r * a + a * a / (4 * B) if B > 0 and a <= 2 * B else (1 + r) * a - s
        return g * inner

    grid = [mpmath.mpf(k) / 64 for k in range(65)]
    best = max(grid, key=value)
    low, high = max(best - mpmath.mpf(1) / 64, 0), min(best + mpmath.mpf(1) / 64, 1)
    for _ in range(40):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (one, high) if value(one) < value(two) else (low, two)
    return max(value(best), value((low + high) / 2), 0)


@OFTEN
@given(ANY, ANY, ANY, st.sampled_from([0.0, 0.5, 1.0]))
@example(1.0, 1e-16, 1.0, 1.0)  # A/4 = 2.5e-17, and B - s is nothing
@example(1.0, 1e-12, 1.0 + 2**-52, 1.0)
@example(1e308, 1e308, 1e308, 1.0)
@example(1e300, 1.0, 1.0, 1.0)
def test_G_is_the_maximum_over_all_floats(s, A, B, r):
    found, exact = lem_G(s, A, B, r), brute_G(s, A, B, r)
    assert not math.isnan(found)
    if exact > mpmath.mpf(1e308):
        assert found > 1e307
        return
    # rounding is relative to the result, but where s, A, B differ by more than 1e150, whose products are below the least float
    slack = 1e-12 * exact + mpmath.mpf(1e-139) * max(s, A, B) + mpmath.mpf(1e-290)
    if s > B:  # the bracket cancels; a G of nothing is known to be one where no rounding could make it more
        slack += 1e-13 * max(A, B)
    assert exact <= mpmath.mpf(found) <= exact + slack


def test_G_keeps_its_digits_where_candidate_and_decay_cancel():
    for A in (1e-16, 1e-13, 1e-9, 1e-4):
        assert lem_G(1.0, A, 1.0) == pytest.approx(float(brute_G(1.0, A, 1.0, 1.0)), rel=1e-12, abs=0)


@OFTEN
@given(st.integers(1, 500), st.floats(1e-300, 1e307), ANY)
@example(3, 1e300, 1e300)
@example(1, 1e300, 1e300)
def test_linear_growth_is_never_nan(N, dt, G):
    found = linear_growth(N, dt, G)
    assert not math.isnan(found)
    assert found >= dt / 2 * (N + 1) * (1 - 1e-12)  # its first term


@OFTEN
@given(st.floats(1e-300, 1e308), st.integers(0, 10**6), st.floats(0, 3))
@example(3.0, 2000, 0.0)
@example(2.0, 2000, 0.0)
@example(1.0, 0, 0.5)
def test_state_radius_is_never_nan(dt, n, x0):
    for scheme in ("imex", "semi_implicit", "exponential"):
        assert not math.isnan(state_radius(dt, n, x0=x0, scheme=scheme)), scheme


def test_state_radius_keeps_its_digits_at_small_steps():
    mpmath.mp.dps = 50
    for dt in (1e-12, 1e-17, 0.3):
        for n in (1, 1000):
            exact = 1 - (1 - mpmath.mpf(dt)) ** n
            assert state_radius(dt, n) == pytest.approx(float(exact), rel=1e-14, abs=0)
            assert state_radius(dt, n, gates=np.ones(n)) == pytest.approx(float(exact), rel=1e-12, abs=0)


def test_what_no_input_reaches_has_a_gradient_of_zero_over_any_time():
    """0 times an overflow is 0 here."""
    cell = lemode.LEMCell(1, 2, dt=1.0, dtype=torch.float64)
    with torch.no_grad():
        for p in cell.parameters():
            p.fill_(50.0)
    for N in (3, 400):
        for kind in ("inf", "one", "ref", "recursion"):
            assert gradient_bound(cell, N, 1.0, "Vz", kind, u_max=np.zeros(N)) == 0
            assert gradient_bound(cell, N, 0.0, "Wz", kind) == 0
    assert gradient_bound(cell, 400, 1.0, "Wz", "inf") == math.inf


def test_psi_does_not_overflow_before_its_value_does():
    assert psi_r(1e308, 1e-308, 0.0) == pytest.approx(1e308)
    assert psi_r(1e200, 1e200, 1.0) == pytest.approx(2.25e200)


def test_derivatives_keep_their_digits_where_gates_and_candidates_saturate():
    cell = lemode.LEMCell(1, 1, dt=0.5, dtype=torch.float64)
    with torch.no_grad():
        cell.ode.weight_hh.zero_()
        cell.ode.weight_zy.zero_()
        cell.ode.weight_ih.zero_()
        cell.ode.bias.copy_(torch.tensor([40.0, -40.0, 20.0, -20.0]))
    zero = torch.zeros(1, dtype=torch.float64)
    c = [x.detach() for x in coefficients(cell, (zero, zero), zero)]
    mpmath.mp.dps = 50
    sech2 = float(mpmath.sech(20) ** 2)
    tail = float(1 / (1 + mpmath.exp(40)))
    assert float(c[2]) == pytest.approx(0.5 * sech2, rel=1e-13, abs=0)
    assert float(c[1]) == pytest.approx(0.5 * tail, rel=1e-13, abs=0)
    assert float(c[5]) == pytest.approx(0.5 * tail * sech2, rel=1e-13, abs=0)


@pytest.mark.slow
def test_an_audit_of_a_gradient_of_nothing_has_bounds_of_nothing():
    """A target that is met: zero times a factor beyond the largest float is zero, and no nan."""
    torch.manual_seed(0)
    rnn = lemode.LEM(2, 6, dtype=torch.float64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.mul_(60)
    u = torch.randn(900, 1, 2, dtype=torch.float64)
    met = rnn(u)[0][..., :1].detach()
    report = audit(rnn, u, met, readout=(np.eye(6)[:1], np.zeros(1)))
    along = [row for row in report.rows if "dE_N" in row.quantity]
    assert {(row.measured, row.bound) for row in along} == {(0.0, 0.0)}
    assert report.holds


def one_bad(*shape):
    """Zeros, the last of which is no number."""
    found = torch.zeros(shape, dtype=torch.float64)
    found.view(-1)[-1] = torch.nan
    return found


CELL = lemode.LEMCell(1, 2, dt=0.5, dtype=torch.float64).requires_grad_(False)
U, REST = torch.zeros(30, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)


@pytest.mark.parametrize(
    "call",
    [
        lambda: analysis.tube_along(CELL, one_bad(30, 1)),
        lambda: analysis.tube_along(CELL, U, (REST, one_bad(2))),
        lambda: analysis.tube_along(CELL, U, radius=one_bad(2, 1, 2).numpy()),
        lambda: analysis.contraction_over_windows(CELL, U, (one_bad(2), REST), window=5),
        lambda: analysis.contraction_certificate(CELL, one_bad(30, 1)),
        lambda: analysis.promised_sweeps(CELL, one_bad(30, 1), 1e-6),
        lambda: analysis.timescales(lemode.LEM(1, 2).double(), one_bad(30, 1, 1)),
        lambda: audit(lemode.LEM(1, 2), one_bad(30, 1, 1)),
        lambda: audit(lemode.LEM(1, 2), U[:, None], one_bad(30, 1, 2)),
        lambda: analysis.lyapunov_spectrum(CELL, one_bad(30, 1)),
        lambda: analysis.lyapunov_spectrum(lambda x: x / 2, one_bad(2), 30),
        lambda: gradient_bound(CELL, 5, one_bad(5, 2).numpy(), "bz"),
        lambda: analysis.stability_region(one_bad(2).numpy() + 0.5, 0.5, 0.0),
        lambda: analysis.gate_bias(one_bad(2).numpy() + 3.0),
    ],
)
def test_one_number_that_is_not_finite_is_refused_among_others_that_are(call):
    with pytest.raises(ValueError, match=r"finite|nan"):
        call()
