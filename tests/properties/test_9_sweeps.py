"""Statement 9.1, on networks drawn by hypothesis: sweeps over a sequence keep the cube, end, and are as good as was promised."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import cases, network

from lemode.analysis import contraction_certificate, promised_sweeps
from lemode.analysis.sweeps import SweepBounds
from lemode.kernels import run
from lemode.kernels.backends import LEAKY
from lemode.kernels.parallel import solve

# states and targets are at most one: what a sum over 20 steps is rounded by
ROUNDING = 1e-13


def problem(c):
    y0, z0 = c.cube_states(1)
    u = c.u[:, None]
    return u, y0, z0, run(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, "reference")


def error(found, truth):
    return max(float((a - b).abs().max()) for a, b in zip(found[:2], truth))


@given(cases(max_d=3, max_N=12, schemes=LEAKY, max_scale=2.0))
def test_9_1_no_sweep_is_worse_than_its_bound(c):
    u, y0, z0, truth = problem(c)
    promised = promised_sweeps(c.cell, u, 1e-6, (y0, z0))
    assert promised.sweeps <= c.N
    for k in {1, 2, len(promised.errors) - 1}:
        found = solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, sweeps=k)
        assert max(float(x.abs().max()) for x in found[:2]) <= 1 + ROUNDING
        if k < len(promised.errors):
            assert error(found, truth) <= promised.errors[k] + ROUNDING
    assert error(found := solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, sweeps=promised.sweeps), truth) <= 1e-6
    assert found.converged


@given(cases(max_d=2, max_N=6, schemes=LEAKY), st.floats(1e-3, 2.0), st.booleans())
def test_9_1_one_sweep_from_any_error(c, size, corners):
    """The recursion, a sweep at a time, from errors that are known: sharper than from the worst there may be."""
    u, y0, z0, (ys, zs) = problem(c)
    off = c.rng.choice([-1.0, 1.0], ys.shape) * (1.0 if corners else c.rng.random(ys.shape))
    guess = (ys + size * torch.from_numpy(off)).clamp(-1, 1)
    found = solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, sweeps=1, guess=(guess, guess))
    before = [0.0, *(guess - ys).abs().amax((1, 2)).cummax(0).values[:-1].tolist()]
    bounds = SweepBounds.of(c.cell, c.u.numpy()).after(np.array(before))
    for seen, truth, allowed in zip(found[:2], (ys, zs), bounds):
        assert ((seen - truth).abs().amax((1, 2)).numpy() <= allowed + ROUNDING).all()


@pytest.mark.parametrize(
    ("start", "blocks"),
    [
        (0.0, {"Wz": 0.7, "Wy": 0.8, "b1": 40.0, "b2": 40.0}),  # by the candidates, to y
        (1.0, {"W2": 2.0, "b2": -8.0, "by": -40.0}),  # by the gate of y
        (1.0, {"W1": 2.0, "b1": -8.0, "bz": -40.0, "b2": -40.0}),  # by the gate of z
    ],
)
def test_9_1_one_sweep_is_bounded_sharply(start, blocks):
    """One unit and a small error: the bound is met within what a step changes, 2 %, so that no term can be left out."""
    cell = network(1, dt=1.0, **blocks)
    x0, u = torch.full((1, 1), start, dtype=torch.float64), torch.zeros(2, 1, 1, dtype=torch.float64)
    ys, zs = run(cell.ode, cell.scheme, u, x0, x0, 1.0)
    guess = ys - 1e-3
    found = solve(cell.ode, cell.scheme, u, x0, x0, 1.0, sweeps=1, guess=(guess, guess))
    bounds = SweepBounds.of(cell, np.zeros((2, 1))).after(np.array([0.0, 1e-3]))
    which = 1 if "W1" in blocks else 0
    ratio = (found[which] - (ys, zs)[which])[1].abs().item() / bounds[which][1]
    assert 0.98 < ratio <= 1


@given(cases(max_d=4, max_N=12, schemes=LEAKY), st.booleans())
def test_9_1_what_is_found_is_the_sequence_or_said_not_to_be(c, newton):
    u, y0, z0, truth = problem(c)
    found = solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, tol=1e-8, newton=newton)
    if found.converged:
        assert error(found, truth) <= 1e-8


@given(cases(max_d=4, max_N=5, max_scale=1.0), st.floats(0.05, 0.5))
def test_9_1_where_5_4_holds_a_small_error_shrinks_at_any_length(c, shrink):
    with torch.no_grad():
        for W in (c.cell.ode.weight_hh, c.cell.ode.weight_zy):
            W *= shrink
    if contraction_certificate(c.cell, c.u).holds:
        assert promised_sweeps(c.cell, c.u, 1e-3).rate < 1
