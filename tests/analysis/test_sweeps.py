"""The recursion of statement 9.1, number by number; that it is a bound is tested in ``tests/properties``."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch

from lemode import LEMCell
from lemode.analysis import promised_sweeps, psi
from lemode.analysis.sweeps import SweepBounds


def sigma(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("dt", [0.3, 0.1])
def test_the_bounds_are_those_of_the_statement(dt):
    """One unit and one input, so that a maximum is a number; weights for which neither R is 1 nor the bounds are cut off."""
    w1, w2, wz, wy, v1, v2, b1, b2 = 0.9, -0.8, 0.5, 0.6, 0.4, -0.2, 0.3, -1.0
    cell = LEMCell(1, 1, dt=dt, dtype=torch.float64).requires_grad_(False)
    for p, values in zip(cell.ode.parameters(), ([v1, v2, 1, 1], [w1, w2, wz], [wy], [b1, b2, 0, 0]), strict=True):
        p.copy_(torch.tensor(values, dtype=torch.float64).view_as(p))
    L, u, y0 = 6, np.linspace(-1, 1, 6), 0.5

    def gate(w, v, b):
        argument = v * u + b
        return (1 - sigma(argument.min() - abs(w))) * abs(w), dt * sigma(argument.max() + abs(w))

    (row1, p1), (row2, p2) = gate(w1, v1, b1), gate(w2, v2, b2)
    B, expected = [(1 + y0) * (1 - (1 - p2) ** n) for n in range(L + 1)], [1 + y0]
    for _ in range(L):
        C, new = [0.0], [0.0]
        for n in range(1, L + 1):
            ratio1, ratio2 = (np.expm1(row * B[n - 1]) / (row * B[n - 1]) if B[n - 1] else 1.0 for row in (row1, row2))
            C.append((1 - p1) * C[-1] + p1 * ratio1 * psi(row1, abs(wz)) * B[n - 1])
            new.append((1 - p2) * new[-1] + p2 * ratio2 * psi(row2 * B[n - 1], abs(wy) * min(C[-1], 2)))
        B, C = [min(b, 2) for b in new], [min(c, 2) for c in C]
        expected.append(max(B[-1], C[-1]))
    state = torch.full((1, 1), y0, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    found = promised_sweeps(cell, torch.from_numpy(u)[:, None, None], 1e-12, state).errors
    # computed outward: a few hundred roundings
    np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-11)
    assert len(found) > 3
    assert max(found[1:]) < 2  # not cut off
    assert (found >= np.array(expected[: len(found)]) * (1 - 1e-15)).all()


def test_errors_are_cut_off_at_the_size_of_the_cube_and_not_before():
    one = np.array([1.0])
    found = SweepBounds(one, one, 0.6 * one, 0.6 * one, 0.5, 0.5).after(np.full(12, 0.5))
    C = [float(np.expm1(0.5) * psi(1.0, 0.6) * (1 - 0.5 ** (n + 1))) for n in range(12)]
    assert 1.2 < max(C) < 2
    np.testing.assert_allclose(found[1], C, rtol=1e-11)
    large = SweepBounds(one, one, 9 * one, 9 * one, 0.5, 0.5).after(np.full(12, 2.0))
    assert max(large[0].max(), large[1].max()) == 2.0


def test_a_gate_whose_argument_cancels_is_bounded_with_what_that_is_rounded_by():
    """Of inputs of -1e8 and more the argument is known to 1e-8 only, which is said although they are negative."""
    rng, below = np.random.default_rng(0), 0
    mpmath.mp.dps = 40
    for _ in range(20):
        cell, u = LEMCell(2, 1, dtype=torch.float64), -1e8 * (1 + rng.random((1, 1, 2)))
        V = rng.uniform(0.5, 1, (1, 2))
        with torch.no_grad():
            for p in cell.parameters():
                p.zero_()
            cell.ode.blocks().V1.copy_(torch.from_numpy(V))
            cell.ode.blocks().b1.fill_(-(V @ u[0, 0]).item())
            cell.ode.blocks().W1.fill_(1.0)
        argument = sum(Fraction(a) * Fraction(b) for a, b in zip(V[0], u[0, 0])) + Fraction(cell.ode.blocks().b1.item())
        exact = 1 / (1 + mpmath.exp(mpmath.mpf(argument.numerator) / argument.denominator - 1))
        found = SweepBounds.of(cell, u).row1[0]  # one minus the least gate, times |W1| = 1
        assert exact <= found < exact + 1e-6
        below += exact > 1 / (1 + np.exp((V @ u[0, 0]).item() + cell.ode.blocks().b1.item() - 1)) * (1 + 1e-12)
    assert below > 3  # so that the test can fail
