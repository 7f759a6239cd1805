"""The recursion of statement 9.1, number by number; that it is a bound is tested in ``tests/properties``."""

import numpy as np
import pytest
import torch

from lemode import LEMCell
from lemode.analysis import promised_sweeps, psi


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
